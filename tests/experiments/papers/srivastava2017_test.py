"""The table of topic models: means over seeds, differences by seed and by document, topics, published numbers."""

import json

import numpy as np
import pytest

from dgm_jax.core import files
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import paper
from dgm_jax.experiments.papers.srivastava2017 import paper as srivastava2017
from helpers import made_runs

_NPMI = {"prodlda": (0.3, 0.32), "nvlda": (0.1, 0.3), "lda": (0.2, 0.21), "nmf": (0.15, 0.17)}
_NLL = {"prodlda": (7.0, 7.1), "nvlda": (5.0, 6.9), "lda": (6.0, 6.0), "nmf": (6.0, 6.0)}  # of held-out words
_PERPLEXITY = {"prodlda": 900.0, "nvlda": 950.0, "lda": 800.0}  # NMF has no bound
_NOISE = np.array([0.01, -0.01, 0.02, -0.02])


@pytest.fixture
def found(tmp_path):
  log_px = {cell: [[-1.0] * 4] * 2 for cell in _NPMI}
  more = lambda cell, seed: {"test/completion_log_pw": _NOISE * (1 + len(cell)) - _NLL[cell][seed]}
  folder = made_runs.make(tmp_path, "srivastava2017", "table=1", log_px, more=more)
  for path in folder.glob("runs/*/results.json"):
    results, config = files.read_json(path), files.read_json(path.with_name("config.json"))
    name = config["model"]["name"]
    cell = {"latent_dirichlet_allocation": "lda", "nmf": "nmf"}.get(name)
    cell = cell or {"product": "prodlda", "mixture": "nvlda"}[config["model"]["args"]["decoder"]]
    seed = config["seed"]
    results |= {"test/npmi": _NPMI[cell][seed], "test/completion_perplexity": 500.0 + seed}
    results |= {"test/document_perplexity": _PERPLEXITY[cell]} if cell in _PERPLEXITY else {}
    path.write_text(json.dumps(results | {"test/topics": [f"{cell}{seed} ark", "dove"]}))
  return srivastava2017.report("table=1", "test", folder)


def test_numbers_and_topics_by_hand(found):
  cells, pairs = found["numbers"]["cells"], found["numbers"]["pairs"]
  assert cells["prodlda"]["npmi"]["mean"] == pytest.approx(0.31)
  assert cells["prodlda"]["npmi"]["stderr"] == pytest.approx(0.01)
  assert "document_perplexity" not in cells["nmf"]
  assert cells["nvlda"]["topics"] == ["nvlda0 ark", "dove"]
  by_seed = pairs["NPMI, ProdLDA − LDA, online"]
  assert by_seed["difference"] == pytest.approx(0.105)
  assert by_seed["by_seed"] == pytest.approx([0.1, 0.11])
  assert by_seed["verdict"] == "higher"
  assert pairs["NPMI, NVLDA − LDA, online"]["verdict"] == "undecided"
  words = pairs["held-out words, ProdLDA − LDA, online"]
  assert words["difference"] == pytest.approx(1.05)
  # the noise of the two differs by (8 - 4) _NOISE
  assert words["stderr_images"] == pytest.approx(4 * np.sqrt((_NOISE**2).sum() / 3 / 4))
  assert words["verdict"] == "higher"


def test_tables_show_published_numbers_and_topics(found):
  main, _, *topics = found["tables"]
  texts = [[c["text"] for c in row] for row in main["rows"]]
  assert texts[0][:5] == ["ProdLDA", "0.24 (unverified)", "0.310 ± 0.010", "1172 (unverified)", "900 ± 0"]
  assert texts[3][1:5] == ["none", "0.160 ± 0.010", "none", ""]
  assert all(len(row) == len(main["columns"]) for row in texts)
  assert [t["rows"][0][0]["text"] for t in topics] == ["prodlda0 ark", "nvlda0 ark", "lda0 ark", "nmf0 ark"]
  assert (
    "Claim that the NPMI of ProdLDA is above that of LDA, online: shown (+0.105 ± 0.005, paired by seed)."
    in (found["sentences"])
  )
  row = srivastava2017.summary(found["numbers"])
  assert "ProdLDA 0.310 ± 0.010, 500 ± 0" in row["ours"]  # 500 and 501: 500.5 ± 0.5, rounded to even
  assert "lda0 ark" in row["ours"]
  assert "ProdLDA 0.24 (unverified)" in row["published"]


def test_the_papers_runs_use_twenty_newsgroups():
  runs, _ = reproduce.plan(paper.budget(srivastava2017, "table=1", "paper"), {}, "prodlda,lda")
  configs = {(run.config["data"]["name"], run.config["model"]["args"]["num_topics"]) for run in runs}
  assert configs == {("newsgroups", 50)}
