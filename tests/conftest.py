"""Tests compile hundreds of small programs: skip XLA's optimiser, keep compiled code and data in the checkout.

DGM_TEST_CACHE names another folder for both; with another JAX_PLATFORMS than cpu XLA's optimiser is on and tested, too.
"""

import gc
import os
import pathlib
import signal
import subprocess
import sys

_CACHE = pathlib.Path(os.environ.get("DGM_TEST_CACHE") or pathlib.Path(__file__).parents[1] / ".cache")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TFDS_DATA_DIR", str(_CACHE / "data"))
# as variables, so that the tests' subprocesses have them too
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_CACHE / "xla")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
if os.environ["JAX_PLATFORMS"] == "cpu":
  os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")


# for a small program the newer emitters take twice as long to compile, and code generation in parts 6 % longer
_FLAGS = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")


def _known(flags: tuple[str, ...]) -> list[str]:
  """The flags that the installed XLA accepts: it ends the process at any other, and versions differ."""
  start = lambda flag: subprocess.Popen(
    [sys.executable, "-c", "import jax; jax.devices()"], env=os.environ | {"XLA_FLAGS": flag}, stderr=subprocess.DEVNULL
  )
  processes = {flag: start(flag) for flag in flags}
  return [flag for flag, process in processes.items() if process.wait() == 0]


if os.environ["JAX_PLATFORMS"] == "cpu" and "DGM_TEST_FLAGS" not in os.environ:  # the workers inherit both variables
  os.environ["DGM_TEST_FLAGS"] = " ".join(_known(_FLAGS))
  os.environ["XLA_FLAGS"] = f"{os.environ['DGM_TEST_FLAGS']} {os.environ.get('XLA_FLAGS', '')}".strip()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell ignores it in the background
  signal.signal(signal.SIGINT, signal.default_int_handler)

# Tracing makes millions of objects that live as long as their programs: look for garbage seldom.
gc.set_threshold(200_000, 20, 50)

import pytest  # noqa: E402

import dgm_jax  # noqa: E402, F401, sets what jaxlib needs before JAX is first used

_SLOW = pathlib.Path(__file__).with_name("slow.txt")


def pytest_collection_modifyitems(config, items) -> None:
  """Marks the tests that slow.txt names; a line that names none of a file's tests is an error."""
  of_file = {item.nodeid.partition("::")[0] for item in items}
  lines = (line for line in _SLOW.read_text().splitlines() if line and not line.startswith("#"))
  named = {line for line in lines if line.partition("::")[0] in of_file}
  left = set(named)
  for item in items:
    if found := {item.nodeid, item.nodeid.partition("[")[0]} & named:
      item.add_marker(pytest.mark.slow)
      left -= found
  if left and not any("::" in arg for arg in config.args):
    raise pytest.UsageError(f"{min(left)!r} of {_SLOW} is no test")


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk():
  """Nothing that a test writes has to survive a power cut, and waiting for the disk takes milliseconds a file."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(os, "fsync", lambda descriptor: None)
    yield


@pytest.fixture(scope="session")
def raw_data() -> pathlib.Path:
  """A folder with the published raw files, mnist/train-images-idx3-ubyte.gz and so on."""
  folder = os.environ.get("DGM_RAW_DATA")
  if not folder:
    pytest.skip("DGM_RAW_DATA names no folder with the published raw files (mnist, uci, zinc ...)")
  return pathlib.Path(folder)


@pytest.fixture
def readable_figures(monkeypatch) -> None:
  """Within the test, saving a figure fails if any of its text overlaps or is cut off."""
  from dgm_jax.core import figure_style
  from helpers import drawn_text

  finish = figure_style.finish

  def checked(figure):
    finish(figure)
    assert drawn_text.faults(figure) == []

  monkeypatch.setattr(figure_style, "finish", checked)
