"""README's table agrees with experiments/results/, and a changed number is noticed."""

import importlib.util
import json
import shutil

import pytest

from helpers import tables

SCRIPT = tables.ROOT / "scripts" / "update_readme.py"


@pytest.fixture(scope="module")
def script():
  """The script as a module."""
  spec = importlib.util.spec_from_file_location("update_readme", SCRIPT)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture
def run(script, capsys):
  """(folder, flags) -> (exit status, what was printed to standard error)."""

  def run(folder, *flags):
    status = script.main([f"--readme={folder / 'README.md'}", f"--results={folder / 'results'}", *flags])
    return status, capsys.readouterr().err

  return run


@pytest.fixture
def copy(tmp_path):
  shutil.copy(tables.ROOT / "README.md", tmp_path)
  shutil.copytree(tables.ROOT / "experiments" / "results", tmp_path / "results")
  return tmp_path


def test_readme_agrees_with_the_results(copy, run):
  assert run(copy, "--check") == (0, "")


def test_a_changed_number_is_reported_and_corrected(copy, run):
  readme = copy / "README.md"
  true = readme.read_text()
  assert "100.19 ± 1.29" in true
  readme.write_text(true.replace("100.19 ± 1.29", "90.19 ± 1.29"))
  status, printed = run(copy, "--check")
  assert status == 1
  assert "90.19 ± 1.29" in printed and "100.19 ± 1.29" in printed
  assert run(copy)[0] == 0
  assert readme.read_text() == true


def test_a_changed_result_is_noticed(copy, run):
  path = copy / "results" / "vae_mnist_10_epochs.json"
  found = json.loads(path.read_text())
  found["results"]["test/nll"] += 0.1
  path.write_text(json.dumps(found))
  status, printed = run(copy, "--check")
  assert status == 1
  assert "98.31 ± 0.26" in printed
