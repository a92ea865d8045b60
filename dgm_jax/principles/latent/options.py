"""Options of config.objective for the principle `latent`, and the check of their combinations."""

from typing import NamedTuple

from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.inference import objectives
from dgm_jax.principles.latent import aggressive, weights


class Options(NamedTuple):
  """Options of training; config.objective holds those that differ from the defaults.  Floats may differ between lanes.

  Attributes:
    bound: a name of objectives.OBJECTIVES.
    gradient: a name of objectives.GRADIENTS.
    num_samples: K, samples per bound.
    num_bounds: M, the number of bounds of K samples that MIWAE and PIWAE average.
    beta: the weight of log p(z) - log q(z|x) (Higgins et al., 2017).
    beta_steps: training steps over which beta grows linearly from 0; 0: beta is constant; -1: half of the run's steps.
      See weights.py for the other schedules.
    beta_schedule: "linear", "sigmoid" (Bowman et al., 2016) or "cyclical" (Fu et al., 2019).
    beta_start: for "linear" and "cyclical", the share of beta at the beginning (0.1 in He et al., 2019).
    beta_width: for "sigmoid", the steps in which the log-odds of the weight grow by 1.
    temper_steps: the weight of log p(x, z) against log q(z|x) is min(1, 0.01 + t / temper_steps) at step t (Rezende &
      Mohamed, 2015), so that q is wide at first; 0: the weight is always 1.
    kl: "sampled", or "analytic", which for bound = "elbo" computes KL(q || p) in closed form.
    free_bits: KL below this many nats per latent unit is not penalised: max(free_bits, KL_l averaged over the batch)
      (Kingma et al., 2016); needs kl = "analytic".
    kl_floor: KL of an example below this many nats per latent unit, in total, is not penalised: max(kl_floor L, sum_l
      KL_l) of each example (Ha & Schmidhuber, 2018, with 0.5); needs kl = "analytic".
    alpha: order of bound = "renyi".
    ciwae_beta: weight of the ELBO in bound = "ciwae".
    order: order of bound = "jackknife".
    num_bins: number of bins of bound = "tvo".
    temperature: temperature of gradient = "gumbel_softmax".
    aggressive: until the mutual information of x and z on the validation set stops rising, up to so many updates of the
      encoder alone precede each update of the decoder alone (He et al., 2019; 100 there); 0: both are always updated
      together.  See aggressive.py.
    decoder_updates: with `aggressive`, the run ends when the decoder has had so many updates, on average over the steps
      of a row of metrics, or with num_steps, whichever is first; 0: with num_steps.  Each update of the decoder in the
      aggressive phase costs more than 2 aggressive_window steps.
    aggressive_window: updates of the encoder whose mean loss is compared with that of as many before.
    chunk: maximal number of samples at once in training; the backward pass recomputes the activations chunk by chunk,
      so that the networks' memory does not grow with K; 0: all at once.
  """

  bound: str = "elbo"
  gradient: str = "reparameterised"
  num_samples: int = 1
  num_bounds: int = 1
  beta: float = 1.0
  beta_steps: int = 0
  beta_schedule: str = "linear"
  beta_start: float = 0.0
  beta_width: float = 0.0
  temper_steps: int = 0
  kl: str = "sampled"
  free_bits: float = 0.0
  kl_floor: float = 0.0
  alpha: float = 0.5
  ciwae_beta: float = 0.5
  order: int = 1
  num_bins: int = 10
  temperature: float = 0.5
  aggressive: int = 0
  aggressive_window: int = 15
  decoder_updates: int = 0
  chunk: int = 0


def with_steps(o: Options, num_steps: int) -> Options:
  """The options with beta_steps = -1 replaced by half of the steps of the run, at least one."""
  if o.beta_steps != -1:
    return o
  errors.require(num_steps >= 1, "objective.beta_steps = -1, half of the run, needs the number of its steps.")
  return o._replace(beta_steps=max(1, num_steps // 2))


def _need(condition: bool, sentence: str) -> None:
  errors.require(condition, f"objective.{sentence}")


def check(o: Options, model: nn.Module) -> None:
  """Raises UserError if a value is invalid, or a combination of options, objective and model cannot be trained."""
  errors.choose("bound", o.bound, objectives.OBJECTIVES)
  errors.choose("gradient", o.gradient, objectives.GRADIENTS)
  errors.choose("objective.kl", o.kl, ("sampled", "analytic"))
  _check_estimator(o, model)
  fixed = isinstance(objectives.OBJECTIVES[o.bound].phi, str)
  _need(
    o.num_bins >= 1 and o.beta_steps >= 0 and o.temperature > 0 and o.beta >= 0 and o.free_bits >= 0,
    f"num_bins = {o.num_bins} must be 1 or more, temperature = {o.temperature} positive, beta_steps = {o.beta_steps}, "
    f"beta = {o.beta} and free_bits = {o.free_bits} not negative.",
  )
  plain = (o.bound, o.gradient, o.kl, o.beta, o.beta_steps) == ("elbo", "reparameterised", "sampled", 1, 0)
  _need(
    o.temper_steps == 0 or (o.temper_steps > 0 and plain),
    f"temper_steps = {o.temper_steps}: it must not be negative, and is for bound = 'elbo' with gradient = "
    "'reparameterised', kl = 'sampled' and beta = 1.",
  )
  _need(0 <= o.ciwae_beta <= 1, f"ciwae_beta = {o.ciwae_beta} must be between 0 and 1.")
  _need(not fixed or (o.beta == 1 and not o.beta_steps), f"beta is not defined for bound = {o.bound!r}: leave it at 1.")
  weights.check(o)
  aggressive.check(o, model)
  analytic = o.kl == "analytic"
  _need(
    not analytic or (o.bound == "elbo" and o.gradient == "reparameterised"),
    "kl = 'analytic' is for bound = 'elbo' with gradient = 'reparameterised'.",
  )
  _need(not analytic or hasattr(model, "kl"), f"kl = 'analytic': {type(model).__module__} has no KL in closed form.")
  _need(
    analytic or all(getattr(model, "warmed", (True,))) or (o.beta == 1 and not o.beta_steps),
    "beta weighs only some of this model's latent units, not the library: that needs kl = 'analytic', or beta = 1.",
  )
  _need(analytic or o.free_bits == 0, "free_bits is a floor of each unit's KL: it needs kl = 'analytic'.")
  _need(
    o.kl_floor >= 0 and (analytic or o.kl_floor == 0) and not (o.kl_floor and o.free_bits),
    f"kl_floor = {o.kl_floor}, a floor of each example's KL, must not be negative, needs kl = 'analytic', and excludes "
    "free_bits.",
  )


def _check_estimator(o: Options, model: nn.Module) -> None:
  """`check` of the bound, its gradient and its samples."""
  _need(o.num_samples >= 1, f"num_samples = {o.num_samples}; the number of importance samples must be 1 or more.")
  _need(o.chunk >= 0, f"chunk = {o.chunk}; it must be a number of samples at once, or 0 for all.")
  targets = objectives.OBJECTIVES[o.bound]
  _need(
    o.num_bounds == 1 or (targets.grouped and o.num_bounds > 1),
    f"num_bounds = {o.num_bounds} for {o.bound!r}: it must be 1 or more, and 1 unless bound is miwae or piwae.",
  )
  kind, why = objectives.verdict(o.bound, o.gradient)
  _need(kind != "refused", f"gradient = {o.gradient!r} is refused for bound = {o.bound!r}: {why}.")
  discrete = getattr(model, "discrete", False)
  fixed = isinstance(targets.phi, str)
  _need(
    not discrete or o.gradient in ("vimco", "gumbel_softmax") or (fixed and o.gradient == "reparameterised"),
    f"gradient = {o.gradient!r} differentiates draws of z, which are discrete in this model; choose vimco or "
    "gumbel_softmax, or bound = 'rws' or 'wake_sleep'.",
  )
  _need(
    discrete or o.gradient != "gumbel_softmax",
    "gradient = 'gumbel_softmax' relaxes discrete draws, but z is continuous in this model; choose reparameterised, "
    "stl, dreg or vimco.",
  )
  _need(
    o.gradient != "gdreg" or hasattr(model, "prior_conditionals"),
    "gradient = 'gdreg' needs a hierarchy of learned normal priors, which this model does not provide; choose 'dreg'.",
  )
  _need(
    o.gradient != "vimco" or o.num_samples * o.num_bounds >= 2,
    f"gradient = 'vimco' compares a sample with the others: num_samples = {o.num_samples} must be 2 or more.",
  )
  _need(
    o.bound != "jackknife" or 0 <= o.order < o.num_samples, f"order = {o.order} must be between 0 and num_samples - 1."
  )
