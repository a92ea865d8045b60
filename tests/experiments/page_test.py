"""The page of reports that may be others': safe links, files of their own folders alone, the damaged ones left out."""

import html.parser
import json
import pathlib

import pytest

from dgm_jax.experiments.harness import page, page_reports, tables


class Addresses(html.parser.HTMLParser):
  """All that a page links to or embeds."""

  def __init__(self, text: str):
    super().__init__()
    self.found: list[str] = []
    self.feed(text)

  def handle_starttag(self, tag, attributes):
    self.found += [value or "" for name, value in attributes if name in ("href", "src")]


def report(**changes) -> dict:
  found = {"paper": "p", "citation": "A (2020)", "url": "https://arxiv.org/abs/1", "item": "table=1", "title": "T"}
  found |= {"budget": "quick", "finished": 1, "of": 1, "minutes": 1.0, "hardware": "h", "warnings": [], "sentences": []}
  found |= {"protocol": [], "command": "c", "tables": [], "figures": [], "runs": {}}
  return found | changes


def write(root: pathlib.Path, found: dict | str | bytes, place: str = "p/table=1/quick") -> pathlib.Path:
  folder = root / place
  folder.mkdir(parents=True, exist_ok=True)
  text = found if isinstance(found, str | bytes) else json.dumps(found)
  (folder / "report.json").write_bytes(text if isinstance(text, bytes) else text.encode())
  return folder


def addresses(root: pathlib.Path) -> list[str]:
  return [a for a in Addresses(page.write(root).read_text()).found if not a.startswith("#")]


@pytest.mark.parametrize(
  "url",
  [
    "javascript:alert(1)",
    " JavaScript:alert(1)",
    "data:text/html,x",
    "file:///etc/passwd",
    "//x.org",
    "",
    3,
    "http://[",
  ],
)
def test_only_http_and_https_are_linked(url, tmp_path):
  write(tmp_path, report(url=url))
  assert addresses(tmp_path) == []
  write(tmp_path, report(url="https://arxiv.org/abs/1"))
  assert addresses(tmp_path) == ["https://arxiv.org/abs/1"]


def test_files_outside_the_folder_are_neither_shown_nor_linked(tmp_path):
  root, secret = tmp_path / "root", tmp_path / "secret.png"
  secret.write_bytes(b"secret")
  (tmp_path / "config.json").write_text("{}")
  names = ["../../../../secret.png", str(secret), "link.png", "x.txt", "own.png", "."]
  figures = [tables.picture("t", name) | {"data": "c2VjcmV0", "files": [["PDF", "file:///x"]]} for name in names]
  runs = {name: {"state": "finished", "step": 1, "note": "", "command": "", "seed": 0, "commit": "c", "lanes": 1,
                 "changed_since_commit": None, "hardware": "h", "seconds": 1.0, "started": "",
                 "versions": {}, "files": [["config", "file:///x"]]}
          for name in ("../../../../..", "seed=0")}  # fmt: skip
  folder = write(root, report(figures=figures, runs=runs))
  (folder / "link.png").symlink_to(secret)
  (folder / "x.txt").write_text("x")
  (folder / "own.png").write_bytes(b"own")
  (folder / "runs" / "seed=0").mkdir(parents=True)
  (folder / "runs" / "seed=0" / "config.json").write_text("{}")
  assert addresses(root) == [
    "https://arxiv.org/abs/1",
    "data:image/png;base64,b3du",
    "p/table=1/quick/own.png",
    "p/table=1/quick/runs/seed=0/config.json",
  ]


def test_a_folder_cannot_be_read_as_a_scheme(tmp_path):
  folder = write(tmp_path, report(url=""), "javascript:alert(1)/x/y")
  (folder / "curves.csv").write_text("")
  assert addresses(tmp_path) == ["javascript%3Aalert(1)/x/y/curves.csv"]


DAMAGED = ["", "[1]", "{", "3", bytes(range(128, 256)), '{"citation": "x"}', report(figures=3), report(runs=[1]),
           report(tables=[{"title": "t"}]), report(citation=["x"]), report(minutes="long"),
           report(figures=[tables.picture("t", "x.png") | {"series": [{"points": 1}]}])]  # fmt: skip


@pytest.mark.parametrize("found", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_report_is_left_out_with_a_sentence_and_the_others_are_shown(found, tmp_path, capsys):
  write(tmp_path, report(title="the sound one"))
  folder = write(tmp_path, found, "a/b/c")
  assert "the sound one" in page.write(tmp_path).read_text()
  [line] = capsys.readouterr().err.splitlines()
  assert line.startswith(f"! {folder / 'report.json'}") and "left out of the page" in line
  assert len(page_reports.read(tmp_path, page.render)) == 1
