"""Reproducing a paper: numbers of synthetic runs by hand, skipped runs, invalid commands, the page."""

import base64
import html.parser
import json

import numpy as np
import pytest

from dgm_jax.core import errors, figures
from dgm_jax.core.files import read_json, write_json
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import measured, page, reports, tables
from dgm_jax.experiments.harness import paper as papers
from dgm_jax.experiments.papers.burda2016 import paper as burda2016
from dgm_jax.sweeps import drive
from helpers import made_runs

# log p(x) of four images for seeds 0 and 1
_LOG_PX = {
  "vae-1": ([-5.0, -6.0, -7.0, -8.0], [-6.0, -6.0, -8.0, -8.0]),
  "vae-5": ([-5.0, -6.0, -7.0, -8.0], [-6.0, -6.0, -8.0, -8.0]),
  "vae-50": ([-5.0, -6.0, -7.0, -8.0], [-6.0, -6.0, -8.0, -8.0]),
  "iwae-5": ([-4.0, -5.0, -6.0, -6.5], [-5.0, -5.0, -6.5, -7.0]),
  "iwae-50": ([-4.5, -4.5, -6.0, -6.0], [-4.5, -5.5, -6.0, -7.0]),
}


def make_runs(root, cells=tuple(_LOG_PX), digest="d"):
  """Finished runs of the test budget, as a sweep leaves them."""
  return made_runs.make(root, "burda2016", "table=1", {cell: _LOG_PX[cell] for cell in cells}, digest)


def reproduce_test_budget(root, *flags):
  return reproduce.main(["burda2016", "--table=1", "--budget=test", f"--root={root}", *flags])


def test_cells_and_paired_differences_by_hand(tmp_path):
  folder = make_runs(tmp_path)
  found = burda2016.report("table=1", "test", folder)["numbers"]
  vae = found["cells"]["vae-1"]
  assert vae["by_seed"] == {"0": 6.5, "1": 7.0}
  assert vae["nll"] == pytest.approx(6.75)
  assert vae["stderr_seeds"] == pytest.approx(0.25)  # sd sqrt(1/8) over sqrt 2
  # averaged over seeds: -5.5, -6, -7.5, -8: variance (1.25^2 + .75^2 + .75^2 + 1.25^2) / 3, over 4 images
  assert vae["stderr_images"] == pytest.approx(np.sqrt(4.25 / 3 / 4))
  pair = found["pairs"]["IWAE k = 5 − VAE k = 1"]
  # differences of NLL by image, averaged over seeds: -1, -1, -1.25, -1.25
  assert pair["difference"] == pytest.approx(-1.125)
  assert pair["stderr_images"] == pytest.approx(np.sqrt(4 * 0.125**2 / 3 / 4))
  assert pair["by_seed"] == pytest.approx([-1.125, -1.125])
  assert pair["verdict"] == "lower"
  far = found["pairs"]["IWAE k = 50 − IWAE k = 5"]
  # by image: seed 0: .5, -.5, 0, -.5; seed 1: -.5, .5, -.5, 0; averaged 0, 0, -.25, -.25
  assert far["difference"] == pytest.approx(-0.125)
  assert far["by_seed"] == pytest.approx([-0.125, -0.125])


@pytest.mark.parametrize(
  "difference,images,seeds,n,expected",
  [
    (-1.0, 0.5, 0.1, 3, "lower"),  # 2 standard errors over images; 10 over seeds
    (1.0, 0.5, 0.1, 3, "higher"),
    (-1.0, 0.7, 0.1, 3, "undecided"),  # 1.43 standard errors over images, below the normal's 1.645
    (-1.0, 0.1, 0.4, 3, "undecided"),  # 2.5 standard errors over three seeds, below Student's 2.92
    (-1.0, 0.1, 0.4, 30, "lower"),  # beyond Student's 1.70 for thirty seeds
    (-1.0, 0.1, None, 1, "lower"),
  ],
)
def test_an_order_is_shown_only_by_both_images_and_seeds(difference, images, seeds, n, expected):
  assert measured.verdict(difference, images, seeds, n) == expected


def test_an_undecided_order_is_not_claimed(tmp_path, monkeypatch):
  monkeypatch.setitem(_LOG_PX, "iwae-50", ([-4.5, -4.5, -6.0, -6.0], [-6.0, -5.5, -7.5, -7.0]))
  (sentence,) = burda2016.report("table=1", "test", make_runs(tmp_path))["sentences"]
  assert "cannot show the order" in sentence
  assert "IWAE k = 50 − IWAE k = 5 may be zero" in sentence


def test_a_reversed_order_is_reported(tmp_path, monkeypatch):
  monkeypatch.setitem(_LOG_PX, "iwae-5", ([-9.0, -9.0, -9.0, -9.5], [-9.0, -9.0, -9.0, -9.5]))
  (sentence,) = burda2016.report("table=1", "test", make_runs(tmp_path))["sentences"]
  assert "does not hold in this budget: IWAE k = 5 − VAE k = 1 is above zero" in sentence


def test_runs_on_other_images_are_not_paired(tmp_path):
  folder = make_runs(tmp_path, ("vae-1",))
  make_runs(tmp_path, ("iwae-5",), digest="other")
  with pytest.raises(errors.UserError, match="cannot be compared: data_digest"):
    burda2016.report("table=1", "test", folder)


def test_a_finished_budget_is_reported_without_training(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(drive, "make_plan", lambda *_: pytest.fail("a run is planned"))
  make_runs(tmp_path)
  assert reproduce_test_budget(tmp_path) == 0
  text = capsys.readouterr().out
  assert "nothing is left to train" in text
  assert "! Budget 'test' is not the paper's recipe" in text
  assert "86.76 (19)" in text
  assert "−80.01 ± 0.25 (not comparable)" in text  # 6.75 - 86.76
  found = read_json(papers.folder(tmp_path, "burda2016", "table=1", "test") / "report.json")
  assert (found["finished"], found["of"], found["minutes"]) == (10, 10, 0)
  assert (tmp_path / "index.html").exists()


def test_an_interrupted_budget_continues_with_the_remaining_runs(tmp_path, monkeypatch, capsys):
  make_runs(tmp_path, ("vae-1", "iwae-5"))
  planned = []

  def make_plan(runs, options):
    planned.append([run.name for run in runs])
    raise KeyboardInterrupt

  monkeypatch.setattr(drive, "make_plan", make_plan)
  with pytest.raises(KeyboardInterrupt):
    reproduce_test_budget(tmp_path)
  with pytest.raises(KeyboardInterrupt):
    reproduce_test_budget(tmp_path, "--cells=vae-50,vae-1")
  six = [
    f"arg.k={k},objective.bound={b},seed={s}" for k, b in ((5, "elbo"), (50, "elbo"), (50, "iwae")) for s in (0, 1)
  ]
  assert planned == [six, six[2:4]]
  monkeypatch.setattr(drive, "make_plan", lambda *_: pytest.fail("a run is planned"))
  make_runs(tmp_path, ("vae-5", "vae-50", "iwae-50"))
  assert reproduce_test_budget(tmp_path) == 0
  sessions = read_json(papers.folder(tmp_path, "burda2016", "table=1", "test") / "sessions.json")
  assert len(sessions) == 2  # the last command did nothing


def test_only_a_full_recipe_is_comparable_with_published_numbers(monkeypatch):
  assert tables.difference(0.021, 0.1, True) == "+0.02 ± 0.10"
  assert tables.difference(-0.5, None, False) == "−0.50 (not comparable)"
  assert tables.published("1.0", verified=False)["text"] == "1.0 (unverified)"
  assert [b.full for b in burda2016.RUNS["table=1"].values()] == [False, False, True, False]


@pytest.mark.parametrize(
  "arguments,sentence",
  [
    (["burda2015"], "Unknown paper 'burda2015'. Did you mean 'burda2016'?"),
    (["burda2016", "--table=4"], "Unknown table of burda2016 'table=4'. Did you mean 'table="),
    (
      ["burda2016", "--figure=9"],
      "Unknown figure of burda2016 'figure=9'. Did you mean 'figure=activity'?",
    ),
    (["burda2016", "--table=1", "--budget=quik"], "Unknown budget of table=1 'quik'. Did you mean 'quick'?"),
    (["burda2016", "--budget=quik"], "Unknown budget 'quik'. Did you mean 'quick'?"),
    (["burda2016", "--table=1", "--budget=test", "--cells=vae-2"], "Unknown cell 'vae-2'. Did you mean 'vae-"),
    (["rainforth2018", "--figure=2", "--budget=test", "--cells=b"], "--cells chooses training runs; figure=2 has none"),
    ([], "Name a paper: "),
  ],
)
def test_invalid_commands_are_explained_and_write_nothing(tmp_path, arguments, sentence):
  with pytest.raises(errors.UserError) as e:
    reproduce.main([*arguments, f"--root={tmp_path / 'root'}"])
  assert sentence in str(e.value)
  assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("paper", papers.names())
def test_the_runs_of_every_budget_are_valid_and_found_by_its_report(paper):
  module = papers.load(paper)
  for item, budgets in module.RUNS.items():
    assert item in module.PAPER.items and module.PAPER.notes[item]
    for name, budget in budgets.items():
      names = reports.run_names(module, item, name)
      if budget.cells:
        runs, wanted = reproduce.plan(budget, {}, "")
        assert [run.name for run in runs] == names
        assert set(names) == wanted


def test_the_list_shows_papers_items_budgets_and_costs(capsys):
  assert reproduce.main(["--list"]) == 0
  text = capsys.readouterr().out
  for part in ("burda2016: ", "--table=1", "rainforth2018: ", "--figure=2", "--budget=quick", "--budget=paper"):
    assert part in text
  lines = [line for line in text.splitlines() if "--budget" in line]
  assert all("estimated (2 cores)" in line or " measured (" in line for line in lines)


def test_only_finished_budgets_are_saved_and_without_local_folders(tmp_path, monkeypatch):
  monkeypatch.setattr(papers, "RESULTS", tmp_path / "results")
  (tmp_path / "results").mkdir()
  make_runs(tmp_path / "root", ("vae-1",))
  found = reports.make(tmp_path / "root", "burda2016", burda2016, "table=1", "test")
  with pytest.raises(errors.UserError, match="has 2 of 10; choose finished cells with --cells"):
    reports.save(found)
  budget = burda2016.RUNS["table=1"]["test"]
  with pytest.raises(errors.UserError, match="has 2 of 4 for vae-1, iwae-5"):
    reports.save(found, reproduce.chosen_cells(budget, "vae-1,iwae-5"))
  kept = read_json(reports.save(found, reproduce.chosen_cells(budget, "vae-1")))
  assert (kept["finished"], kept["of"], len(kept["runs"])) == (2, 10, 2)
  make_runs(tmp_path / "root", tuple(_LOG_PX)[1:])
  found = reports.make(tmp_path / "root", "burda2016", burda2016, "table=1", "test")
  for run in found["runs"].values():
    run["command"] = "python x --config.data.manual_dir=/home/me/raw --workdir=y"
  text = reports.save(found).read_text()
  assert "/home/me" not in text and str(tmp_path) not in text
  assert "--root=runs/reproduce" in text
  assert "--config.data.manual_dir=FOLDER" in text
  assert json.loads(text)["numbers"]["cells"]["vae-1"]["nll"] == 6.75


class Tags(html.parser.HTMLParser):
  """All tags with attributes, and all text."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.text = [], ""
    self.feed(text)

  def handle_starttag(self, tag, attributes):
    self.tags.append((tag, dict(attributes)))

  def handle_data(self, data):
    self.text += data


def test_the_page_escapes_all_text_and_makes_no_requests(tmp_path):
  make_runs(tmp_path)
  evil = "</script><script>alert('x')</script><img src=http://x.org \"onerror='y'>"
  found = reports.write(tmp_path, "burda2016", burda2016, "table=1", "test")
  found |= {name: found[name] + evil for name in ("citation", "title", "what", "command", "hardware")}
  found["sentences"], found["warnings"], found["protocol"] = [evil], [evil], [evil]
  found["runs"] = {name + evil: run | {"note": evil, "command": evil} for name, run in found["runs"].items()}
  found["tables"][0]["rows"][0][0] = tables.cell(evil, list(found["runs"]))
  found["figures"][0]["series"][0]["name"] = found["figures"][0]["title"] = evil
  found["figures"].append(tables.picture(evil, "x.png", evil) | {"data": "iVBORw0KGgo="})
  parsed = Tags(page.render([found | {"folder": "a/b/c", "id": "a-b-c"}]))
  tags = [tag for tag, _ in parsed.tags]
  assert tags.count("script") == 1
  assert not {"link", "iframe", "object", "embed", "base"} & set(tags)
  assert tags.count("img") == 1
  for tag, attributes in parsed.tags:
    assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
    assert not any(name.startswith("on") for name in attributes)
    assert tag == "a" or "href" not in attributes
  assert "url(" not in parsed.text and "@import" not in parsed.text
  assert parsed.text.count(evil) >= 20
  drawn = [json.loads(a["data-points"]) for tag, a in parsed.tags if "data-points" in a]
  assert all(len(point) == 3 for line in drawn for point in line)


def test_a_picture_is_embedded_and_a_histogram_is_drawn_by_its_edges(tmp_path):
  make_runs(tmp_path)
  found = reports.write(tmp_path, "burda2016", burda2016, "table=1", "test")
  folder = papers.folder(tmp_path, "burda2016", "table=1", "test")
  picture = figures.new(1, 1)
  figures.save(folder / "samples.png", picture)
  bars = tables.series("units", [(0, 2), (1, 5), (2, 0)], style="bars")
  found["figures"] = [tables.picture("Samples", "samples.png"), tables.figure("Histogram", "log A", "units", [bars])]
  write_json(folder / "report.json", found)
  sources = [a["src"] for tag, a in Tags(page.write(tmp_path).read_text()).tags if tag == "img"]
  assert [base64.b64decode(s.partition(",")[2]) for s in sources] == [(folder / "samples.png").read_bytes()]
  chart = page.chart(found["figures"][1])
  points = [tuple(map(float, p.split(","))) for p in chart["lines"][0]["path"].split()]
  (x0, y2), (x1, y5), (x2, bottom) = [(p["x"], p["y"]) for p in chart["lines"][0]["points"]]
  assert points == [(x0, bottom), (x0, y2), (x1, y2), (x1, y5), (x2, y5), (x2, bottom)]


def test_a_single_axis_may_be_logarithmic():
  chart = page.chart(tables.figure("t", "x", "y", [tables.series("a", [(1, -1), (10, 0), (100, 1)])], log="x"))
  (x0, y0), (x1, y1), (x2, y2) = [(p["x"], p["y"]) for p in chart["lines"][0]["points"]]
  assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
  assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)


def test_every_number_of_the_page_links_to_its_runs(tmp_path):
  make_runs(tmp_path)
  reproduce_test_budget(tmp_path)
  parsed = Tags((tmp_path / "index.html").read_text())
  ids = {a["id"] for _, a in parsed.tags if "id" in a}
  targets = [a["href"] for tag, a in parsed.tags if tag == "a"]
  inside = [t[1:] for t in targets if t.startswith("#")]
  assert sum("-run-" in t for t in inside) >= 10
  assert set(inside) <= ids
  files = [t for t in targets if not t.startswith(("#", "https://arxiv.org"))]
  assert len(files) == 32  # config, record, results of ten runs, the table of curves, a figure
  assert all((tmp_path / f).exists() for f in files)


def test_axes_have_round_numbers_inside_their_range():
  assert page.ticks(-111.3, -98.2) == [-110, -105, -100]
  assert page.ticks(0.0, 1.0) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
  assert page.log_ticks(0.9, 1100) == [1, 10, 100, 1000]
  assert page.log_ticks(9, 60) == [10, 20, 50]
  assert [page.number(v) for v in (-98.0, 1000.0, 0.25, 1e-5)] == ["−98", "1,000", "0.25", "1e−5"]


@pytest.mark.slow
def test_two_seeds_train_evaluate_and_are_not_repeated(tmp_path, capfd):
  """End to end, with the smallest cell."""
  assert reproduce_test_budget(tmp_path, "--cells=vae-1", "--jobs=1") == 0
  folder = papers.folder(tmp_path, "burda2016", "table=1", "test")
  found = read_json(folder / "report.json")
  assert (found["finished"], found["of"]) == (2, 10)
  cell = found["numbers"]["cells"]["vae-1"]
  assert 150 < cell["nll"] < 400
  assert cell["nll"] == pytest.approx(np.mean(list(cell["by_seed"].values())))
  runs = [run for run in found["runs"].values() if run["state"] == "finished"]
  assert [run["lanes"] for run in runs] == [2, 2]
  before = [p.read_text() for p in sorted(folder.glob("runs/*/run.json"))]
  assert reproduce_test_budget(tmp_path, "--cells=vae-1", "--jobs=1") == 0
  assert [p.read_text() for p in sorted(folder.glob("runs/*/run.json"))] == before
  assert "nothing is left to train" in capfd.readouterr().out
