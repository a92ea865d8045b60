"""Variational diffusion on MNIST: Kingma, Salimans, Poole & Ho, "Variational Diffusion Models" (NeurIPS 2021).

Paper: https://arxiv.org/abs/2107.00630; it has no MNIST: CIFAR-10, NLL at most 2.65 bits per dimension.  Here grey
levels 0 .. 255: test/elbo bounds log P(x) in continuous time; test/log_px and test/nll are of the differential
equation, another density, on 200 digits (1,000 of a perceptron): an estimate (RK4, the trace by 4 probes) of a bound
(the noise).

  python -m dgm_jax.main --config=configs/vdm_mnist.py --workdir=runs/vdm
  python -m dgm_jax.main --config=configs/vdm_mnist.py:schedule=linear,net=mlp --workdir=runs/fixed_schedule
  python -m dgm_jax.main --config=configs/vdm_mnist.py:classes,guidance=2,quick --workdir=runs/given_y

Arguments (after the colon, separated by commas):
  net=unet|mlp    three levels of 32, 64 and 128 channels; or two layers of 1,024 units
  schedule=learned|linear   of the log-SNR
  prediction=v|noise|x      what the network predicts
  steps=T         of the bound; 0 if not given: continuous time
  classes         p(x|y)
  guidance=W      of draws with classes; 1 if not given, 0 is the model without classes
  data=NAME       mnist if not given; fashion_mnist, mnist5k, or `array` of your own grey images
  minutes=M       of training, at most 120 if not given, for 150 M steps; 0 for 100,000 steps without a limit
  quick           2,000 steps of batches of 64 on mnist5k
  test            seconds: 40 steps of a small network on mnist5k

Sweeps (python -m dgm_jax sweep): learning rates; --name=schedules, both schedules.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base, flow_matching_mnist
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(
    arg, net=("unet", "mlp"), schedule=("learned", "linear"), prediction=("v", "noise", "x"), steps=0, classes=False,
    guidance=1.0, data=base.sets("mnist", "fashion_mnist", "mnist5k"), minutes=120, quick=False, test=False,
  )  # fmt: skip
  config = flow_matching_mnist.continuous(a, ("condition",) if a.classes else ())
  args = flow_matching_mnist.network(a.net, a.test, (1024, 1024)) | {"num_levels": 256, "schedule": a.schedule}
  args |= {"prediction": a.prediction, "num_steps": a.steps, "draw_steps": 5 if a.test else 100}
  args |= {"num_classes": 10} if a.classes else {}
  config.model = {"name": "variational_diffusion", "args": args | {"guidance": a.guidance}}
  return config.lock()


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3]})


def sweep_schedules() -> list[dict]:
  """Both schedules."""
  return product({"arg.schedule": ["linear", "learned"]})
