"""The imputation command: the files it writes and its error messages."""

import csv
import errno
import json
import os
import pathlib
import re
import signal

import numpy as np
import pytest

from dgm_jax.applications.imputation import cells, comparison, report
from dgm_jax.applications.imputation import command as impute
from dgm_jax.core import errors

SMALL = ("--method=miwae", "--steps=200", "--latents=2", "--hidden=8", "--samples=50")


def rows(n=60, seed=0, rate=0.25):
  """(header, rows with missing cells): a name, two numbers and a class that depend on one variable, and a constant."""
  g = np.random.default_rng(seed)
  z = g.normal(size=n)
  complete = [
    [f"row {i}", f"{v + 0.1 * e:.3f}", str(round(10 + 4 * v)), "low" if v < 0 else '"high, up"', "7"]
    for i, (v, e) in enumerate(zip(z, g.normal(size=n), strict=True))
  ]
  incomplete = [[c if j == 0 or g.random() > rate else "" for j, c in enumerate(row)] for row in complete]
  return ["key", "real", "whole", "class", "one"], incomplete


def write(path, header, body):
  path.write_text("\n".join(",".join(row) for row in (header, *body)) + "\n")
  return path


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
  folder = tmp_path_factory.mktemp("filled")
  header, incomplete = rows()
  incomplete[3][1:] = [""] * 4  # a row without any observed cell
  data, out = write(folder / "data.csv", header, incomplete), folder / "out.csv"
  assert impute.main([str(data), f"--out={out}", "--ignore=key", "--multiple=2", *SMALL]) == 0
  return folder, incomplete


def test_observed_cells_are_unchanged_and_no_cell_stays_missing(filled):
  folder, incomplete = filled
  for name in ("out.csv", "out.1.csv", "out.2.csv"):
    lines = [next(csv.reader([line])) for line in (folder / name).read_text().splitlines()[1:]]
    raw = (folder / name).read_text().splitlines()[1:]
    for before, after, line in zip(incomplete, lines, raw, strict=True):
      assert all(b == "" or b.strip('"') == a for b, a in zip(before, after, strict=True))
      assert ('"high, up"' in line) == (after[3] == "high, up")
      assert -4 < float(after[1]) < 4
      assert float(after[2]) == int(after[2])
      assert after[3] in ("low", "high, up")
      assert after[4] == "7"


def test_every_imputed_cell_is_listed_with_value_and_uncertainty(filled):
  folder, incomplete = filled
  found = list(csv.DictReader((folder / "out.cells.csv").open()))
  out = list(csv.DictReader((folder / "out.csv").open()))
  expected = [
    (i + 1, name)
    for i, row in enumerate(incomplete)
    for j, name in ((1, "real"), (2, "whole"), (3, "class"))
    if row[j] == ""
  ]
  assert [(int(c["row"]), c["column"]) for c in found] == expected
  for cell in found:
    assert cell["value"] == out[int(cell["row"]) - 1][cell["column"]]
    if cell["column"] == "class":
      assert 0.5 <= float(cell["probability"]) <= 1
      assert cell["deviation"] == cell["low"] == ""
    else:
      assert float(cell["deviation"]) > 0
      assert float(cell["low"]) < float(cell["high"])


def test_the_report_describes_the_fit_and_its_errors(filled):
  folder, incomplete = filled
  about = json.loads((folder / "out.report.json").read_text())
  assert about["table"]["rows"] == 60
  assert about["table"]["missing"] == sum(c == "" for row in incomplete for c in row)
  kinds = {c["name"]: c["kind"] for c in about["columns"]}
  assert kinds == {"key": "ignored", "real": "real", "whole": "integer", "class": "binary", "one": "constant"}
  assert set(about["errors"]) == {"miwae", "mean", "knn", "forest"}
  text = (folder / "out.report.txt").read_text()
  assert "transductive" in text and "not proper" in text and "200 steps" in text
  for name in ("real", "whole", "class"):
    assert all(f"{e:.4g}" in text for c in about["columns"] if c["name"] == name for e in c["errors"].values())
  assert sorted(p.name for p in folder.iterdir()) == sorted(
    ["data.csv", "out.csv", "out.1.csv", "out.2.csv", "out.cells.csv", "out.report.txt", "out.report.json"]
  )


def test_a_model_fitted_to_one_table_imputes_another_and_keeps_unknown_classes(tmp_path, capsys):
  header, incomplete = rows()
  train = write(tmp_path / "train.csv", header[1:], [row[1:] for row in incomplete])
  new = write(tmp_path / "new.csv", [header[3], *header[1:3], "one"], [["odd", "", "12", "7"], ["low", "", "", ""]])
  command = [str(new), f"--fit={train}", f"--out={tmp_path / 'o.csv'}", "--compare=none", *SMALL]
  assert impute.main([*command, "--multiple=3", "--proper=2"]) == 0
  printed = capsys.readouterr().out
  assert "(inductive)" in printed and "proper" in printed and "not proper" not in printed
  assert "'class' has classes unknown to the model, kept but treated as missing: odd" in printed
  odd, low = csv.DictReader((tmp_path / "o.csv").open())
  assert odd["class"] == "odd" and odd["whole"] == "12" and low["one"] == "7"
  assert all(row[name] for row in (odd, low) for name in row)
  assert json.loads((tmp_path / "o.report.json").read_text())["errors"] == {}


def test_the_fit_does_not_see_cells_hidden_for_the_comparison(tmp_path, monkeypatch):
  """The table passed to the fit is NaN where a cell is missing or is hidden to compare the methods."""
  header, incomplete = rows()
  data, seen = write(tmp_path / "data.csv", header, incomplete), []
  real = comparison.compare

  def compare(model, x, hidden, names, **options):
    seen.append((x, hidden))
    return real(model, np.where(hidden, x + 1, x), hidden, names, **options)

  fits = []
  fit = impute.fitted.fit
  monkeypatch.setattr(impute.comparison, "compare", compare)
  monkeypatch.setattr(impute.fitted, "fit", lambda x, *a, **k: fits.append(x) or fit(x, *a, **k))
  assert impute.main([str(data), f"--out={tmp_path / 'o.csv'}", "--ignore=key", *SMALL]) == 0
  [(x, hidden)] = seen
  assert hidden.sum() > 5
  np.testing.assert_array_equal(np.isnan(fits[0]), np.isnan(x) | hidden)


def test_semicolons_decimal_commas_and_columns_that_are_not_modelled(tmp_path):
  """The same options as config.data has: columns and the target stay as they are, and take no part in the fit."""
  _, incomplete = rows()
  lines = [";".join([*(c.replace(".", ",") for c in row[:3]), "-9" if i % 5 == 0 else row[3], str(i)]) for i, row in
           enumerate(incomplete)]  # fmt: skip
  (tmp_path / "d.csv").write_text("\n".join(["key;real;whole;class;y", *lines]) + "\n")
  flags = ["--decimal=,", "--columns=real,2,3", "--target=y", "--missing=-9", "--compare=none"]
  assert impute.main([str(tmp_path / "d.csv"), f"--out={tmp_path / 'o.csv'}", *flags, *SMALL]) == 0
  kinds = {c["name"]: c["kind"] for c in json.loads((tmp_path / "o.report.json").read_text())["columns"]}
  assert kinds == {"key": "ignored", "real": "real", "whole": "integer", "class": "binary", "y": "ignored"}
  for before, after in zip(lines, (tmp_path / "o.csv").read_text().splitlines()[1:], strict=True):
    cells_ = list(zip(next(csv.reader([before], delimiter=";")), next(csv.reader([after], delimiter=";")), strict=True))
    assert all(b in ("", "-9") or a == b for b, a in cells_)
    assert -4 < float(cells_[1][1].replace(",", ".")) < 4 and "." not in cells_[1][1]
    assert cells_[3][1] in ("low", "high, up")


def fails(args, status=2):
  return errors.run_command(lambda: impute.main(list(map(str, args)))) == status


@pytest.mark.parametrize(
  ("body", "flags", "sentence"),
  [
    ("a,b\n1,2\n3,\n", ("--categorical=c",), "Unknown column of --categorical of data.csv 'c'"),
    ("a,b\n1,2\n3,\n", ("--ignore=2",), "Unknown column of --ignore of data.csv '2'"),
    ("1,2\n3,\n", ("--ignore=0,column_1",), "'column_1' of --ignore is listed twice"),
    ('a,b\n"1,5",2\n"2,5",\n', (), "'a' holds '1,5', '2,5': the option decimal=,"),
    ("a,b\n1,2\n3,\n", ("--numeric=a", "--ignore=a"), "'a' of --ignore is listed twice"),
    ("a,b\n1,2\n3,\n", ("--method=miwae", "--latents=257"), "--latents=257; it must be between 1 and 256"),
    ("a,b\n1,2\n3,\n", ("--multiple=3", "--proper=4"), "--proper=4 models"),
    ("a,b\n1,2\n3,\n", ("--method=miwae", "--compare=knm"), "Unknown name of --compare 'knm'"),
    ("a,b\n1,2\n3,4\n", (), "has no missing cell"),
    ("a,b\n1,2\n1,\n", (), "No column of .* has two different observed values"),
    ("a,b\n1,\n", (), "No column of .* has two different observed values"),
    ("a,b\n1,inf\n3,\n", (), "'b' is infinite in row 1"),
    ("a,b\n1,2\n3;4\n", (), "line 3 has 1 cells"),
    ("a,a\n1,2\n3,\n", (), "two columns named 'a'"),
    ("a,b\n1,2\n3,\n", ("--fit=none.csv",), "none.csv cannot be read"),
    ("a,b\n1,2\n3,\n", ("--fit=other.csv",), "other.csv has no column 'b'"),
    ("a,b\n1,2\n3,\n", ("--fit=data.csv", "--transductive"), "give one of them"),
    ("a,b\n1,2\n3,\n", ("--minutes=0",), "--minutes=0"),
    ("a,b\n1,2\n3,\n", ("--separator=;",), "the separator ';' does not occur in the first line, 'a,b'"),
    ("a,bcd\n1,2\n3,\n", ("--columns=bdc",), "Unknown column of data.csv 'bdc'. Did you mean 'bcd'"),
    ("a,b\n1,2\n3,\n", ("--target=c",), "Unknown target of data.csv 'c'"),
    ("a,b\n1,2\n3,\n", ("--method=tree",), "Unknown value of --method 'tree'"),
    ("a,b\n1,2\n3,\n", ("--models=0",), "--models=0; it must be 1 or more"),
    ("a,b\n1,2\n3,\n", ("--latents=3",), "--latents goes with --method=miwae, not with --method=auto"),
    ("a,b\n1,2\n3,\n", ("--compare=knn",), "--compare goes with --method=miwae"),
    ("a,b\n1,2\n3,\n", (), "No column has 20 observed entries, so that none can be hidden"),
    ("a,b\n1,u\n3,v\n2,\n4,u\n", ("--mechanism=self_masking",), "is for columns of numbers; this table has classes"),
    ("a,b\n1,2\n3,\n", ("--method=miwae", "--hide_inputs=1"), "--hide_inputs=1.0; it must be"),
    ("a,b\n1,2\n3,\n4,1\n", ("--method=knn", "--multiple=2"), "Draws need networks"),
  ],
)
def test_user_mistakes_are_reported_in_one_sentence(tmp_path, monkeypatch, capsys, body, flags, sentence):
  monkeypatch.chdir(tmp_path)
  pathlib.Path("data.csv").write_text(body)
  pathlib.Path("other.csv").write_text("a\n1\n")
  assert fails(["data.csv", "--out=o.csv", *flags])
  printed = capsys.readouterr().err
  assert printed.count("\n") == 1
  assert re.search(sentence, printed), printed
  assert sorted(os.listdir()) == ["data.csv", "other.csv"]


def test_existing_files_are_not_overwritten_by_default(tmp_path, capsys):
  header, incomplete = rows()
  data = write(tmp_path / "data.csv", header, incomplete)
  (tmp_path / "o.report.txt").write_text("mine")
  assert fails([data, f"--out={tmp_path / 'o.csv'}"])
  assert "o.report.txt already exists; --overwrite replaces it" in capsys.readouterr().err
  assert fails([data, f"--out={tmp_path / 'o.tsv'}"])
  assert "must end in .csv" in capsys.readouterr().err
  assert fails([data, f"--out={tmp_path / 'no' / 'o.csv'}"])
  assert f"the folder {tmp_path / 'no'} does not exist" in capsys.readouterr().err


def test_an_input_is_never_written_over(tmp_path, capsys):
  header, incomplete = rows()
  data, fit = write(tmp_path / "a.1.csv", header, incomplete), write(tmp_path / "b.csv", header, incomplete)
  (tmp_path / "link.csv").symlink_to(data)
  os.link(fit, tmp_path / "hard.csv")
  before = data.read_bytes()
  for out in ("a.1.csv", "link.csv", "b.csv", "hard.csv", "a.csv"):
    args = [data, f"--fit={fit}", f"--out={tmp_path / out}", "--overwrite", "--multiple=2", *SMALL]
    assert fails(args)
    assert "would write over the input" in capsys.readouterr().err
  assert data.read_bytes() == fit.read_bytes() == before


@pytest.mark.parametrize(
  "where", ["a folder", "a report that is a folder", "/proc", "a long name", "read-only", "full"]
)
def test_an_output_that_cannot_be_written_is_found_before_the_fit(tmp_path, monkeypatch, capsys, where):
  header, incomplete = rows()
  data = write(tmp_path / "data.csv", header, incomplete)
  out = pathlib.Path("/proc/o.csv") if where == "/proc" else tmp_path / f"{'o' * (245 if 'long' in where else 1)}.csv"
  if "folder" in where:
    (out if where == "a folder" else out.with_suffix(".report.txt")).mkdir()
  if where == "read-only":
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    out.write_text("mine")
  if where == "full":

    def full(*args):
      raise OSError(28, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
  monkeypatch.setattr(impute, "_impute", lambda *_: pytest.fail("the fit began"))
  before = sorted(os.listdir(tmp_path))
  assert fails([data, f"--out={out}", "--overwrite", *SMALL])
  printed = capsys.readouterr().err
  assert printed.count("\n") == 1 and ("cannot be written" in printed or "is a folder" in printed)
  assert sorted(os.listdir(tmp_path)) == before


def test_without_a_header_columns_are_given_by_position(tmp_path):
  """The first line is data where it holds only numbers, as in config.data."""
  lines = [f"{i},{i % 3},{i % 2}" for i in range(40)] + ["5,,"]
  (tmp_path / "d.csv").write_text("\n".join(lines) + "\n")
  flags = ["--categorical=1", "--numeric=-1", "--ignore=column_1", "--compare=none", *SMALL]
  assert impute.main([str(tmp_path / "d.csv"), f"--out={tmp_path / 'o.csv'}", *flags]) == 0
  kinds = [c["kind"] for c in json.loads((tmp_path / "o.report.json").read_text())["columns"]]
  assert kinds == ["ignored", "categorical", "integer"]
  assert (tmp_path / "o.csv").read_text().splitlines()[:40] == lines[:40]


def test_classes_and_indices_of_another_table_are_understood(tmp_path):
  """The fit has 0 and 1, the new table 0.0 and 1.0, both with the index of a data frame."""
  g = np.random.default_rng(0)
  flag = g.integers(0, 2, 60)
  write(
    tmp_path / "train.csv",
    ["", "flag", "x"],
    [[f"{i}", f"{f}", f"{6 * f + g.normal():.2f}"] for i, f in enumerate(flag)],
  )
  body = [[f"{7 * i}", f"{f:.1f}", ""] for i, f in enumerate(flag[:9])] + [["99", "", "6.1"]]
  new = write(tmp_path / "new.csv", ["", "flag", "x"], body)
  args = [str(new), f"--fit={tmp_path / 'train.csv'}", f"--out={tmp_path / 'o.csv'}", "--compare=none", *SMALL]
  assert impute.main(args) == 0
  about = json.loads((tmp_path / "o.report.json").read_text())["columns"]
  assert [c["kind"] for c in about] == ["binary", "real"] and not any("unknown" in c for c in about)
  out = list(csv.reader((tmp_path / "o.csv").open()))
  assert [row[0] for row in out[1:]] == [row[0] for row in body] and out[-1][1] in ("0.0", "1.0")
  [cell] = [c for c in csv.DictReader((tmp_path / "o.cells.csv").open()) if c["column"] == "flag"]
  assert cell["value"] == out[-1][1]


@pytest.mark.parametrize("moment", ["compare", "impute"])
def test_a_signal_stops_the_command_without_incomplete_files(tmp_path, monkeypatch, capsys, moment):
  header, incomplete = rows()
  data = write(tmp_path / "data.csv", header, incomplete)

  place = {"compare": comparison, "impute": cells}[moment]
  going_on = getattr(place, moment)

  def signalled(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGTERM)
    return going_on(*args, **kwargs)

  monkeypatch.setattr(place, moment, signalled)
  command = lambda name: [str(data), f"--out={tmp_path / name}", "--ignore=key", *SMALL]
  assert impute.main(command("o.csv")) == 4
  assert os.listdir(tmp_path) == ["data.csv"]
  if moment == "impute":
    monkeypatch.setattr(place, moment, going_on)
    assert impute.main(command("o.csv")) == impute.main(command("never_stopped.csv")) == 0
    assert (tmp_path / "o.csv").read_bytes() == (tmp_path / "never_stopped.csv").read_bytes()
  assert "Stopped by SIGTERM" in capsys.readouterr().err


def test_a_full_disk_is_that_of_the_output(tmp_path, monkeypatch, capsys):
  header, incomplete = rows()
  data = write(tmp_path / "data.csv", header, incomplete)

  def full(*args):
    raise OSError(errno.ENOSPC, "No space left on device")

  monkeypatch.setattr(report, "write_cells", full)
  arguments = [data, f"--out={tmp_path / 'o.csv'}", "--ignore=key", "--compare=none", *SMALL]
  assert errors.run_command(lambda: impute.main(list(map(str, arguments)))) == 2
  printed = capsys.readouterr().err
  assert f"error: The disk of --out {tmp_path / 'o.csv'} is full" in printed
  assert "checkpoint" not in printed


def test_an_empty_column_is_left_empty_and_reported(tmp_path, capsys):
  header, incomplete = rows()
  for row in incomplete:
    row[4] = ""
  data = write(tmp_path / "data.csv", header, incomplete)
  assert impute.main([str(data), f"--out={tmp_path / 'o.csv'}", "--ignore=key", "--compare=none", *SMALL]) == 0
  assert "'one' has no observed cell and is left empty" in capsys.readouterr().out
  assert all(row["one"] == "" and row["real"] for row in csv.DictReader((tmp_path / "o.csv").open()))
