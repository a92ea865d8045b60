"""Flow matching on MNIST: Lipman et al., "Flow Matching for Generative Modeling" (ICLR 2023).

Paper: https://arxiv.org/abs/2210.02747; it has no MNIST: CIFAR-10, NLL 2.99 bits per dimension with straight paths.
Here grey levels 0 .. 255 with uniform noise, in [-1, 1]; test/nll and test/bits_per_dim are by the differential
equation on 200 digits (1,000 of a perceptron, whose passes take less time), an estimate (RK4, the trace by
4 probes) of a bound (the noise).

  python -m dgm_jax.main --config=configs/flow_matching_mnist.py --workdir=runs/digits
  python -m dgm_jax.main --config=configs/flow_matching_mnist.py:net=mlp,data=fashion_mnist --workdir=runs/fashion
  python -m dgm_jax.main --config=configs/flow_matching_mnist.py:classes,guidance=2,quick --workdir=runs/given_y

Arguments (after the colon, separated by commas):
  net=unet|mlp    three levels of 32, 64 and 128 channels; or two layers of 512 units
  path=optimal_transport|variance_preserving
  coupling=independent|optimal_transport   of digits and noise in a batch
  classes         p(x|y)
  guidance=W      of draws with classes; 1 if not given, 0 is the model without classes
  data=NAME       mnist if not given; fashion_mnist, mnist5k, or `array` of your own grey images
  minutes=M       of training, at most 40 if not given, for 150 M steps; 0 for 100,000 steps without a limit
  quick           2,000 steps of batches of 64 on mnist5k
  test            seconds: 40 steps of a small network on mnist5k

Sweeps (python -m dgm_jax sweep): learning rates; --name=nets, both networks.
"""

from types import SimpleNamespace

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

_PACE = 150  # steps of the U-Net a minute, for the length of the schedule: two cores do about as many


def continuous(a: SimpleNamespace, transforms: tuple[str, ...]) -> ConfigDict:
  """A model of grey digits with its own bound or loss; config.model is left to the caller.

  Args:
    a: the arguments `data`, `net`, `minutes`, `quick` and `test`.
    transforms: of the data.
  """
  config, name = base.own_bound(a), base.data_name(a)
  config.data = data_section(name, transforms)
  if name in ("mnist", "fashion_mnist"):
    config.data.valid_size = 10_000
  config.evaluate = ConfigDict({
    "means": {"batch_size": 100},
    "probability_flow": {
      "num_examples": 4 if a.test else 1000 if a.net == "mlp" else 200,
      "batch_size": 4 if a.test else 100,
    },
  })  # fmt: skip
  base.measure_samples(config, a.test, "frechet", "kernel", "manifold", num_samples=20 if a.test else 5000)
  config.evaluate.samples.features = {"mnist5k": "mnist", "array": "pixels"}.get(name, name)
  config.optim.update(name="adam", lr=1e-3, schedule="cosine", warmup=0.02, clip_norm=1.0, ema_decay=0.999)
  config.batch_size, config.log_every, config.eval_batch_size = (50, 10, 100) if a.test else (64, 100, 250)
  if not a.test:
    config.num_epochs, config.num_steps = 30, 2000 if a.quick else _PACE * a.minutes or 100_000
    config.eval_every, config.checkpoint_every, config.figures_every = 2000, 1000, 2000
    if a.minutes:
      config.max_minutes = float(a.minutes)
  else:
    config.optim.ema_decay = 0.9
  return config


def network(net: str, test: bool, widths: tuple[int, ...] = (512, 512)) -> dict:
  """The arguments of a network of digits, and of the solvers of log p and of draws."""
  args = {"net": net, "hidden": (8,) if test else widths, "channels": (4, 8) if test else (32, 64, 128)}
  args |= {
    "time_dim": 8 if test else 64,
    "solver": "rk4",
    "solver_steps": 2 if test else 50 if net == "mlp" else 25,
    "num_probes": 2 if test else 4,
  }
  return args


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(
    arg, net=("unet", "mlp"), path=("optimal_transport", "variance_preserving"),
    coupling=("independent", "optimal_transport"), classes=False, guidance=1.0,
    data=base.sets("mnist", "fashion_mnist", "mnist5k"), minutes=40, quick=False, test=False,
  )  # fmt: skip
  config = continuous(a, ("dequantize:levels=256", *(["condition"] if a.classes else [])))
  args = network(a.net, a.test) | {"bounds": (0.0, 1.0), "path": a.path, "coupling": a.coupling}
  args |= {"draw_solver": "heun", "draw_steps": 2 if a.test else 25}
  args |= {"num_classes": 10} if a.classes else {}
  config.model = {"name": "flow_matching", "args": args | {"guidance": a.guidance}}
  return config.lock()


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3]})


def sweep_nets() -> list[dict]:
  """Both networks."""
  return product({"arg.net": ["unet", "mlp"]})
