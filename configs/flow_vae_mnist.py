"""VAE with a flow as q(z|x), and what inference loses: Cremer, Li & Duvenaud, "Inference Suboptimality in VAEs" (2018).

Paper: https://arxiv.org/abs/1801.03558 (ICML): log p(x), L[q*], L[q] and the gaps between them, on MNIST and
Fashion-MNIST, for a diagonal normal and for a flow.  For the scale of the numbers: test NLL of the diagonal normal on
statically binarised MNIST 88.71 nats (Burda et al., 2016, table 3).

  python -m dgm_jax.main --config=configs/flow_vae_mnist.py --workdir=runs/flow_vae
  python -m dgm_jax.main --config=configs/flow_vae_mnist.py:q=diagonal,quick --workdir=runs/diagonal_vae

The encoder and decoder of Burda et al., 50 latent units; batches of 100, their schedule of 3,280 epochs, the KL warmed
up over 100 of them.  The paper's flow has auxiliary variables; these here do not.

Arguments (after a colon, by commas):
  q=iaf|planar|low_rank|full|diagonal   the family of q(z|x)
  data=NAME       binarized_mnist if not given, binarised once and for all; other data sets of images are thresholded
  quick           3,000 steps of batch 100 on mnist5k, the gaps of 100 images by short chains
  test            seconds: a few steps of a small network on mnist5k

Sweep (scripts/sweep.py): three seeds of a diagonal normal and of a flow.
"""

from ml_collections import ConfigDict

from configs import iwae_mnist
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """The config; `arg` as above."""
  a = parse(
    arg,
    q=("iaf", "planar", "low_rank", "full", "diagonal"),
    data="binarized_mnist",
    quick=False,
    test=False,
  )
  small = "test," if a.test else "quick," if a.quick else ""
  config = iwae_mnist.get_config(f"{small}k=1")
  name = "mnist5k" if small and "data" not in a.given else a.data
  with config.unlocked():
    config.data = data_section(name, () if name == "binarized_mnist" else ("binarize:threshold",))
    config.objective.bound = "elbo"
    config.model.args.posterior = a.q
    config.evaluate.gaps = {
      "log_px": "ais",
      "log_px_options": {"num_temperatures": 10_000, "num_chains": 100, "batch_size": 10},
      "num_examples": 100,
      "own_family": a.q != "diagonal",
    }
    if a.q == "iaf" and a.test:
      config.model.args.posterior_args = {"hidden": 16}
    if not small:
      config.batch_size, config.objective.beta_steps = 100, 100 * 500
    if a.quick:
      config.num_steps, config.objective.beta_steps = 3000, 500
      short = {"num_temperatures": 200, "num_chains": 4, "num_leapfrog": 5, "pilot_chains": 2}
      config.evaluate.gaps.log_px_options = short
      config.evaluate.gaps.update(num_steps=300, num_samples=8, elbo_samples=500)
    if a.test:
      config.evaluate.gaps.log_px_options = {"num_temperatures": 3, "num_chains": 2, "num_leapfrog": 2}
      config.evaluate.gaps.update(num_examples=4, num_steps=3, num_samples=2, elbo_samples=10)
  return config.lock()


def sweep() -> list[dict]:
  """Three seeds of a diagonal normal and of a flow."""
  return product({"arg.q": ["diagonal", "iaf"], "seed": range(3)})
