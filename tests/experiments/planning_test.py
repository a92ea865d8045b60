"""What --plan chooses: cells that are not compared yet, cheapest first, within the hours."""

import itertools
import json
import types

import pytest

from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import paper, planning

PUBLISHED = {"a": paper.Value(1.0), "b": paper.Value(2.0), "c": paper.Value(3.0), "d": paper.Value(4.0, verified=False)}


def seeds(cell, num):
  return [{"arg.net": cell, "seed": seed} for seed in range(num)]


def module(name, minutes, **more):
  made = types.ModuleType(f"dgm_jax.experiments.papers.{name}.paper")
  made.PAPER = paper.Paper("", "", "", "", {"table=1": ""}, {"table=1": PUBLISHED}, {})
  made.RUNS = {"table=1": {
    "quick": paper.Budget("other data", 1.0, cells={"a": seeds("a", 1)}),
    "short": paper.Budget("its data", 60.0, same_data=True, cells={"a": seeds("a", 1), "b": seeds("b", 2)}),
    "paper": paper.Budget("its recipe", minutes, full=True, cells={c: seeds(c, 1) for c in "abcd"}),
    **more,
  }}  # fmt: skip
  return made


@pytest.fixture
def papers(monkeypatch, tmp_path):
  """Two papers, the second with a recipe of 4 minutes, and no results."""
  modules = {"x2001": module("x2001", 40 * 60.0), "y2002": module("y2002", 4.0)}
  monkeypatch.setattr(paper, "names", lambda: list(modules))
  monkeypatch.setattr(paper, "load", modules.__getitem__)
  monkeypatch.setattr(paper, "RESULTS", tmp_path)
  return tmp_path


def names(works):
  return [(w.paper, w.budget, *w.cells) for w in works]


def test_cells_that_fit_come_cheapest_first_and_the_paper_recipe_before_others(papers):
  chosen, rest = planning.plan(0.5)
  assert names(chosen) == [("y2002", "paper", c) for c in "abc"] + [("x2001", "short", "a")]
  assert names(rest) == [("x2001", "paper", "b"), ("x2001", "paper", "c")]  # d is not verified, quick has other data
  assert [w.hours for w in chosen] == pytest.approx([1 / 60] * 3 + [1 / 3])  # by runs: 1 of 3 in an hour
  assert names(planning.plan(100)[0])[-3:] == [("x2001", "paper", c) for c in "abc"]


def test_what_is_committed_is_not_run_again(papers):
  kept = {"paper": "y2002", "item": "table=1", "budget": "paper", "finished": 1, "of": 1}
  kept["numbers"] = {"cells": {"a": {"mean": 1.0, "stderr": 0.1}}}
  paper.results_file("y2002", "table=1", "paper").write_text(json.dumps(kept))
  assert names(planning.plan(0.1)[0]) == [("y2002", "paper", "b"), ("y2002", "paper", "c")]
  module = paper.load("x2001")
  of_short = kept | {"paper": "x2001", "budget": "short"}
  paper.results_file("x2001", "table=1", "short").write_text(json.dumps(of_short))
  assert planning.compared("x2001", module, "table=1") == {"a": False}
  assert ("x2001", "short", "a") not in names(itertools.chain(*planning.plan(1)))
  assert ("x2001", "paper", "a") in names(
    itertools.chain(*planning.plan(100))
  )  # it is still to be had at the paper's budget


def test_cells_of_a_budget_are_one_command(papers):
  text = planning.as_text(0.1)
  assert "reproduce y2002 --table=1 --budget=paper --cells=a,b,c --save" in text
  assert "3 cells, 3 of them at the paper's budget, in 0.1 of 0.1 hours" in text
  assert "Left: 3 cells, 30 hours." in text


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "ten"])
def test_hours_are_a_number_above_0(text, capsys):
  with pytest.raises(SystemExit):
    reproduce.main([f"--plan={text}"])
  assert f"'{text}' must be a number of hours above 0" in capsys.readouterr().err


def test_every_paper_can_be_planned_and_no_work_is_listed_twice():
  chosen, rest = planning.plan(1e9)
  cells = [(w.paper, w.item, cell) for w in chosen for cell in w.cells]
  assert not rest and len(cells) == len(set(cells))
