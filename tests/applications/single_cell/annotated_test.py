"""dgm_jax.SCANVI on made cells: options that it lacks, networks of an SCVI to start from, and predictions."""

import pytest

import dgm_jax
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
