"""The generated pages agree with results, papers and docstrings, and a changed number is noticed."""

import importlib.util
import json
import math
import shutil

import pytest

from dgm_jax.experiments.harness import comparisons, paper
from helpers import tables

SCRIPT = tables.ROOT / "scripts" / "update_readme.py"
PAGES = ("README.md", "experiments/README.md", "configs/README.md")


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
    status = script.main([f"--root={folder}", *flags])
    return status, capsys.readouterr().err

  return run


@pytest.fixture
def copy(tmp_path):
  for page in PAGES:
    (tmp_path / page).parent.mkdir(exist_ok=True)
    shutil.copy(tables.ROOT / page, tmp_path / page)
  shutil.copytree(tables.ROOT / "experiments" / "results", tmp_path / "experiments" / "results")
  return tmp_path


def test_the_pages_are_up_to_date(copy, run):
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


def test_a_changed_result_changes_its_row_and_the_count(copy, run):
  path = copy / "experiments" / "results" / "ipsen2021_table1_short.json"
  found = json.loads(path.read_text())
  before = (copy / "experiments" / "README.md").read_text()
  found["numbers"]["cells"]["white-mean"]["mean"] += 1
  path.write_text(json.dumps(found))
  status, printed = run(copy, "--check")
  assert status == 1
  assert "white-mean" in printed
  run(copy)
  after = (copy / "experiments" / "README.md").read_text()
  count = lambda text: next(line for line in text.splitlines() if "published cells compared" in line)
  assert count(before) != count(after)


@pytest.mark.parametrize(
  "published,ours,agrees",
  [
    (paper.Value(1.0, stderr=0.03), comparisons.Ours(1.09, 0.04), True),  # 2 sqrt(0.03^2 + 0.04^2) = 0.1
    (paper.Value(1.0, stderr=0.03), comparisons.Ours(1.11, 0.04), False),
    (paper.Value(86.0), comparisons.Ours(86.4, 0.0, in_nats=True), True),
    (paper.Value(86.0), comparisons.Ours(86.6, 1.0, in_nats=True), False),
    (paper.Value(-2.0), comparisons.Ours(-2.05), True),
    (paper.Value(-2.0), comparisons.Ours(-2.07), False),
  ],
)
def test_tolerance(published, ours, agrees):
  assert comparisons.Cell("x", published, ours, True).agrees == agrees


def test_unverified_values_and_other_budgets_are_not_judged():
  far = comparisons.Ours(5.0)
  cells = [
    comparisons.Cell("a", paper.Value(5.0), far, True),
    comparisons.Cell("b", paper.Value(1.0), far, True),
    comparisons.Cell("c", paper.Value(5.0), far, False),
    comparisons.Cell("d", paper.Value(5.0, verified=False), far, True),
  ]
  text = comparisons.count(cells)
  assert "3 published cells compared, of them 2 at the paper's budget, 1 of these within tolerance" in text
  assert "1 further" in text


def test_results_on_other_data_are_no_cells():
  read = lambda name: json.loads((paper.RESULTS / f"{name}.json").read_text())
  assert not comparisons.cells(read("burda2016_table1_quick"))  # 5,000 digits
  found = comparisons.cells(read("burda2016_table1_short"))  # MNIST, a shorter training
  assert {c.name for c in found} == {"vae-1", "vae-5", "iwae-5"}
  assert not any(c.full for c in found)


def test_published_standard_deviations_become_standard_errors():
  values = paper.load("lakshminarayanan2017").PAPER.published["table=1"]
  assert values["concrete RMSE, MC dropout"].stderr == pytest.approx(0.53 / math.sqrt(20))
  assert values["concrete RMSE, PBP"].stderr == 0.093
