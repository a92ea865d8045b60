"""Compiled programs that outlive their process: ~/.cache/dgm_jax/xla, or JAX_COMPILATION_CACHE_DIR."""

import contextlib
import os
import pathlib

import jax

_LIMIT = 2 * 1024**3  # bytes


def use() -> None:
  """Has JAX keep its programs there, and removes the oldest beyond the limit."""
  cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", os.path.expanduser("~/.cache/dgm_jax/xla"))
  jax.config.update("jax_compilation_cache_dir", cache)
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
  trim(pathlib.Path(cache))


def trim(cache: pathlib.Path, limit: int = _LIMIT) -> None:
  """Removes the oldest programs of the cache beyond `limit` bytes.

  JAX's own limit keeps a second file with each program, and a process that is killed between the two spoils the cache.
  """
  with contextlib.suppress(OSError):  # another process may trim it, too
    files = sorted((p for p in cache.glob("*") if p.is_file()), key=lambda p: p.stat().st_mtime, reverse=True)
    total = 0
    for path in files:
      total += path.stat().st_size
      if total > limit:
        path.unlink(missing_ok=True)
