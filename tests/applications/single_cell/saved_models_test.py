"""Copies and reading of trained models of cells: nothing is lost, and the layer with the counts is remembered."""

import numpy as np
import pytest

import dgm_jax
from dgm_jax.applications.single_cell import runs
from dgm_jax.core import errors
from helpers import cell_files as made


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """(model, adata): an epoch on counts in a layer, whose X is normalised."""
  adata = made.anndata_of(made.counts())
  adata.layers["counts"] = adata.X.copy()
  adata.X = adata.X / 3
  model = dgm_jax.SCVI(adata, layer="counts", batch_key="donor", n_hidden=8, n_latent=2, linear=True)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(runs, "make_config", made.quick(runs.make_config))
    model.train(1, batch_size=27, workdir=tmp_path_factory.mktemp("models") / "run")
  return model, adata


@pytest.mark.slow
def test_saving_a_model_never_removes_it(trained, tmp_path):
  model, _ = trained
  z = model.get_latent_representation()
  model.save(tmp_path / "copy")
  copy = dgm_jax.SCVI.load(tmp_path / "copy")
  np.testing.assert_array_equal(copy.get_latent_representation(), z)
  for place in (tmp_path / "copy", tmp_path, tmp_path / "copy" / "within"):
    with pytest.raises(errors.UserError, match="is the model's own folder"):
      copy.save(place, overwrite=True)
  with pytest.raises(errors.UserError, match="overwrite=True replaces it"):
    model.save(tmp_path / "copy")
  (tmp_path / "notes").mkdir()
  (tmp_path / "notes" / "thesis.txt").write_text("years")
  with pytest.raises(errors.UserError, match=r"not a model's \(it has no config.json\)"):
    model.save(tmp_path / "notes", overwrite=True)
  (tmp_path / "copy" / "old.txt").write_text("of the old one")
  model.save(tmp_path / "copy", overwrite=True)
  np.testing.assert_array_equal(dgm_jax.SCVI.load(tmp_path / "copy").get_latent_representation(), z)
  assert not (tmp_path / "copy" / "old.txt").exists()
  assert (
    sorted(p.name for p in tmp_path.iterdir()) == ["copy", "notes"] and (tmp_path / "notes" / "thesis.txt").exists()
  )


def test_a_copy_that_fails_leaves_the_old_one(trained, tmp_path, monkeypatch):
  model, _ = trained
  model.save(tmp_path / "copy")

  def full(*args):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(runs.shutil, "copytree", full)
  with pytest.raises(OSError, match="No space"):
    model.save(tmp_path / "copy", overwrite=True)
  assert [p.name for p in tmp_path.iterdir()] == ["copy"]
  dgm_jax.SCVI.load(tmp_path / "copy")


def test_the_layer_with_the_counts_is_remembered(trained):
  model, adata = trained
  z = model.get_latent_representation()
  again = dgm_jax.SCVI.load(model.workdir)
  assert again.layer == "counts"
  np.testing.assert_allclose(again.get_latent_representation(adata[:5].copy()), z[:5], atol=1e-5)  # X is normalised
  some = dgm_jax.SCVI.load(model.workdir, adata[3:9].copy())
  np.testing.assert_allclose(some.get_latent_representation(), z[3:9], atol=1e-5)
  with pytest.raises(errors.UserError, match="was loaded, and is trained"):
    again.train(1)
