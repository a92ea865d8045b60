"""Flows and autoregressive nets on points of the plane, whose density is known (Papamakarios et al., 2021).

Paper: https://arxiv.org/abs/1912.02762, "Normalizing Flows for Probabilistic Modeling and Inference" (JMLR 2021); the
planes are those of several papers, which print pictures and no numbers.  KL(data || model) is the NLL, test/nll, minus
the entropy of the plane, which dgm_jax/data/sets/plane.py knows: python -m dgm_jax reproduce gallery.  The integral of
p(x) on a grid, test/normalisation, is 1 where log p(x) is right and p has no part finer than the grid.

  python -m dgm_jax.main --config=configs/flow_plane.py --workdir=runs/moons
  python -m dgm_jax.main --config=configs/flow_plane.py:net=maf,data=plane/eight_gaussians --workdir=runs/eight
  python -m dgm_jax.main --config=configs/flow_plane.py:net=residual,data=plane/pinwheel,quick --workdir=runs/pinwheel
  python -m dgm_jax.main --config=configs/flow_plane.py:net=maf,energy=U1,quick --workdir=runs/energy

Arguments (after the colon, separated by commas):
  data=NAME       plane/moons if not given; another plane, or `array` of your own numbers; standardised
  net=NAME        spline_coupling if not given, or
                  coupling     affine coupling with LU-decomposed linear maps (RealNVP)
                  additive     additive coupling (NICE)
                  mixture_coupling   mixtures of logistics (Flow++)
                  maf          affine autoregressive
                  spline_autoregressive, mixture_autoregressive
                  radial       contractions and expansions around points
                  residual     x + g(x) with contractions g
                  flows        a mixture of four flows of affine couplings
                  made         MADE with mixtures of ten normals as conditionals: no flow
                  planar, sylvester   with energy= alone: they have no inverse
                  flow_matching, ffjord   continuous flows: the configs flow_matching_plane and ffjord_plane
  energy=none|U1|U2|U3|U4   not of data: fits exp(-U), one of the four energies of Rezende & Mohamed (2015), by the
                  reverse KL, test/kl in nats; the points of the plane only count the draws of a step
  layers=T        6 if not given; 24 radial or planar ones
  hidden=H        units of each of two hidden layers, 64 if not given
  quick           4,000 steps
  test            seconds: 40 steps of a small network

Sweeps (python -m dgm_jax sweep): learning rates, lanes of one program; --name=nets, all nets.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base, ffjord_plane, flow_matching_plane
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.distributions.energies import ENERGIES
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

_PLANES = ("moons", "circles", "eight_gaussians", "ring", "grid", "checkerboard", "pinwheel", "spirals")
_SETS = base.sets(*(f"plane/{name}" for name in (*_PLANES, "swiss_roll", "sine")))
_TRANSFORMS = {  # net: (layer, its transform, options of the transform)
  "spline_coupling": ("coupling", "spline", {"num_bins": 8, "bound": 4.0}),
  "coupling": ("coupling", "affine", {}),
  "additive": ("coupling", "additive", {}),
  "mixture_coupling": ("coupling", "logistic_mixture", {"num_components": 8}),
  "maf": ("autoregressive", "affine", {}),
  "spline_autoregressive": ("autoregressive", "spline", {"num_bins": 8, "bound": 4.0}),
  "mixture_autoregressive": ("autoregressive", "logistic_mixture", {"num_components": 8}),
}
NETS = (*_TRANSFORMS, "radial", "residual", "flows", "made")
_WITHOUT_INVERSE = ("planar", "sylvester")
CONTINUOUS = {"flow_matching": flow_matching_plane, "ffjord": ffjord_plane}


def _layers(net: str, hidden: tuple[int, int], layers: int) -> dict:
  """The options of a flow of layers."""
  if net in _TRANSFORMS:
    layer, transform, options = _TRANSFORMS[net]
    args = {"transform": transform, "hidden": hidden, "activation": "relu"}
    args |= {"transform_args": options} if options else {}
    return {"layer": layer, "num_layers": layers, "layer_args": args, "permutation": "lu"}
  args = {"hidden": hidden} if net == "residual" else {}
  return {"layer": net, "num_layers": layers, "layer_args": args, "permutation": "none", "norm": "act"}


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(
    arg, data=_SETS, net=(*NETS, *_WITHOUT_INVERSE, *CONTINUOUS), energy=("none", *ENERGIES), layers=6, hidden=64,
    quick=False, test=False,
  )  # fmt: skip
  of_energy = a.energy != "none"
  errors.require(
    of_energy or a.net not in _WITHOUT_INVERSE,
    f"net={a.net} has no log p of data: add energy=U1, or choose another net.",
  )
  errors.require(
    not of_energy or a.net not in ("flows", "made", "residual", *CONTINUOUS),
    f"net={a.net} is not fitted to an energy: choose a flow whose forward direction gives log q of its draws.",
  )
  if a.net in CONTINUOUS:
    return CONTINUOUS[a.net].get_config(",".join([f"data={a.data}", *["quick"] * a.quick, *["test"] * a.test]))
  config = base.maximum_likelihood(a)
  config.data = data_section(a.data, () if of_energy else ("standardize",))
  if a.test and a.data != "array":
    config.data.update(train_size=1000, valid_size=200, test_size=200)
  hidden = (8, 8) if a.test else (a.hidden, a.hidden)
  layers = 24 if a.net in ("radial", "planar") and "layers" not in a.given else a.layers
  layers = min(layers, 2) if a.test else layers
  if of_energy:
    args = {name: value for name, value in _layers(a.net, hidden, layers).items() if name != "norm"}
    config.principle, config.evaluate = "own_bound", ConfigDict({"means": {"batch_size": 500}})
    config.model = {"name": "energy_flow", "args": args | {"energy": a.energy, "base": "learned"}}
  elif a.net == "made":
    args = {"likelihood": "gaussian_mixture", "likelihood_args": {"num_components": 10}, "activation": "relu"}
    config.model = {"name": "made", "args": args | {"direct": False, "hidden": hidden}}
  elif a.net == "flows":
    config.model = {"name": "flow_mixture", "args": {"flow": _layers("coupling", hidden, layers), "num_components": 4}}
  else:
    config.model = {"name": "residual_flow" if a.net == "residual" else "flow", "args": _layers(a.net, hidden, layers)}
    config.evaluate.invertibility = {"num_examples": 20 if a.test else 1000, "layers": True}
  if not of_energy and a.data != "array":
    config.evaluate.normalisation = {"num_points": 100 if a.test else 1000, "radius": 8.0}  # a grid of these squared
    config.evaluate.plane_figure = {"bins": 20 if a.test else 120}
  config.optim.update(name="adam", lr=1e-3, schedule="cosine", clip_norm=5.0)
  if not a.test:
    config.batch_size, config.num_steps = 512, 4000 if a.quick else 20_000
    config.log_every, config.eval_batch_size = 500, 2500
    config.checkpoint_every = config.eval_every = config.num_steps // 4
  return config.lock()


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3]})


def sweep_nets() -> list[dict]:
  """All nets."""
  return product({"arg.net": list(NETS)})
