"""What the configs share: every setting of a run, with its meaning, and a starting point for each kind of model.

With arguments it is the config of any model, also of one in a file of your own (dgm_jax/models/README.md):
  python -m dgm_jax train --config=base:model=mine.py:Model --config.model.args.hidden=64 --workdir=runs/x
Arguments (after the first colon, separated by commas):
  model=NAME       of dgm_jax/models/, or mine.py:Model, or my_package.mine:Model; its arguments are config.model.args
  principle=NAME   latent if not given, see dgm_jax/principles/README.md; its options: config.objective
  data=NAME        mnist5k if not given
  evaluate=NAME    a further final evaluation, of dgm_jax/evaluate/ or in a file of your own
  quick, test      a few thousand steps, 40 steps

A config file starts from default(), own_bound(), maximum_likelihood(), adversarial(), by_em() or supervised(), or from
burda2016() of configs/iwae_mnist.py, changes what is special about it, and locks the result:

  def get_config(arg: str = "") -> ConfigDict:
    a = parse(arg, data="mnist", quick=False, test=False)
    config = base.default()
    config.data = data_section(base.data_name(a), transforms=("binarize:dynamic",))
    config.model = {"name": "mine", "args": {"hidden": (32,) if a.test else (200, 200)}}
    if a.test:
      base.shrink(config)
    elif a.quick:
      base.quicken(config)
    return config.lock()

The functions that a config starts from return unlocked configs.
"""

from types import SimpleNamespace

from ml_collections import ConfigDict, config_dict

from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.evaluate.sample_features import small_nets
from dgm_jax.principles.adversarial_options import Options as AdversarialOptions
from dgm_jax.principles.latent.options import Options
from dgm_jax.principles.supervised import Options as SupervisedOptions
from dgm_jax.training import optimisers
from dgm_jax.training.build import data_section, evaluation_section, model_arguments, objective_section

NUM_TRAIN = {"mnist": 60_000, "mnist5k": 4_000, "binarized_mnist": 50_000, "frey_faces": 1_565}  # training examples

# Final evaluations of `get_config` by principle; the means of what eval_step reports for the others.
_EVALUATIONS = {
  "latent": {"importance_sampling": {"num_samples": 5000, "batch_size": 10, "chunk": 500}},
  "maximum_likelihood": {"exact_likelihood": {"batch_size": 500}},
  "monte_carlo_em": {"posterior_samples": {"num_examples": 100, "num_samples": 50, "num_warmup": 100}},
  "supervised": {"predictive": {"num_samples": 1, "batch_size": 500, "num_bins": 15, "rotation": 0.0, "shifted": ""}},
}


def get_config(arg: str = "") -> ConfigDict:
  """The config of the model that the arguments above name.  Raises UserError without model=."""
  a = parse(arg, model="", principle="latent", data="mnist5k", evaluate="", quick=False, test=False)
  errors.require(bool(a.model), "Config 'base' needs model=..., as --config=base:model=mine.py:Model,principle=latent.")
  config = default()
  grey = a.data in ("mnist", "mnist5k", "fashion_mnist", "omniglot")
  config.data = data_section(a.data, grey * ("scale" if a.principle == "supervised" else "binarize:dynamic",))
  config.model = {"name": a.model, "args": model_arguments(a.model)}
  config.principle, config.objective = a.principle, objective_section(a.principle)
  config.optim = ConfigDict({} if a.principle == "em" else optimisers.Options()._asdict())
  if a.principle == "adversarial":
    config.optim = adversarial(a).optim
  config.evaluate = ConfigDict(_EVALUATIONS.get(a.principle, {"means": {"batch_size": 100}}))
  config.evaluate.update(evaluation_section(a.evaluate) if a.evaluate else {})
  config.num_epochs, config.log_every, config.checkpoint_every = 100, 100, 0
  if a.test:
    shrink(config)
  elif a.quick:
    quicken(config)
  return config.lock()


def default() -> ConfigDict:
  """Every setting of a run: a VAE with the network of Burda et al. (2016), on dynamically binarised MNIST."""
  args = {"latent_dim": 50, "hidden": (200, 200), "likelihood": "bernoulli", "prior": "standard_normal"}
  config = ConfigDict()
  config.seed = 0  # of the parameters, the order of the data and all random draws
  # Data set, its options, and transforms; see dgm_jax/data/README.md
  config.data = data_section("mnist", transforms=("binarize:dynamic",))
  # A module below dgm_jax/models/, and arguments of its Model
  config.model = ConfigDict({"name": "vae", "args": args})
  config.principle = "latent"  # how the model is trained: a module of dgm_jax/principles/
  # Options of the principle; eval_samples: importance samples of evaluations in training, eval_chunk of them at once
  config.objective = ConfigDict(Options()._asdict() | {"eval_samples": 1, "eval_chunk": 10})
  config.optim = ConfigDict(optimisers.Options(eps=1e-4)._asdict())  # see optimisers.Options; eps as in Burda et al.
  config.dtype = "float32"  # or "bfloat16", for computations inside networks; parameters and densities stay float32
  config.remat = False  # recompute the activations of the networks in the backward pass instead of storing them
  config.batch_size = 100  # examples per step; 0: all of the training set
  config.num_epochs = config_dict.FieldReference(3280, field_type=int)  # 3280: (3^8 - 1) / 2, as in Burda et al.
  config.num_steps = config_dict.placeholder(int)  # optional; takes precedence over num_epochs
  config.log_every = 500  # steps of one compiled program, 0: an epoch; the intervals below are multiples of it
  config.eval_every = 0  # steps; 0: 20 evaluations per run, at least five epochs apart
  config.figures_every = 0  # steps; 0: five times per run, at least five epochs apart
  config.checkpoint_every = 5000  # steps; 0: 20 checkpoints per run, at least five epochs apart
  config.keep_checkpoints = 2  # number of latest checkpoints to keep
  config.keep_best = ""  # also keep the best checkpoint by this metric, e.g. "valid/log_px"
  config.early_stopping = 0  # stop after this many evaluations without a better value of keep_best; 0: never
  config.max_minutes = config_dict.placeholder(float)  # stop after this many minutes of training; None: never
  # After SIGTERM or Ctrl-C a run completes and saves its chunk of steps; after this many seconds it is ended anyway.
  config.grace_seconds = 30.0
  config.init_from = ""  # folder of a run whose parameters are the initial ones
  config.eval_batch_size = 500
  config.figure_formats = ("png",)  # of the files in figures/: any of png, pdf and svg
  config.loggers = ("tensorboard",)  # also write metrics, pictures and results there: tensorboard, wandb, mlflow
  config.sample_devices = 0  # devices that share the importance samples of each example; 0: chosen automatically
  config.shard_params = False  # also split the parameters and the optimiser's state over the devices
  config.track = ConfigDict()  # evaluations as in config.evaluate, at every eval_every on the held-out set
  # Evaluations at the end of the run, each a module of dgm_jax/evaluate/, with their options
  config.evaluate = ConfigDict({
    "importance_sampling": {"num_samples": 5000, "batch_size": 10, "chunk": 500},
    "active_units": {"threshold": 0.01, "num_samples": 64},
  })  # fmt: skip
  return config


def data_name(a: SimpleNamespace, small: str = "mnist5k") -> str:
  """The data set for the arguments `data`, `quick` and `test`: `small` for the last two, unless `data` is given."""
  return small if (a.quick or a.test) and "data" not in a.given else a.data


def sets(*names: str, own: tuple[str, ...] = ("array",)) -> tuple[str, ...]:
  """The choices of an argument `data`, the default first: `names`, and the data sets that read the user's `own` files.

  `own` is "array" (tables, arrays, images), or "text" or "bag_of_words" for models of text.
  """
  return (*names, *own)


def real(name: str) -> tuple[str, ...]:
  """The transforms for a model of real numbers: grey levels scaled to [0, 1], the user's own data standardised."""
  return ("standardize",) if name == "array" else ("scale",)


def binarize(name: str, how: str) -> tuple[str, ...]:
  """The transforms that make the data set `name` binary: none for binarized_mnist, else binarize:`how`."""
  return () if name == "binarized_mnist" else (f"binarize:{how}",)


def quicken(config: ConfigDict, num_steps: int = 6000) -> None:
  """Changes `config` for the argument `quick`: `num_steps` steps of batch 100, minutes on mnist5k."""
  config.batch_size, config.num_steps, config.log_every, config.checkpoint_every = 100, num_steps, 100, 1000
  if config.principle == "latent":
    config.objective.eval_samples = 50


def shrink(config: ConfigDict, batch_size: int = 50) -> None:
  """Changes `config` for the argument `test`: 40 steps and evaluations with few samples, which take seconds.

  Its data and model are left as they are; the config itself makes them small.
  """
  config.batch_size, config.num_steps, config.log_every = batch_size, 40, 10
  config.eval_every, config.figures_every, config.checkpoint_every = 20, 40, 20
  if config.principle == "latent":
    config.objective.update(eval_samples=7, eval_chunk=5)
  if config.principle == "supervised":
    config.objective.eval_samples = min(config.objective.eval_samples, 2)
  if "importance_sampling" in config.evaluate:
    config.evaluate.importance_sampling.update(num_samples=20, batch_size=100, chunk=20)
  if "active_units" in config.evaluate:
    config.evaluate.active_units.num_samples = 8
  if "predictive" in config.evaluate:
    config.evaluate.predictive.num_samples = min(config.evaluate.predictive.num_samples, 5)


def maximum_likelihood(a: SimpleNamespace) -> ConfigDict:
  """For principle maximum_likelihood, models with an exact log p(x); config.data and config.model are the caller's.

  Args:
    a: the arguments `quick` and `test`.
  """
  config = default()
  config.principle, config.objective = "maximum_likelihood", ConfigDict()
  config.optim = ConfigDict(optimisers.Options()._asdict())
  config.evaluate = ConfigDict(_EVALUATIONS["maximum_likelihood"])
  config.num_epochs, config.checkpoint_every = 100, 0
  if a.test:
    shrink(config)
  elif a.quick:
    quicken(config, num_steps=4000)
  return config


def own_bound(a: SimpleNamespace) -> ConfigDict:
  """For principle own_bound, where the model itself defines the loss; config.model is left to the caller.

  Args:
    a: the arguments `data`, `quick` and `test`.
  """
  config = default()
  config.data = data_section(data_name(a), transforms=("binarize:dynamic",))
  config.principle, config.objective = "own_bound", ConfigDict()
  config.evaluate = ConfigDict({"means": {"batch_size": 100}})
  if a.quick:
    quicken(config, num_steps=4000)
  if a.test:
    shrink(config)
  else:
    config.num_epochs = 200
  return config


def adversarial(a: SimpleNamespace) -> ConfigDict:
  """For principle adversarial, two players; config.data and config.model are the caller's.

  config.optim is the generator's; what config.optim.discriminator leaves at None is the same for the discriminator.

  Args:
    a: the arguments `quick` and `test`.
  """
  config = default()
  config.principle, config.objective = "adversarial", ConfigDict(AdversarialOptions()._asdict())
  config.optim = ConfigDict(optimisers.Options(lr=2e-4, b1=0.5)._asdict())
  own = {name: type(getattr(optimisers.Options(), name)) for name in optimisers.OWN_OF_PLAYERS}
  config.optim.discriminator = ConfigDict({name: config_dict.placeholder(kind) for name, kind in own.items()})
  config.evaluate = ConfigDict({"means": {"batch_size": 500}})
  config.num_epochs, config.checkpoint_every = 100, 0
  if a.test:
    shrink(config)
  elif a.quick:
    quicken(config, num_steps=4000)
  return config


def measure_samples(config: ConfigDict, test: bool, *metrics: str, num_samples: int = 10_000) -> None:
  """Adds the evaluation `samples` with these metrics to the final ones; with `test`, of 100 samples."""
  config.evaluate.update(evaluation_section("samples"))
  config.evaluate.samples.update(metrics=metrics, num_samples=100 if test else num_samples)


def track_samples(config: ConfigDict, *metrics: str, num_samples: int) -> None:
  """Adds the evaluation `samples` to those during training: against the held-out set, without the floor."""
  section = evaluation_section("samples").samples.to_dict()
  del section["against"]  # which is the held-out set
  config.track.samples = ConfigDict(section | {"metrics": metrics, "num_samples": num_samples, "floor": False})


def measure_images(config: ConfigDict, test: bool, data: str, classes: bool, metrics: tuple[str, ...] = ()) -> None:
  """Adds the evaluations `samples`, `walks` and, of normal noise, `truncation`; with `test`, of 100 samples.

  Args:
    config: to be changed; its model makes images from noise.
    test: of 100 samples.
    data: name of the data set, whose classifier's features are used if this package has one, and images are not padded.
    classes: whether the model is conditional on the class: then also 1-NN accuracies, and numbers by class.
    metrics: further ones.
  """
  features = {"mnist5k": "mnist", "cifar10/full": "cifar10_small", "cifar10/small": "cifar10_small"}.get(data, data)
  padded = any(name.partition(":")[0] == "pad" for name in config.data.transforms)
  known = features in small_nets.NAMES and not padded  # the classifiers take images of one size
  scored = ("class_score",) if known else ()
  modes = ("modes",) if data == "stacked_mnist" else ()
  by_class = ("nearest", *(("agreement",) if known else ()), "by_class") if classes and not modes else ()
  chosen = ("frechet", "kernel", "manifold", "memorisation", *scored, *by_class, *modes, *metrics)
  size = 100 if test else 25_600 if modes else 10_000
  config.evaluate.samples = ConfigDict({
    "metrics": chosen, "num_samples": size, "features": features if known else "random", "classifier": "",
    "against": "test", "batch_size": 100,
  })  # fmt: skip
  config.evaluate.update(evaluation_section("walks"))
  if config.model.args.get("noise", "normal") == "normal":
    config.evaluate.update(evaluation_section("truncation"))
    config.evaluate.truncation.features = config.evaluate.samples.features
  if test:
    config.evaluate.walks.update(rows=2, steps=3, thresholds=(0.5,))
    config.evaluate.get("truncation", ConfigDict()).update(thresholds=(0.5,), num_samples=100)


def by_em(
  data: ConfigDict, num_examples: int, passes: int, test: bool, *, batch_size: int = 10_000, online: bool = False
) -> ConfigDict:
  """For principle em; config.model is left to the caller.

  Args:
    data: config.data.
    num_examples: size of the training set; 0 if it is not known: then a step takes all examples, or an online one 500.
    passes: number of epochs, each of which ends with an M-step.
    test: 40 steps, in batches of 400 (all, if num_examples is 0), or of 100 online.
    batch_size: at most this many examples per step; it should divide num_examples.
    online: an M-step after each batch of 500 instead.
  """
  config = default()
  config.data = data
  config.principle, config.optim = "em", ConfigDict()  # EM has no optimiser
  config.objective = ConfigDict({"update": "online" if online else "batch", "decay": 0.6, "delay": 10.0, "block": 1000})
  config.evaluate = ConfigDict({"selection": {"batch_size": 500}})
  if test:
    shrink(config, batch_size=100 if online else 400 if num_examples else 0)
    return config
  config.batch_size = 500 if online else min(num_examples, batch_size)
  config.num_epochs, config.log_every, config.checkpoint_every = passes, 0, 0
  if num_examples:
    config.log_every = num_examples // config.batch_size
    config.checkpoint_every = config.log_every * max(1, passes // 10)
  return config


def supervised(data: ConfigDict, args: dict, draws: int) -> ConfigDict:
  """For conditional models p(y given x), of principle supervised.

  Args:
    data: config.data.
    args: arguments of the model `predictor`.
    draws: draws of the weights per prediction in the final evaluation; at most ten during training.
  """
  config = default()
  config.data = data
  config.model = ConfigDict({"name": "predictor", "args": args})
  config.principle = "supervised"
  config.objective = ConfigDict(SupervisedOptions(eval_samples=min(draws, 10))._asdict())
  config.optim = ConfigDict(optimisers.Options()._asdict())
  config.eval_batch_size, config.checkpoint_every = 1000, 0
  predictive = {"num_samples": draws, "batch_size": 500, "num_bins": 15, "rotation": 0.0, "shifted": ""}
  config.evaluate = ConfigDict({"predictive": predictive})
  return config
