"""Densities of Fashion-MNIST, and whether they tell MNIST from it: Nalisnick et al. (ICLR 2019).

Paper: https://arxiv.org/abs/1810.09136, "Do Deep Generative Models Know What They Don't Know?": flows, PixelCNNs and
VAEs of Fashion-MNIST give MNIST a lower NLL than their own test set; test/ood_auroc, the chance that a test example has
the higher log p, is then below 1/2.  Grey levels are integers 0 .. 255, and all numbers are log P of these: exact for
the PixelCNN, a bound by noise for flows, a bound by importance sampling for the VAE.

  python -m dgm_jax.main --config=configs/densities_fashion.py --workdir=runs/glow
  python -m dgm_jax.main --config=configs/densities_fashion.py:model=pixelcnn,quick --workdir=runs/pixelcnn
  python -m dgm_jax reproduce nalisnick2019 --table=fashion

Arguments (after the colon, separated by commas):
  model=glow      multi-scale flow, 2 levels of 4 steps; or
                  realnvp, maf   five layers on the flattened image, on the logit scale (0.05 + 0.9 x)
                  pixelcnn       Gated PixelCNN with mixtures of discretised logistics
                  vae            with mixtures of discretised logistics as p(x|z)
  data=NAME       fashion_mnist if not given; mnist, or `array` of your own grey images
  other=NAME      the other data set, mnist if not given, or a file; none with data=array unless it is given
  quick           2,000 steps of small networks
  test            seconds: 40 steps on mnist5k

Sweeps (python -m dgm_jax sweep): learning rates, lanes of one program; --name=models, all models.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

MODELS = ("glow", "realnvp", "maf", "pixelcnn", "vae")
_LEVELS = {"likelihood": "logistic_levels", "likelihood_args": {"num_components": 5, "num_levels": 256}}
_NOISE = ("dequantize:levels=256",)


def _model(kind: str, small: int) -> tuple[str, dict, tuple[str, ...]]:
  """(name, arguments, transforms) of a model; small: 0 for the full size, 1 for quick, 2 for test."""
  if kind == "glow":
    args = {"num_levels": 2, "num_steps": (4, 2, 1)[small], "hidden": (64, 32, 4)[small]}
    return "image_flow", args, _NOISE
  if kind in ("realnvp", "maf"):
    width = (512, 128, 16)[small]
    layer = {"transform": "affine", "hidden": (width, width), "activation": "relu"}
    name = "coupling" if kind == "realnvp" else "autoregressive"
    args = {"layer": name, "num_layers": 2 if small == 2 else 5, "layer_args": layer, "norm": "act"}
    return "flow", args, (*_NOISE, "logit:alpha=0.05")
  if kind == "pixelcnn":
    sizes = {"features": (16, 8, 4)[small], "blocks": (4, 2, 1)[small], "kernel_size": 3, "first_kernel_size": 7}
    return "pixelcnn", {"net": "gated"} | sizes | _LEVELS, ()
  width = (400, 200, 16)[small]
  return "vae", {"latent_dim": 32 if small < 2 else 2, "hidden": (width, width)} | _LEVELS, ()


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, model=MODELS, data="fashion_mnist", other="mnist", quick=False, test=False)
  config = base.default() if a.model == "vae" else base.maximum_likelihood(a)
  name, args, transforms = _model(a.model, 2 if a.test else 1 if a.quick else 0)
  config.data = data_section("mnist5k" if a.test and "data" not in a.given else a.data, transforms)
  config.model = {"name": name, "args": args}
  config.optim.update(name="adam", lr=1e-3, eps=1e-8, schedule="cosine", clip_norm=100.0)
  config.log_every, config.checkpoint_every, config.batch_size, config.eval_batch_size = 100, 0, 100, 200
  config.num_epochs = 20
  if a.test:
    base.shrink(config)
  elif a.quick:
    base.quicken(config, num_steps=2000)
  if a.model == "vae":
    config.evaluate = {"importance_sampling": {"num_samples": 20 if a.test else 500, "batch_size": 20, "chunk": 20}}
  else:
    config.evaluate.exact_likelihood.batch_size = 100
  if a.model in ("glow", "realnvp", "maf"):
    config.evaluate.invertibility = {"num_examples": 20 if a.test else 200, "layers": a.model != "glow"}
  if a.data != "array" or "other" in a.given:
    other = "mnist5k" if a.test and "other" not in a.given else a.other
    options = {"other": other, "num_examples": 50 if a.test else 2000}
    options |= {"num_samples": 20 if a.test else 200} if a.model == "vae" else {}
    config.evaluate.out_of_distribution = options
  return config.lock()


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3]})


def sweep_models() -> list[dict]:
  """All models."""
  return product({"arg.model": list(MODELS)})
