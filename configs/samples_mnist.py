"""Two GANs, a VAE and a diffusion model of grey digits, whose samples are measured alike.

Paper: https://arxiv.org/abs/1711.10337 (Lucic et al., "Are GANs Created Equal?", NeurIPS 2018) compares GANs and a VAE
in this way, by other networks and features: no number is comparable.  The models have no NLL in common: a GAN has none.

  python -m dgm_jax.main --config=configs/samples_mnist.py:model=gan --workdir=runs/gan
  python -m dgm_jax.main --config=configs/samples_mnist.py:model=vae --workdir=runs/vae
  python -m dgm_jax compare runs/gan runs/vae

Arguments (after the colon, separated by commas):
  model=gan        the adversarial nets of 2014, see configs/goodfellow_mnist.py
  model=dcgan      convolutional nets, see configs/dcgan_mnist.py
  model=vae        50 latent variables, two layers of 200 units, p(x|z) a product of continuous Bernoullis, Adam 1e-3
  model=diffusion  100 steps, two layers of 1,024 units, 256 levels, see configs/diffusion_mnist.py
  data=NAME        mnist if not given; fashion_mnist, mnist5k, or `array` of your own grey images or binary numbers
  epochs=N         25 if not given, of 50,000 digits in batches of 100
  quick            4,000 steps on mnist5k
  test             seconds: a few steps of small networks on mnist5k

Measured are 10,000 samples x against the test digits, by the features of the data's own small classifier (of `array`,
by x itself): Frechet and kernel distance, precision to coverage, memorisation and Parzen windows; beside each number
stands that of training digits.

Sweeps (python -m dgm_jax sweep): the models.
"""

from types import SimpleNamespace

from ml_collections import ConfigDict

from dgm_jax.configs import base, dcgan_mnist, goodfellow_mnist
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

_METRICS = ("frechet", "kernel", "manifold", "memorisation", "parzen")
_FEATURES = {"mnist": "mnist", "mnist5k": "mnist", "fashion_mnist": "fashion_mnist"}


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  names = base.sets("mnist", "mnist5k", "fashion_mnist")
  a = parse(arg, model=tuple(_MODELS), data=names, epochs=25, quick=False, test=False)
  config, name = _MODELS[a.model](a), base.data_name(a)
  config.data = data_section(name, ("scale",))
  if name in ("mnist", "fashion_mnist"):
    config.data.valid_size = 10_000
  config.evaluate = ConfigDict({"means": {"batch_size": 500}})
  base.measure_samples(config, a.test, *_METRICS)
  config.evaluate.samples.features = _FEATURES.get(name, "pixels")
  if not (a.test or a.quick):
    config.batch_size, config.num_epochs, config.log_every, config.checkpoint_every = 100, a.epochs, 500, 5000
  return config.lock()


def _gan(a: SimpleNamespace) -> ConfigDict:
  config = goodfellow_mnist.goodfellow2014(SimpleNamespace(**vars(a), order="simultaneous"))
  config.model.args.output = "sigmoid"
  return config


def _dcgan(a: SimpleNamespace) -> ConfigDict:
  size = ",test" if a.test else ",quick" if a.quick else ""
  config = dcgan_mnist.get_config(
    f"data={a.data if a.data in ('mnist', 'mnist5k', 'fashion_mnist') else 'mnist'}{size}"
  )
  return config.unlock()


def _vae(a: SimpleNamespace) -> ConfigDict:
  config = base.default()
  hidden = (32, 32) if a.test else (200, 200)
  config.model = {"name": "vae", "args": {"latent_dim": 50, "hidden": hidden, "likelihood": "continuous_bernoulli"}}
  config.optim.lr = 1e-3
  if a.test:
    base.shrink(config)
  elif a.quick:
    base.quicken(config, num_steps=4000)
  return config


def _diffusion(a: SimpleNamespace) -> ConfigDict:
  config = base.own_bound(a)
  args = {"num_steps": 20, "hidden": (32,)} if a.test else {"num_steps": 100, "hidden": (1024, 1024)}
  args |= {"schedule": "cosine", "objective": "simple", "decoder": "discretised", "num_levels": 256}
  config.model = {"name": "diffusion", "args": args}
  return config


_MODELS = {"gan": _gan, "dcgan": _dcgan, "vae": _vae, "diffusion": _diffusion}


def sweep() -> list[dict]:
  """The models."""
  return product({"arg.model": list(_MODELS)})
