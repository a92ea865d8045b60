"""What config.objective may say to the principle `latent`, and what of it goes together."""

from typing import NamedTuple

from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.inference import objectives


class Options(NamedTuple):
  """How to train; config.objective holds what differs from the defaults.  Floats may differ between lanes.

  Attributes:
    bound: a name of objectives.OBJECTIVES.
    gradient: a name of objectives.GRADIENTS.
    num_samples: K, samples of one bound.
    num_bounds: M, how many bounds of K samples MIWAE and PIWAE average.
    beta: the weight of log p(z) - log q(z|x) (Higgins et al., 2017).
    beta_steps: beta grows linearly from 0 over so many updates (Bowman et al., 2016); 0 for at once.
    temper_steps: the weight of log p(x, z) against log q(z|x) is min(1, 0.01 + t / temper_steps) at update t (Rezende &
      Mohamed, 2015): the posterior is wide first; 0 for 1 at once.
    kl: "sampled", or "analytic", which for bound = "elbo" takes KL(q || p) in closed form.
    free_bits: nats that every latent unit may use for nothing: max(free_bits, KL_l averaged over the batch) (Kingma
      et al., 2016); needs kl = "analytic".
    alpha: of bound = "renyi".
    ciwae_beta: of bound = "ciwae", the weight of the ELBO.
    order: of bound = "jackknife".
    num_bins: of bound = "tvo".
    temperature: of gradient = "gumbel_softmax".
    chunk: samples at once in training; the others' activations are computed again in the backward pass, so that the
      networks' memory does not grow with K; 0: all at once.
  """

  bound: str = "elbo"
  gradient: str = "reparameterised"
  num_samples: int = 1
  num_bounds: int = 1
  beta: float = 1.0
  beta_steps: int = 0
  temper_steps: int = 0
  kl: str = "sampled"
  free_bits: float = 0.0
  alpha: float = 0.5
  ciwae_beta: float = 0.5
  order: int = 1
  num_bins: int = 10
  temperature: float = 0.5
  chunk: int = 0


def check(o: Options, model: nn.Module) -> None:
  """Refuses what cannot be trained, with a sentence."""
  errors.choose("bound", o.bound, objectives.OBJECTIVES)
  errors.choose("gradient", o.gradient, objectives.GRADIENTS)
  errors.choose("objective.kl", o.kl, ("sampled", "analytic"))
  need = lambda condition, sentence: errors.require(condition, f"objective.{sentence}")
  need(o.num_samples >= 1, f"num_samples is the number of importance samples, k = {o.num_samples}; it must be >= 1.")
  need(o.chunk >= 0, f"chunk = {o.chunk}; it must be a number of samples at once, or 0 for all.")
  targets = objectives.OBJECTIVES[o.bound]
  need(
    o.num_bounds == 1 or (targets.grouped and o.num_bounds > 1),
    f"num_bounds = {o.num_bounds} for {o.bound!r}: it must be 1 or more, and 1 unless bound is miwae or piwae.",
  )
  kind, why = objectives.verdict(o.bound, o.gradient)
  need(kind != "refused", f"gradient = {o.gradient!r} is refused for bound = {o.bound!r}: {why}.")
  discrete = getattr(model, "discrete", False)
  fixed = isinstance(targets.phi, str)
  need(
    not discrete or o.gradient in ("vimco", "gumbel_softmax") or (fixed and o.gradient == "reparameterised"),
    f"gradient = {o.gradient!r} follows draws of z, and this model's are discrete; choose vimco or gumbel_softmax, "
    "or bound = 'rws' or 'wake_sleep'.",
  )
  need(
    discrete or o.gradient != "gumbel_softmax",
    "gradient = 'gumbel_softmax' relaxes discrete draws, and this model "
    "has none; choose of reparameterised, stl, dreg, vimco.",
  )
  need(
    o.gradient != "gdreg" or hasattr(model, "prior_conditionals"),
    "gradient = 'gdreg' is for hierarchies of learned normal priors, which this model has not; choose 'dreg'.",
  )
  need(
    o.gradient != "vimco" or o.num_samples * o.num_bounds >= 2,
    f"gradient = 'vimco' compares a sample with the others: num_samples = {o.num_samples} must be 2 or more.",
  )
  need(
    o.bound != "jackknife" or 0 <= o.order < o.num_samples, f"order = {o.order} must be between 0 and num_samples - 1."
  )
  need(
    o.num_bins >= 1 and o.beta_steps >= 0 and o.temperature > 0 and o.beta >= 0 and o.free_bits >= 0,
    "num_bins must be 1 or more, temperature positive, beta_steps, beta and free_bits not negative.",
  )
  plain = (o.bound, o.gradient, o.kl, o.beta, o.beta_steps) == ("elbo", "reparameterised", "sampled", 1, 0)
  need(
    o.temper_steps == 0 or (o.temper_steps > 0 and plain),
    f"temper_steps = {o.temper_steps}: it must not be negative, and is for bound = 'elbo' with gradient = "
    "'reparameterised', kl = 'sampled' and beta = 1.",
  )
  need(0 <= o.ciwae_beta <= 1, f"ciwae_beta = {o.ciwae_beta} must be between 0 and 1.")
  need(not fixed or (o.beta == 1 and not o.beta_steps), f"beta is not defined for bound = {o.bound!r}: leave it at 1.")
  analytic = o.kl == "analytic"
  need(
    not analytic or (o.bound == "elbo" and o.gradient == "reparameterised"),
    "kl = 'analytic' is for bound = 'elbo' with gradient = 'reparameterised'.",
  )
  need(not analytic or hasattr(model, "kl"), f"kl = 'analytic': {type(model).__module__} has no KL in closed form.")
  need(analytic or o.free_bits == 0, "free_bits counts KL per unit: it needs kl = 'analytic'.")
