"""dgm_jax single-cell: the file, the page and the run; the sentences for mistakes, with nothing written."""

import hashlib
import sys

import numpy as np
import pytest

from dgm_jax.__main__ import main
from dgm_jax.applications.single_cell import runs
from dgm_jax.applications.single_cell.command import _outputs, _parser
from dgm_jax.core import errors
from helpers import cell_files as made


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  return made.write_all(tmp_path_factory.mktemp("cells"))


def _quick(monkeypatch):
  make = runs.make_config

  def small(*args):
    config = make(*args)
    with config.unlocked():
      config.evaluate.importance_sampling.num_samples = 10
    return config

  monkeypatch.setattr(runs, "make_config", small)


@pytest.mark.slow
def test_the_command_writes_a_file_a_page_and_a_run(files, tmp_path, monkeypatch, capsys):
  import anndata

  _quick(monkeypatch)
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
  source, out = files["dense"], tmp_path / "out.h5ad"
  before = hashlib.sha256(source.read_bytes()).hexdigest()
  command = ["single-cell", str(source), f"--out={out}", "--batch=donor", "--labels=type", "--num_genes=8"]
  command += ["--epochs=2", "--hidden=8", "--latents=2", "--normalised"]
  monkeypatch.setattr(sys, "orig_argv", ["python", *command])
  assert main(command) == 0
  assert hashlib.sha256(source.read_bytes()).hexdigest() == before
  found = anndata.read_h5ad(out)
  assert found.obsm["X_scVI"].shape == (made.N, 2) and found.obsm["X_normalized"].shape == (made.N, 8)
  np.testing.assert_allclose(found.obsm["X_normalized"].sum(1), 1, rtol=1e-4)
  np.testing.assert_array_equal(found.X, made.counts())
  assert list(found.obs["donor"]) == list(made.obs()["donor"]) and (found.obs["library"] > 0).all()
  page = out.with_suffix(".html").read_text()
  assert page.count("data:image/png;base64,") == 6 and "no density of x" in page
  assert (out.with_suffix(".run") / "results.json").exists()
  capsys.readouterr()
  assert main(command) == 2 and "exists; --overwrite replaces it" in capsys.readouterr().err
  assert main([*command, "--overwrite"]) == 0  # the finished run is not repeated
  loom = tmp_path / "loom.h5ad"
  assert main(["single-cell", str(files["loom"]), f"--out={loom}", "--num_genes=0", "--epochs=1", "--hidden=8"]) == 0
  np.testing.assert_array_equal(anndata.read_h5ad(loom).X.toarray(), made.counts())


def test_a_page_without_its_file_does_not_stop_the_same_command(files, tmp_path):
  """The page is written before OUT: after a kill between the two, the same command continues."""
  (tmp_path / "out.html").write_text("of the call that was stopped")
  args = _parser().parse_args([str(files["dense"]), f"--out={tmp_path / 'out.h5ad'}"])
  assert _outputs(args, files["dense"])[1] == tmp_path / "out.html"


def test_the_input_is_never_the_output_whatever_it_is_called(files, tmp_path):
  (tmp_path / "x").mkdir()
  source = tmp_path / "cells.h5ad"
  source.write_bytes(files["dense"].read_bytes())
  (tmp_path / "link.h5ad").symlink_to(source)
  (tmp_path / "hard.h5ad").hardlink_to(source)
  for name in ("cells.h5ad", "x/../cells.h5ad", "link.h5ad", "hard.h5ad"):
    args = _parser().parse_args([str(source), f"--out={tmp_path / name}", "--overwrite"])
    with pytest.raises(errors.UserError, match="is the input, which is never changed"):
      _outputs(args, source)


WRONG = {
  "suffix": (["--out=out.csv"], "must end in .h5ad"),
  "folder": (["--out=none/out.h5ad"], "its folder does not exist"),
  "batch": (["--out=out.h5ad", "--batch=doner"], "Did you mean 'donor'"),
  "layer": (["--out=out.h5ad", "--layer=raw"], "Unknown layer"),
  "numbers": (["--out=out.h5ad", "--batch=depth"], "holds numbers such as 1.0, not categories"),
  "epochs": (["--out=out.h5ad", "--epochs=-1"], "max_epochs = -1; it must be 1 or more"),
  "no epochs": (["--out=out.h5ad", "--epochs=0"], "max_epochs = 0; it must be 1 or more"),
  "library": (["--out=out.h5ad", "--library=latent", "--size_factor=depth"], "exclude each other"),
  "genes": (["--out=out.h5ad", "--num_genes=-5"], "num_genes = -5"),
  "few": (["--out=out.h5ad"], "needed to train and to test"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_mistakes_get_one_sentence_and_write_nothing(kind, files, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
  options, sentence = WRONG[kind]
  source = files["dense"]
  if kind == "few":
    source = tmp_path / "few.h5ad"
    made.anndata_of(made.counts(n=6), made.obs(6)).write_h5ad(source)
  assert main(["single-cell", str(source), *options]) == 2
  said = capsys.readouterr().err
  assert sentence in said and said.count("\n") == 1 and said.startswith("error: ")
  assert not list(tmp_path.glob("out*")) and not list(tmp_path.rglob("*.npy"))
