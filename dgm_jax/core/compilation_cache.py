"""The persistent compilation cache: ~/.cache/dgm_jax/xla, or JAX_COMPILATION_CACHE_DIR."""

import contextlib
import os
import pathlib

import jax

_LIMIT = 2 * 1024**3  # bytes


def use() -> None:
  """Makes JAX cache compiled programs on disk, and removes the oldest ones beyond the size limit."""
  cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", os.path.expanduser("~/.cache/dgm_jax/xla"))
  jax.config.update("jax_compilation_cache_dir", cache)
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
  trim(pathlib.Path(cache))


def trim(cache: pathlib.Path, limit: int = _LIMIT) -> None:
  """Removes the oldest files until the cache holds at most `limit` bytes.

  JAX's own size limit writes a second file with each program, and a process killed between the two writes corrupts the
  cache.
  """
  with contextlib.suppress(OSError):  # another process may be trimming it, too
    files = sorted((p for p in cache.glob("*") if p.is_file()), key=lambda p: p.stat().st_mtime, reverse=True)
    total = 0
    for path in files:
      total += path.stat().st_size
      if total > limit:
        path.unlink(missing_ok=True)
