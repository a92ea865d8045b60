"""dgm_jax.SCVI on made cells: run folder, genes by name, batches, differential expression, and its sentences."""

import numpy as np
import pytest
import scipy.sparse

import dgm_jax
from dgm_jax.applications.single_cell import cells_of, differential, runs
from dgm_jax.core import config_args, errors, files
from dgm_jax.data.sets.cells import Columns
from dgm_jax.principles.latent import latent
from dgm_jax.training import build
from helpers import cell_files as made


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """(model, adata, folder): an epoch on made cells."""
  adata = made.anndata_of(made.counts())
  adata.X = scipy.sparse.csr_matrix(adata.X)
  model = dgm_jax.SCVI(adata, batch_key="donor", labels_key="type", n_hidden=8, n_latent=2)
  folder = tmp_path_factory.mktemp("scvi") / "run"
  with pytest.MonkeyPatch.context() as patch:
    make = runs.make_config

    def small(*args):
      config = make(*args)
      with config.unlocked():
        config.evaluate.importance_sampling.num_samples = 10
      return config

    patch.setattr(runs, "make_config", small)
    model.train(2, batch_size=27, workdir=folder)
  return model, adata, folder


def test_a_saved_model_is_a_run_and_gives_the_same(trained):
  model, _, folder = trained
  z = model.get_latent_representation()
  assert z.shape == (made.N, 2)
  again = dgm_jax.SCVI.load(folder)
  np.testing.assert_array_equal(again.get_latent_representation(), z)
  assert not list(folder.rglob("*.pkl"))
  run = dgm_jax.load(folder)
  x = {"x": made.counts()[:3], "batch": np.arange(3) % 2}
  np.testing.assert_allclose(run.encode(x), z[:3], rtol=1e-4, atol=1e-5)


def test_cells_in_another_order_of_genes_and_kind_of_matrix_have_the_same_latents(trained):
  model, adata, _ = trained
  order = np.random.default_rng(0).permutation(made.G)
  some = np.random.default_rng(1).permutation(made.N)[:20]
  z = model.get_latent_representation()
  moved = adata[some][:, order].copy()
  np.testing.assert_allclose(model.get_latent_representation(moved), z[some], atol=1e-5)
  moved.X = moved.X.toarray()
  np.testing.assert_allclose(model.get_latent_representation(moved), z[some], atol=1e-5)


def test_expression_is_of_frequencies_and_of_the_asked_batch(trained):
  model, _, _ = trained
  rho = model.get_normalized_expression(n_samples=2)
  np.testing.assert_allclose(rho.sum(1), 1, rtol=1e-5)
  by_batch = [model.get_normalized_expression(transform_batch=b, return_numpy=True) for b in ("d0", "d1")]
  own = model.get_normalized_expression(return_numpy=True)
  odd = np.arange(made.N) % 2 == 1
  np.testing.assert_allclose(np.where(odd[:, None], by_batch[1], by_batch[0]), own, rtol=1e-4)
  assert abs(by_batch[0] - by_batch[1]).max() > 1e-4
  several = model.get_normalized_expression(transform_batch=["d0", "d1"], gene_list=["gene3"])
  np.testing.assert_allclose(several["gene3"], (by_batch[0] + by_batch[1])[:, 3] / 2, rtol=1e-4)
  scaled = model.get_normalized_expression(library_size="latent", return_numpy=True)
  np.testing.assert_allclose(scaled.sum(1), made.counts().sum(1), rtol=1e-4)


def test_frames_have_the_names_of_the_cells(trained):
  model, adata, folder = trained
  held = adata.copy()
  held.obsm["rho"] = model.get_normalized_expression()
  assert list(model.get_normalized_expression(indices=[3, -1]).index) == ["cell3", f"cell{made.N - 1}"]
  assert list(model.get_normalized_expression(adata[[7, 2]].copy()).index) == ["cell7", "cell2"]
  assert list(dgm_jax.SCVI.load(folder).get_normalized_expression(gene_list=["gene1"]).index) == list(adata.obs_names)


def test_log_p_has_its_error_and_effective_sample_size(trained):
  model, adata, _ = trained
  each = model.get_marginal_ll(n_mc_samples=20, return_mean=False, return_ess=True)
  assert list(each.index) == list(adata.obs_names) and (each["ess"] >= 1).all() and (each["ess"] <= 20).all()
  np.testing.assert_array_equal(each["log_px"], model.get_marginal_ll(n_mc_samples=20, return_mean=False))
  found = model.get_marginal_ll(n_mc_samples=20, return_ess=True)
  np.testing.assert_allclose(found["log_px_stderr"], each["log_px"].std(ddof=1) / np.sqrt(made.N), rtol=1e-5)
  assert found["ess_min"] == pytest.approx(each["ess"].min())
  assert found["log_px"] == pytest.approx(model.get_marginal_ll(n_mc_samples=20))


def test_sparse_and_dense_counts_give_the_same_file_of_the_run_to_the_bit(tmp_path):
  """Training sees this file alone."""
  x, found = made.counts(), []
  explicit = scipy.sparse.csr_matrix(np.ones_like(x, dtype=np.float32))
  explicit.data = x.ravel().astype(np.float32)  # with zeros that are stored
  for i, matrix in enumerate((x.astype("f"), scipy.sparse.csr_matrix(x), scipy.sparse.csc_matrix(x), explicit)):
    adata = made.anndata_of(x)
    adata.X = matrix
    path = tmp_path / f"{i}.npz"
    cells_of.store(path, cells_of.of_anndata(adata), Columns("donor", "type"))
    found.append(files.load_arrays(path))
  for other in found[1:]:
    assert other.keys() == found[0].keys()
    for name, array in found[0].items():
      assert array.dtype == other[name].dtype
      np.testing.assert_array_equal(array, other[name])


def test_a_new_cell_gets_the_same_numbers_among_other_cells(trained):
  model, adata, _ = trained
  alone = model.get_marginal_ll(adata[:1].copy(), n_mc_samples=20, return_mean=False)
  assert np.isfinite(alone).all()
  np.testing.assert_allclose(
    model.get_latent_representation(adata[:1].copy()), model.get_latent_representation(adata)[:1], atol=1e-5
  )


def test_differential_expression_gives_a_row_for_each_gene(trained):
  model, _, _ = trained
  table = model.differential_expression(groupby="type", group1="alpha", group2="beta", n_samples=64)
  assert set(table.index) == {f"gene{j}" for j in range(made.G)}
  np.testing.assert_allclose(table["proba_de"] + table["proba_not_de"], 1)
  x, kind = made.counts(), np.arange(made.N) % 3
  np.testing.assert_allclose(table.loc["gene2", "raw_mean1"], x[kind == 0, 2].mean())
  vanilla = model.differential_expression(
    groupby="type", group1="alpha", mode="vanilla", batch_correction=True, n_samples=64
  )
  np.testing.assert_allclose(vanilla["proba_m1"] + vanilla["proba_m2"], 1)


WRONG = {
  "gene": (lambda m, a: m.get_latent_representation(a[:, :5].copy()), "lacks gene 'gene5'"),
  "batch": (lambda m, a: m.get_latent_representation(_other_batch(a)), "has 'new', which the model has not seen"),
  "transform": (lambda m, a: m.get_normalized_expression(transform_batch="d7"), "Unknown batch 'd7'"),
  "mode": (lambda m, a: m.differential_expression(groupby="type", group1="alpha", mode="old"), "Unknown mode 'old'"),
  "group": (lambda m, a: m.differential_expression(groupby="type", group1="gamma"), "Unknown group of 'type' 'gamma'"),
  "likelihood": (lambda m, a: dgm_jax.SCVI(a, gene_likelihood="normal"), "Unknown gene_likelihood 'normal'"),
  "layer": (lambda m, a: dgm_jax.SCVI(a, layer="raw"), "Unknown layer of adata 'raw'"),
  "untrained": (lambda m, a: dgm_jax.SCVI(a).get_latent_representation(), "not trained yet"),
  "no epochs": (lambda m, a: dgm_jax.SCVI(a).train(0), "max_epochs = 0; it must be 1 or more"),
  "no batch": (lambda m, a: dgm_jax.SCVI(a).train(1, batch_size=0), "batch_size = 0; it must be 1 or more"),
  "number": (lambda m, a: m.differential_expression(groupby="type", group1=3), "Unknown group of 'type' '3'"),
  "no cells": (lambda m, a: m.differential_expression(idx1=[]), "idx1 has no cells"),
  "all cells": (lambda m, a: m.differential_expression(idx1=np.ones(made.N, bool)), "idx2 has no cells"),
  "far": (lambda m, a: m.differential_expression(idx1=[0, 600]), r"idx1 has \[600\], and there are 60 cells"),
  "mask": (lambda m, a: m.differential_expression(idx1=np.ones(3, bool)), "a mask of shape .3,.; there are 60"),
  "indices": (lambda m, a: m.get_latent_representation(indices=[-61]), r"indices has \[-61\]"),
  "library": (lambda m, a: m.get_normalized_expression(library_size="sum"), "must be a number or 'latent'"),
  "factor": (lambda m, a: dgm_jax.SCVI(a, size_factor_key="type").train(1), "column 'type' holds texts"),
  "size": (lambda m, a: dgm_jax.SCVI(a).train(1, train_size=1.5), "train_size = 1.5"),
}


def _other_batch(adata):
  moved = adata.copy()
  moved.obs["donor"] = ["new"] * made.N
  return moved


@pytest.mark.parametrize("kind", WRONG)
def test_mistakes_get_one_sentence(kind, trained):
  call, sentence = WRONG[kind]
  with pytest.raises(errors.UserError, match=sentence) as raised:
    call(trained[0], trained[1])
  assert "\n" not in str(raised.value)


def test_setup_anndata_notes_the_keys():
  adata = made.anndata_of(made.counts())
  dgm_jax.SCVI.setup_anndata(adata, batch_key="donor", labels_key="type")
  assert dgm_jax.SCVI(adata).columns.batch == "donor"
  with pytest.raises(errors.UserError, match=r"Unknown key of setup_anndata 'batch'\. Did you mean 'batch_key'"):
    dgm_jax.SCVI.setup_anndata(adata, batch="donor")


def test_keys_survive_an_h5ad_and_a_single_name_is_one_column(tmp_path):
  import anndata

  adata = made.anndata_of(made.counts())
  dgm_jax.SCVI.setup_anndata(adata, categorical_covariate_keys=["donor", "lane"], continuous_covariate_keys="age")
  adata.write_h5ad(tmp_path / "cells.h5ad")
  columns = dgm_jax.SCVI(anndata.read_h5ad(tmp_path / "cells.h5ad")).columns
  assert columns.categorical == ("donor", "lane") and columns.continuous == ("age",)


def test_a_mask_of_cells_is_their_indices(trained):
  model, _, _ = trained
  mask = np.arange(made.N) % 3 == 0
  one, other = (model.differential_expression(idx1=i, n_samples=32) for i in (mask, np.flatnonzero(mask)))
  np.testing.assert_allclose(one.to_numpy(float), other.loc[one.index].to_numpy(float), rtol=1e-4, atol=1e-6)
  z = model.get_latent_representation
  np.testing.assert_allclose(z(indices=mask), z()[mask], rtol=1e-4, atol=1e-6)


def test_called_genes_have_the_expected_share_of_false_ones():
  p = np.array([0.99, 0.2, 0.97, 0.9, 0.5])
  assert differential.called(p, 0.05).tolist() == [True, False, True, True, False]  # means 0.01, 0.02, 0.047, 0.16
  assert differential.called(p, 0.03).tolist() == [True, False, True, False, False]


def test_pairs_of_the_same_batch_weigh_batches_alike():
  batch = np.array([0, 0, 0, 1, 1, 0, 1])
  groups = (np.array([0, 1, 3]), np.array([2, 4, 5, 6]))
  found = differential.group_pairs(groups, batch, 1000, 0)
  assert [(b, len(a), len(c)) for b, a, c in found] == [(0, 500, 500), (1, 500, 500)]
  for b, first, second in found:
    assert (batch[first] == b).all() and (batch[second] == b).all()
  with pytest.raises(errors.UserError, match="no batch has cells of both groups"):
    differential.group_pairs((np.array([0]), np.array([3])), batch, 10, 0)


def test_the_weight_of_the_kl_is_full_from_half_of_the_run_on():
  found = runs.schedule(1000, 0.1, 100, 60, None)
  assert found == {"num_steps": 540, "beta_steps": 270, "log_every": 9, "batch_size": 100}
  long = runs.schedule(200_000, 0.1, 128, None, None)  # 40 epochs: a warm-up of 400 would never end
  assert long["beta_steps"] == long["num_steps"] / 2


@pytest.mark.parametrize("epochs", [2, 6])
def test_the_warm_up_of_the_configs_follows_the_length_of_the_run(epochs, monkeypatch):
  config = config_args.load("scvi_simulated:test")
  with config.unlocked():
    config.num_steps, config.num_epochs, config.batch_size = None, epochs, 400
  found = []
  monkeypatch.setattr(latent, "with_steps", lambda o, n: found.append((o.beta_steps, n)) or o._replace(beta_steps=n))
  build.build(config)
  assert found[0] == (-1, epochs * (1600 // 400))
  assert config_args.load("scvi_cells:data=array").objective.beta_steps == -1
