"""Trains small models of scvi-tools and writes their weights with what they compute, to compare scVI here with them.

  PEER/bin/python scripts/scvi_peer_weights.py OUT.npz        PEER: an environment with scvi-tools 1.4 or newer

It imports nothing of dgm_jax.  For each kind of model: the weights, and of every cell, in float64 and evaluation mode,
q's mean and variance, log p(x|z) at q's mean, KL(z), KL(library); of one kind also get_marginal_ll and its inputs.
"""

import logging
import sys
import warnings

import anndata
import numpy as np
import scvi
import torch

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
_linear = torch.nn.functional.linear
# scvi-tools makes its one-hot vectors float32, whatever the weights are
torch.nn.functional.linear = lambda a, w, b=None: _linear(a.to(w.dtype), w, b)
CELLS, GENES, HIDDEN, LATENT = 90, 12, 8, 2


def data() -> anndata.AnnData:
  """Overdispersed counts in two batches, which differ."""
  rng = np.random.default_rng(0)
  batch = np.arange(CELLS) % 2
  rate = np.exp(rng.normal(size=(CELLS, 2)) @ rng.normal(size=(2, GENES)) * 0.5 + 0.4 * batch[:, None] + 0.5)
  rate *= rng.lognormal(0, 0.4, (CELLS, 1))
  x = rng.poisson(rng.gamma(2.0, rate / 2)).astype(np.float32)
  x[:, 0] += 1
  x[0, 1] = 250
  found = anndata.AnnData(x)
  found.obs["batch"] = [f"b{b}" for b in batch]
  return found


def of_model(likelihood: str, observed: bool, dispersion: str) -> dict[str, np.ndarray]:
  """The weights and values of one kind of model after a few epochs."""
  scvi.settings.seed = 0
  cells = data()
  scvi.model.SCVI.setup_anndata(cells, batch_key="batch")
  model = scvi.model.SCVI(
    cells, n_hidden=HIDDEN, n_latent=LATENT, gene_likelihood=likelihood, use_observed_lib_size=observed,
    dispersion=dispersion,
  )  # fmt: skip
  model.train(max_epochs=8, batch_size=45, accelerator="cpu", enable_progress_bar=False, plan_kwargs={"lr": 1e-2})
  module = model.module.double().eval()
  x = torch.tensor(cells.X, dtype=torch.float64)
  batch = torch.tensor(np.arange(CELLS) % 2)[:, None]
  found = {f"weights/{name}": p.detach().numpy() for name, p in module.state_dict().items()}
  with torch.no_grad():
    inferred = module.inference(x, batch)
    qz, ql = inferred["qz"], inferred["ql"]
    library = inferred["library"] if observed else ql.loc
    generated = module.generative(qz.loc, library, batch)
    normal = torch.distributions
    found["mean"], found["variance"] = qz.loc.numpy(), qz.variance.numpy()
    found["log_px"] = generated["px"].log_prob(x).sum(-1).numpy()
    found["kl_z"] = normal.kl_divergence(qz, normal.Normal(torch.zeros(LATENT), torch.ones(LATENT))).sum(-1).numpy()
    if not observed:
      found["kl_library"] = normal.kl_divergence(ql, generated["pl"]).sum(-1).numpy()
  if likelihood == "zinb" and dispersion == "gene":
    model.module.float()
    values = [model.get_marginal_ll(n_mc_samples=1000, return_mean=False) for _ in range(8)]
    found["marginal"] = np.stack([np.asarray(getattr(v, "numpy", lambda v=v: v)()) for v in values])
  return found


def main() -> None:
  """Writes all kinds to the file that the command line names."""
  cells = data()
  arrays = {"x": np.asarray(cells.X), "batch": np.arange(CELLS) % 2, "version": np.array(scvi.__version__)}
  for likelihood in ("zinb", "nb", "poisson"):
    for observed in (True, False):
      for dispersion in ("gene", "gene-batch"):
        if likelihood == "poisson" and dispersion != "gene":
          continue
        name = f"{likelihood} {'observed' if observed else 'latent'} {dispersion}"
        arrays |= {f"{name}/{k}": v for k, v in of_model(likelihood, observed, dispersion).items()}
  narrow = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in arrays.items()}
  np.savez_compressed(sys.argv[1], **narrow)


if __name__ == "__main__":
  main()
