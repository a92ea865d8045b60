"""README's table agrees with experiments/results/, and a changed number is noticed."""

import json
import shutil
import subprocess
import sys

import pytest

from helpers import tables

SCRIPT = tables.ROOT / "scripts" / "update_readme.py"


def run(folder, *flags):
  command = [sys.executable, str(SCRIPT), f"--readme={folder / 'README.md'}", f"--results={folder / 'results'}", *flags]
  done = subprocess.run(command, capture_output=True, text=True)
  return done.returncode, done.stderr


@pytest.fixture
def copy(tmp_path):
  shutil.copy(tables.ROOT / "README.md", tmp_path)
  shutil.copytree(tables.ROOT / "experiments" / "results", tmp_path / "results")
  return tmp_path


def test_readme_agrees_with_the_results(copy):
  assert run(copy, "--check") == (0, "")


def test_a_changed_number_is_reported_and_corrected(copy):
  readme = copy / "README.md"
  true = readme.read_text()
  assert "100.19 ± 1.29" in true
  readme.write_text(true.replace("100.19 ± 1.29", "90.19 ± 1.29"))
  status, printed = run(copy, "--check")
  assert status == 1
  assert "90.19 ± 1.29" in printed and "100.19 ± 1.29" in printed
  assert run(copy)[0] == 0
  assert readme.read_text() == true


def test_a_changed_result_is_noticed(copy):
  path = copy / "results" / "vae_mnist_10_epochs.json"
  found = json.loads(path.read_text())
  found["results"]["test/nll"] += 0.1
  path.write_text(json.dumps(found))
  status, printed = run(copy, "--check")
  assert status == 1
  assert "98.31 ± 0.26" in printed
