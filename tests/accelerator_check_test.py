"""scripts/accelerator_check.sh, run on the CPU: it measures, continues after a failure, and leaves no files behind."""

import json
import os
import subprocess
import sys
import zipfile

import pytest

from helpers import tables

OTHERS = {"PYTHONPATH", "WHEELS", "MANUAL_DIR", "MINUTES"}


def check(folder, *flags, **env):
  """(finished process, the results that it wrote)."""
  output = folder / "check.json"
  kept = {k: v for k, v in os.environ.items() if k not in OTHERS}
  command = ["bash", str(tables.ROOT / "scripts" / "accelerator_check.sh"), "--quick", f"--output={output}", *flags]
  env = {**kept, "PYTHON": sys.executable, "JAX_PLATFORMS": "cpu", "TMPDIR": str(folder), **env}
  done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=env)
  return done, json.loads(output.read_text())


def add_wheel(folder, name):
  """A wheel with one empty module."""
  with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr(f"{name}.py", "")
    wheel.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    wheel.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{name}-1.0.dist-info/RECORD", "")


@pytest.mark.slow
def test_wheels_are_installed_but_jax_is_kept(tmp_path):
  wheels = tmp_path / "wheels"
  wheels.mkdir()
  for name in ("carried_along", "jax", "jaxlib"):
    add_wheel(wheels, name)
  done, results = check(tmp_path, "--only=peak", WHEELS=str(wheels))
  assert done.returncode == 0, done.stdout + done.stderr
  assert results["install"]["wheels"] == ["carried_along"]
  assert results["device"]["platform"] == "cpu"
  assert all(tflops > 0 for tflops in results["peak"].values())
  assert done.stdout.splitlines()[-1].startswith("accelerator check: all 3 parts passed on cpu")
  assert {p.name for p in tmp_path.iterdir()} == {"wheels", "check.json"}


def test_a_part_that_fails_is_recorded_and_the_others_run(tmp_path):
  (tmp_path / "none").mkdir()
  done, results = check(tmp_path, "--only=peak", WHEELS=str(tmp_path / "none"))
  assert done.returncode == 1
  assert "holds no wheels" in results["install"]["failed"]
  assert results["peak"]
  assert done.stdout.splitlines()[-1].startswith("accelerator check: FAILED: install on cpu")


@pytest.mark.slow
def test_all_parts_run(tmp_path):
  done, results = check(tmp_path)
  assert done.returncode == 0, done.stdout + json.dumps(results, indent=2)
  assert "passed" in results["tests"]["summary"]
  rows = [*results["bench"].values(), *results["curves"]["seeds"], results["recipe"]]
  assert len(rows) == 6
  for row in rows:
    assert row["share_of_peak"] == pytest.approx(row["gflops"] / 1e3 / max_float32(results["peak"]))
  assert all(row["peak_mb"] > 100 for row in results["curves"]["seeds"])
  assert results["recipe"]["last_metrics"]["train/loss"] > 0
  assert {p.name for p in tmp_path.iterdir()} == {"check.json"}


def max_float32(peak):
  return max(v for k, v in peak.items() if k.startswith("float32 default"))
