"""VAE with a flow as q(z|x), and its inference gaps: Cremer, Li & Duvenaud, "Inference Suboptimality in VAEs" (2018).

Paper: https://arxiv.org/abs/1801.03558 (ICML): log p(x), L[q*], L[q] and the gaps between them, on MNIST and
Fashion-MNIST, for a diagonal normal and for a flow.  For comparison: the test NLL of the diagonal normal is 88.71 nats
on statically binarised MNIST (Burda et al., 2016, table 3).

  python -m dgm_jax.main --config=configs/flow_vae_mnist.py --workdir=runs/flow_vae
  python -m dgm_jax.main --config=configs/flow_vae_mnist.py:q=diagonal,quick --workdir=runs/diagonal_vae

The encoder and decoder are those of Burda et al. with 50 latent units, as is the schedule of 3,280 epochs; batches of
100, and the KL is warmed up over 100 epochs.  The flow of the paper has auxiliary variables, the flows here do not.

Arguments (after the colon, separated by commas):
  q=iaf|planar|low_rank|full|diagonal   the family of q(z|x); or a flow with a context from the encoder:
                  coupling, spline (couplings), autoregressive (inverse), sylvester, radial
  prior=standard_normal|flow|spline|autoregressive   p(z); flow: RealNVP; the others: of couplings, and MAF
  data=NAME       binarized_mnist if not given, which is binary already; other data sets of images are thresholded
  quick           3,000 steps of batch 100 on mnist5k, the gaps of 100 images by short chains
  test            seconds: a few steps of a small network on mnist5k

Sweep (python -m dgm_jax sweep): three seeds each of a diagonal normal and of a flow.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base, iwae_mnist
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

_SPLINE = {"transform": "spline", "transform_args": {"num_bins": 8, "bound": 5.0}}
_LAYERS = {  # name: (layer, its options)
  "coupling": ("coupling", {}),
  "spline": ("coupling", _SPLINE),
  "autoregressive": ("autoregressive", {}),
  "sylvester": ("sylvester", {"columns": 8}),
  "radial": ("radial", {}),
}


def _flow(name: str, test: bool) -> dict:
  """The options of a flow as posterior or prior."""
  layer, options = _LAYERS[name]
  hidden = {} if layer in ("sylvester", "radial") else {"hidden": (8,) if test else (128, 128)}
  return {"layer": layer, "num_layers": 2 if test else 4, "layer_args": options | hidden}


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  families = ("iaf", "planar", "low_rank", "full", "diagonal", *_LAYERS)
  priors = ("standard_normal", "flow", "spline", "autoregressive")
  a = parse(arg, q=families, prior=priors, data="binarized_mnist", quick=False, test=False)
  name = base.data_name(a)
  config = base.default()
  config.data = data_section(name, base.binarize(name, "threshold"))
  config.model.args.posterior = "flow" if a.q in _LAYERS else a.q
  if a.q in _LAYERS:
    config.model.args.posterior_args = _flow(a.q, a.test)
  if a.prior != "standard_normal":
    config.model.args.prior = "flow"
    config.model.args.prior_args = _flow(a.prior, a.test) if a.prior in _LAYERS else {}
  config.optim.update(iwae_mnist.STAGES)
  config.evaluate.gaps = {
    "log_px": "ais",
    "log_px_options": {"num_temperatures": 10_000, "num_chains": 100, "batch_size": 10},
    "num_examples": 100,
    "own_family": a.q != "diagonal",
  }
  gaps = config.evaluate.gaps
  if a.test:
    base.shrink(config)
    config.model.args.update(latent_dim=8, hidden=(32,))
    if a.q == "iaf":
      config.model.args.posterior_args = {"hidden": 16}
    gaps.log_px_options = {"num_temperatures": 3, "num_chains": 2, "num_leapfrog": 2}
    gaps.update(num_examples=4, num_steps=3, num_samples=2, elbo_samples=10)
  elif a.quick:
    base.quicken(config, num_steps=3000)
    config.optim.update(iwae_mnist.QUICK_STAGES)
    config.objective.beta_steps = 500
    gaps.log_px_options = {"num_temperatures": 200, "num_chains": 4, "num_leapfrog": 5, "pilot_chains": 2}
    gaps.update(num_steps=300, num_samples=8, elbo_samples=500)
  else:
    config.objective.beta_steps = 100 * 500  # 100 epochs of 50,000 images
  return config.lock()


def sweep() -> list[dict]:
  """Three seeds each of a diagonal normal and of a flow."""
  return product({"arg.q": ["diagonal", "iaf"], "seed": range(3)})
