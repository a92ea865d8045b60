"""The page of the committed results: every file is on it, with its numbers, without a run."""

import json
import re

import pytest

from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import committed, paper
from dgm_jax.experiments.papers.burda2016 import paper as burda2016


def texts(table):
  return [[cell["text"] for cell in row] for row in table["rows"]]


def test_every_committed_result_is_on_the_page_with_its_numbers(tmp_path, capsys):
  assert reproduce.main(["--page_of_results", f"--root={tmp_path}"]) == 0
  assert capsys.readouterr().out == f"Page: {tmp_path / 'results.html'}\n"
  page = (tmp_path / "results.html").read_text()
  files = [*paper.RESULTS.glob("*.json"), *paper.RESULTS.glob("*.png")]
  assert set(re.findall(r'<article id="([^"]+)"', page)) == {path.stem for path in files}
  for path in paper.RESULTS.glob("*.json"):
    if "paper" in (found := json.loads(path.read_text())):
      section = page.partition(f'<article id="{path.stem}">')[2].partition("</article>")[0]
      assert "<table" in section
      assert "Published: " in section
      assert f"{found['finished']} of {found['of']} runs finished" in section
  assert 'href="/' not in page  # no link to files that are not there
  assert not re.search(r'href="[^"#]*results\.json"', page)
  assert page.count("<svg viewBox") >= 4


def test_published_numbers_stand_beside_ours():
  [found] = [r for r in committed.read() if r["id"] == "burda2016_table1_quick"]
  table = next(t for t in found["tables"] if t["title"] == "cells")
  row = next(row for row in texts(table) if row[0] == "iwae-5")
  assert table["columns"][:2] == ["", "published"]
  assert row[1] == f"{burda2016.PAPER.published['table=1']['iwae-5'].value:g}"
  assert f"{found['numbers']['cells']['iwae-5']['nll']:.4g}" in row[2]


def test_nested_numbers_become_tables_and_figures():
  numbers = {
    "total": 7,
    "groups": {
      "a": {"1": {"kl": 0.5, "kl_stderr": 0.01}, "2": {"kl": 0.25}, "10": {"kl": -0.125}},
      "b": {"1": {"kl": 1.0}, "2": {"kl": 2.0}, "10": {"kl": 3.0}},
    },
    "rows": {"x": {"nll": {"mean": 12345.6, "stderr": 2.0, "by_seed": [1]}, "words": "lower", "by_seed": {"0": 1}}},
  }
  found, figures = committed.shown(numbers, {"x": paper.Value(3.0, verified=False)})
  by_title = {table["title"]: table for table in found}
  assert texts(by_title["Settings and totals"]) == [["", "7"]]
  assert texts(by_title["groups, a"]) == [["1", "0.5 ± 0.01"], ["2", "0.25"], ["10", "−0.125"]]
  assert by_title["rows"]["columns"] == ["", "published", "nll", "words"]
  assert texts(by_title["rows"]) == [["x", "3 (unverified)", "12,346 ± 2", "lower"]]
  [figure] = figures
  assert [s["name"] for s in figure["series"]] == ["a", "b"]
  assert figure["series"][0]["points"] == [[1.0, 0.5], [2.0, 0.25], [10.0, -0.125]]
  assert figure["y"] == "kl"


@pytest.mark.parametrize("value, text", [(0.00012345, "0.0001234"), (True, "True"), (5000, "5,000"), (-1.5, "−1.5")])
def test_numbers_are_written_with_four_digits(value, text):
  assert committed._text(value) == text
