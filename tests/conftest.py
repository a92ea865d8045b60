"""Tests compile hundreds of small programs: skip XLA's optimiser, keep compiled code and data in the checkout.

DGM_TEST_CACHE names another folder for both; with another JAX_PLATFORMS than cpu XLA's optimiser is on and tested, too.
"""

import gc
import importlib.util
import mmap
import os
import pathlib

_CACHE = pathlib.Path(os.environ.get("DGM_TEST_CACHE") or pathlib.Path(__file__).parents[1] / ".cache")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TFDS_DATA_DIR", str(_CACHE / "data"))
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_CACHE / "xla")  # subprocesses of the tests use it too


def _xla_knows(flag: str) -> bool:
  """Whether the installed XLA knows a flag: an unknown one would end the process, and versions differ."""
  [folder] = importlib.util.find_spec("jaxlib").submodule_search_locations
  for library in pathlib.Path(folder).glob("libjax_common*"):
    with open(library, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
      return text.find(flag.encode()) >= 0
  return False


# for a small program the newer emitters take twice as long to compile, and code generation in parts 6 % longer
_FLAGS = {"xla_cpu_use_fusion_emitters": "false", "xla_cpu_parallel_codegen_split_count": "1"}
if os.environ["JAX_PLATFORMS"] == "cpu":
  known = [f"--{name}={value}" for name, value in _FLAGS.items() if _xla_knows(name)]
  os.environ["XLA_FLAGS"] = " ".join([*known, os.environ.get("XLA_FLAGS", "")]).strip()

# Tracing makes millions of objects that live as long as their programs: look for garbage seldom.
gc.set_threshold(200_000, 20, 50)

import jax  # noqa: E402
import pytest  # noqa: E402

import dgm_jax  # noqa: E402, F401, sets what jaxlib needs before JAX is first used

jax.config.update("jax_disable_most_optimizations", os.environ["JAX_PLATFORMS"] == "cpu")
jax.config.update("jax_compilation_cache_dir", str(_CACHE / "xla"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@pytest.fixture(scope="session")
def raw_data() -> pathlib.Path:
  """A folder with the published raw files, mnist/train-images-idx3-ubyte.gz and so on."""
  folder = os.environ.get("DGM_RAW_DATA")
  if not folder:
    pytest.skip("DGM_RAW_DATA names no folder with the published raw files (mnist, uci, zinc ...)")
  return pathlib.Path(folder)
