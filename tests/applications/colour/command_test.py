"""`dgm_jax colourise`: files of every kind, names, the page, the report, and mistakes in one sentence."""

import json
import pathlib
import struct
import types
import zlib

import numpy as np
import pytest
from PIL import Image

import dgm_jax
from dgm_jax.__main__ import main
from dgm_jax.applications.colour import colouriser, page, photographs
from dgm_jax.core import config_args
from dgm_jax.core.system import TrainState
from dgm_jax.training import train

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """The folder of a short run."""
  folder = tmp_path_factory.mktemp("colour") / "run"
  config = config_args.load("colouriser:test")
  with config.unlocked():
    config.num_steps, config.evaluate, config.loggers = 10, {}, ()
    config.figures_every = config.checkpoint_every = config.eval_every = 10
  train.train_and_evaluate(config, folder)
  return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
  """A folder with photographs of every kind, and other files."""
  folder = tmp_path_factory.mktemp("photos")
  rgb = RNG.integers(0, 256, (20, 30, 3), np.uint8)
  of = Image.fromarray
  of(rgb).save(folder / "colour.jpg", exif=_turned())
  of(rgb).save(folder / "same.png")
  of(rgb[..., 0]).save(folder / "same.bmp")
  of(rgb).convert("CMYK").save(folder / "cmyk.jpg")
  of(np.concatenate([rgb, rgb[..., :1]], -1)).save(folder / "alpha.png")
  of(rgb[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
  of(np.full((5, 7), 99, np.uint8)).save(folder / "plain ü&<.png")
  of(rgb[..., 0]).save(folder / "moving.gif", save_all=True, append_images=[of(rgb[..., 1])])
  (folder / "sub").mkdir()
  of(rgb[:1, :1]).save(folder / "sub" / "pixel.tif")
  (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
  (folder / "notes.txt").write_text("no photograph")
  (folder / "scan.pdf").write_bytes(b"%PDF-1.4")
  (folder / ".hidden").write_text("of the system")
  of(np.full((5, 6, 3), (200, 30, 40), np.uint8)).save(folder / "red.png")
  _deep_colour(folder / "deeper.png", rgb)
  return folder


def _deep_colour(path, rgb):
  """A PNG of RGB with 16 bits, which Pillow reads but does not write."""
  chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
  height, width = rgb.shape[:2]
  rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rgb.astype(np.uint16) * 257)
  head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
  body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
  path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def _turned():
  exif = Image.Exif()
  exif[0x0112] = 6  # as a phone held upright stores it
  return exif


def call(*args):
  return main(["colourise", *map(str, args)])


def test_a_folder_is_coloured_and_a_broken_file_named(run, photos, tmp_path, capsys):
  out = tmp_path / "out"
  assert call(photos, "--workdir", run, "--out", out) == 2
  said = capsys.readouterr()
  assert f"error: {photos / 'broken.png'} is not an image" in said.err
  assert "11 of 12 photographs" in said.out
  assert "2 files of formats that Pillow does not decode left out" in said.err
  assert "is rounded" not in said.err
  made = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
  names = {
    "colour",
    "cmyk",
    "alpha",
    "deep",
    "plain ü&<",
    "moving",
    "red",
    "deeper",
    "sub/pixel",
    "same.png",
    "same.bmp",
  }
  assert made == {f"{name}.png" for name in names} | {"index.html", "report.json"}
  report = json.loads((out / "report.json").read_text())
  by = {p["name"]: p for p in report["photographs"]}
  assert by["colour.jpg"]["size"] == [20, 30]  # upright
  assert np.asarray(Image.open(out / "colour.png")).shape == (30, 20, 3)
  assert by["same.bmp"]["against_its_colours"] is None
  assert by["same.png"]["against_its_colours"]["mae"] > 0
  notes = {name: about["notes"] for name, about in by.items()}
  assert notes["moving.gif"] == ["the first of 2 pictures"]
  assert notes["deep.png"] == ["16 bits, reduced to 8"]
  assert notes["deeper.png"] == ["16 bits, reduced to 8"] and by["deeper.png"]["against_its_colours"]
  assert by["red.png"]["against_its_colours"]["mae_grey"] > 10
  assert notes["cmyk.jpg"] == ["CMYK, converted to RGB"]
  assert notes["alpha.png"] == ["transparent pixels on black"]
  assert [lost["name"] for lost in report["not_done"]] == ["broken.png"]
  page = (out / "index.html").read_text(encoding="utf-8")
  assert "plain ü&amp;&lt;" in page and "plain%20%C3%BC%26%3C.png" in page and "broken.png is not an image" in page


def test_a_photograph_alone_has_the_colours_that_it_has_in_the_folder_and_in_python(run, photos, tmp_path):
  both, alone = tmp_path / "both", tmp_path / "alone"
  call(photos, "--workdir", run, "--out", both)
  assert call(photos / "same.png", "--workdir", run, "--out", alone) == 0
  assert (alone / "same.png").read_bytes() == (both / "same.png.png").read_bytes()
  found = dgm_jax.Colouriser.of_run(run).colourise(photos / "same.png")
  np.testing.assert_array_equal(found.rgb[0], np.asarray(Image.open(alone / "same.png")))


def test_mistakes_get_one_sentence(run, photos, tmp_path, capsys):
  empty, full = tmp_path / "empty", tmp_path / "full"
  empty.mkdir()
  full.mkdir()
  (full / "mine.txt").write_text("mine")
  one = photos / "same.png"
  cases = [
    ([tmp_path / "absent", "--workdir", run, "--out", tmp_path / "o"], "absent does not exist"),
    ([empty, "--workdir", run, "--out", tmp_path / "o"], "empty holds no images"),
    ([photos, "--workdir", run, "--out", photos], "is the folder of the photographs; name another one"),
    ([photos, "--workdir", run, "--out", photos / "out"], "is within"),
    ([one, "--workdir", run, "--out", full], "full has files; --overwrite writes into it"),
    ([one, "--workdir", empty, "--out", tmp_path / "o"], "holds no run"),
    ([one, "--workdir", run, "--out", tmp_path / "o", "--samples", 2], "gives one answer"),
    ([one, "--workdir", run, "--out", tmp_path / "o", "--size", 0], "size = 0; it must be 1 to 4096"),
    ([one, "--workdir", run, "--out", tmp_path / "o", "--checkpoint", 7], "Unknown value of --checkpoint"),
    ([one, "--workdir", run, "--out", tmp_path / "o", "--seed", -1], "--seed=-1; it must be in 0"),
  ]
  for args, sentence in cases:
    assert call(*args) == 2
    err = capsys.readouterr().err
    assert sentence in err and "Traceback" not in err
    assert not (tmp_path / "o" / "index.html").exists()


def test_a_run_of_another_model_is_refused(run, photos, tmp_path, capsys, monkeypatch):
  other = types.SimpleNamespace(model=object(), splits=None)
  monkeypatch.setattr(colouriser.restore, "of_run", lambda *args: (None, other, TrainState(0, {}, None, {}, {})))
  assert call(photos / "same.png", "--workdir", run, "--out", tmp_path / "o") == 2
  assert f"error: {run} is not a colouriser" in capsys.readouterr().err
  assert not (tmp_path / "o").exists()


def test_the_page_has_a_picture_of_every_answer(tmp_path):
  about = {"colourfulness": (1.0, 22.5), "clipped": (0.0, 3.0), "against_its_colours": None, "notes": []}
  results = [pathlib.Path("a_1.png"), pathlib.Path("a_2.png")]
  page.write(tmp_path / "index.html", [page.Entry("a.jpg", b"", None, results, about)], [], "One photograph.")
  text = (tmp_path / "index.html").read_text(encoding="utf-8")
  assert text.count("<figure>") == 3 and 'src="a_1.png"' in text and 'src="a_2.png"' in text
  assert "colourfulness 22.5, 3.0 % clipped" in text


def test_text_that_is_no_image_is_named(run, photos, tmp_path, capsys):
  assert call(photos / "notes.txt", "--workdir", run, "--out", tmp_path / "o") == 2
  assert "notes.txt is not an image that Pillow can decode" in capsys.readouterr().err
  assert not list(tmp_path.glob("o/*"))


def test_overwrite_and_a_rounded_size(run, photos, tmp_path, capsys):
  args = [photos / "same.png", "--workdir", run, "--out", tmp_path, "--overwrite", "--size", 18]
  (tmp_path / "same.png").write_text("old")
  assert call(*args) == 0
  assert "--size=18 is rounded to 16" in capsys.readouterr().err
  assert Image.open(tmp_path / "same.png").size == (30, 20)


def test_formats_that_pillow_cannot_decode_are_no_photographs():
  known = photographs.suffixes()
  assert {".png", ".jpg", ".jpeg", ".tif", ".gif", ".bmp", ".webp", ".mpo"} <= known
  assert not known & {".pdf", ".mpg", ".mpeg", ".h5", ".grib", ".wmf", ".txt"}


def test_names_of_results():
  names = [pathlib.Path(n) for n in ("a/b.jpg", "a/B.png", "c.tar.gif", "b.jpg")]
  found = photographs.outputs(names, 1)
  assert [p.as_posix() for (p,) in found] == ["a/b.jpg.png", "a/B.png.png", "c.tar.png", "b.png"]
  three = photographs.outputs([pathlib.Path(n) for n in ("a.jpg", "a.png", "a.jpg.tif")], 1)
  assert [p.name for (p,) in three] == ["a.jpg.png", "a.png.png", "a.jpg.tif.png"]
  assert [p.name for p in photographs.outputs([pathlib.Path("v1.2.png")], 2)[0]] == ["v1.2_1.png", "v1.2_2.png"]
