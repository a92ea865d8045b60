"""dgm_jax.SCANVI on made cells: options that it lacks, networks of an SCVI to start from, and predictions."""

import jax
import numpy as np
import pytest

import dgm_jax
from dgm_jax.applications.single_cell import runs
from dgm_jax.core import config_args, errors
from helpers import cell_files as made

KEYS = {"labels_key": "type", "unlabeled_category": "unknown", "batch_key": "donor", "n_hidden": 8, "n_latent": 2}


def scanvi(adata=None, **options):
  return dgm_jax.SCANVI(adata if adata is not None else made.anndata_of(made.counts()), **(KEYS | options))


WRONG = {
  "samples": (lambda: scanvi().train(1, num_samples=5), "num_samples = 5; the bound of SCANVI has one sample"),
  "warm_up": (lambda: scanvi().train(1, n_epochs_kl_warmup=3), "SCANVI has no warm-up"),
  "both": (
    lambda: dgm_jax.SCVI(made.anndata_of(made.counts())).train(1, num_samples=2, n_epochs_kl_warmup=1),
    "leave out one of them",
  ),
  "config": (lambda: config_args.load("scvi_cells:model=scanvi,k=5"), "the bound of scanvi has one sample"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_options_without_effect_are_refused(kind):
  call, sentence = WRONG[kind]
  with pytest.raises(errors.UserError, match=sentence):
    call()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
  """A linear SCVI after an epoch."""
  model = dgm_jax.SCVI(made.anndata_of(made.counts()), **KEYS, linear=True)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(runs, "make_config", made.quick(runs.make_config))
    model.train(1, batch_size=27, workdir=tmp_path_factory.mktemp("base") / "run")
  return model


@pytest.mark.slow
def test_init_from_takes_every_network_and_refuses_other_genes(base):
  adata = made.anndata_of(made.counts())
  assert dgm_jax.SCANVI(adata, init_from=base).options["linear"] is True
  order = np.random.default_rng(0).permutation(made.G)
  with pytest.raises(errors.UserError, match=r"other genes, or in another order: number 1 is 'gene0' there"):
    dgm_jax.SCANVI(adata[:, order].copy(), init_from=base)
  moved = adata.copy()
  moved.obs["donor"] = [f"c{i % 2}" for i in range(made.N)]
  with pytest.raises(errors.UserError, match=r"other batches.*number 1 is 'd0' there, and 'c0' in adata"):
    dgm_jax.SCANVI(moved, init_from=base)
  with pytest.raises(errors.UserError, match="init_from has latent_dim = 2, and this model 3"):
    dgm_jax.SCANVI(adata, init_from=base, n_latent=3)


@pytest.mark.slow
def test_a_trained_scanvi_starts_from_the_scvi_and_predicts_types(base, tmp_path):
  adata = made.anndata_of(made.counts())
  model = dgm_jax.SCANVI(adata, init_from=base)
  model.train(1, batch_size=27, lr=1e-6, workdir=tmp_path / "run")
  old, new = base.fitted.state.params, model.fitted.state.params
  for name in ("encoder", "scale_head", "log_dispersion"):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), old[name], new[name])
  soft = model.predict(soft=True)
  np.testing.assert_allclose(soft.sum(1), 1, rtol=1e-5)
  assert list(soft.columns) == ["alpha", "beta"] and list(soft.index) == list(adata.obs_names)
  assert list(model.predict()) == list(soft.columns[soft.to_numpy().argmax(1)])
  np.testing.assert_array_equal(model.predict(adata[:5].copy()), model.predict()[:5])
  values = model.get_marginal_ll(indices=[0, 1], n_mc_samples=20, return_mean=False)
  assert np.isfinite(values).all()
