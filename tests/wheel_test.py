"""The wheel: its files, and every command from an empty folder in an environment that has nothing else."""

import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

from helpers import tables

_SOURCES = ("dgm_jax", "configs", "experiments", "LICENSE", "README.md", "pyproject.toml", "setup.cfg")
_BARE = (  # without any extra
  "train --config=iwae_mnist:test --workdir=runs/bare",
  "evaluate --workdir=runs/bare",
)
_TESTED = (  # in this order, in one folder
  "--version",
  "train --config=iwae_mnist:test --workdir=runs/a",
  "train --config=configs/iwae_mnist.py:test --workdir=runs/b --config.seed=1",
  "evaluate --workdir=runs/a",
  "sample --workdir=runs/a --num_samples=4",
  "debug --workdir=runs/a",
  "pack --workdir=runs/a --out=a.dgm",
  "compare runs/a runs/b",
  "sweep --config=iwae_mnist:test --root=runs/sweep --sweep.seed=0:2",
  "sweep-report runs/sweep",
  "sweep --config=cubic_toy:test --root=runs/nets --sweep.seed=0:2",
  "ensemble runs/nets/runs/seed=0 runs/nets/runs/seed=1",
  "impute data.csv --out=imputed.csv --steps=200 --samples=20 --compare=mean",
  "reproduce burda2016 --table=1 --budget=test --cells=vae-1 --root=runs/papers",
  "train --config=hmm_text:test,data=licence --workdir=runs/text",
  "prepare-data --list",
)


def _copy(folder):
  """The sources of the wheel, so that the build leaves nothing in the checkout."""
  for name in _SOURCES:
    source = tables.ROOT / name
    if source.is_dir():
      shutil.copytree(source, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
      shutil.copy(source, folder / name)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
  """The file of the wheel."""
  folder = tmp_path_factory.mktemp("source")
  _copy(folder)
  command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "out", "."]
  done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
  assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
  [path] = (folder / "out").glob("*.whl")
  return path


def test_the_wheel_has_all_modules_and_data(wheel):
  names = set(zipfile.ZipFile(wheel).namelist())
  modules = {p.relative_to(tables.ROOT).as_posix() for p in (tables.ROOT / "dgm_jax").rglob("*.py")}
  for folder in ("configs", "experiments"):
    paths = [p for p in (tables.ROOT / folder).rglob("*") if p.suffix in (".py", ".jinja", ".json", ".md")]
    modules |= {f"dgm_jax/{p.relative_to(tables.ROOT).as_posix()}" for p in paths}
  modules |= {
    p.relative_to(tables.ROOT).as_posix()
    for p in (tables.ROOT / "dgm_jax").rglob("*")
    if p.is_file() and "__pycache__" not in p.parts
  }
  assert modules - names == set()
  assert {n.partition("/")[0] for n in names} == {
    "dgm_jax",
    next(n for n in names if "METADATA" in n).partition("/")[0],
  }


def test_the_licence_is_that_of_the_package():
  assert (tables.ROOT / "dgm_jax" / "data" / "sets" / "licence.txt").read_text() == (
    tables.ROOT / "LICENSE"
  ).read_text()


@pytest.mark.slow
def test_every_command_runs_from_an_empty_folder(wheel, tmp_path):
  subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
  bin, work = tmp_path / "env" / "bin", tmp_path / "work"
  work.mkdir()
  rows = "\n".join(f"{i % 7},{'' if i % 5 == 0 else i * 0.5},{'ab'[i % 2]}" for i in range(60))
  (work / "data.csv").write_text(f"x,y,kind\n{rows}\n")
  env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}

  def run(command):
    done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout

  for what, tested in ((str(wheel), _BARE), (f"{wheel}[data,sweep]", _TESTED)):
    run([bin / "pip", "install", "--quiet", what])
    for words in tested:
      run([bin / "dgm_jax", *words.split()])
    code = "import dgm_jax; print(dgm_jax.load('iwae_mnist5k').sample(2).shape)"
    assert run([bin / "python", "-c", code]).strip() == "(2, 28, 28, 1)"
  names = {p.name for p in pathlib.Path(work).iterdir()} - {"runs", "data.csv", "a.dgm"}
  assert all(name.startswith("imputed") for name in names)
