"""The options of the principle `adversarial`, and which of them go together."""

from typing import NamedTuple

from dgm_jax.core import errors
from dgm_jax.core.options import words
from dgm_jax.inference import adversarial_losses as losses
from dgm_jax.networks.augmentations import POLICIES

ORDERS = ("alternating", "shared_noise", "simultaneous")
PENALTIES = ("none", "gradient_penalty", "r1", "r2", "dragan", "clip", "lecam")
PLAYERS = ("generator", "discriminator")
NORM_STATISTICS = ("standing", "moving", "batch")
LECAM_DECAY = 0.99


class Options(NamedTuple):
  """Options of config.objective.

  Attributes:
    loss: a name of inference.adversarial_losses.NAMES.
    a, b, c: the labels of least_squares: of samples, of data, and what the generator wants.
    penalty, weight: what is added to the discriminator's loss, and its factor; for "clip" the bound of its parameters.
    every: the penalty is computed at every so many updates of the discriminator, times this number.
    order: "alternating" (each update of a player has fresh noise), "shared_noise" (one update of each per step, from
      the same noise) or "simultaneous" (one update of each, with gradients at the same parameters and noise).
    num_discriminator, num_generator: updates of each per step.
    accumulate: batches whose gradients are averaged for an update, of either player.
    pack: samples that are judged at once (PacGAN; Lin et al., 2018): along features, or channels of images.
    smoothing: the label of data is 1 - smoothing.
    consistency: weight of the squared change of the discriminator's logit when an example is changed (CR; Zhang et
      al., 2020); sample_consistency: the same of samples (bCR with both; Zhao et al., 2021).
    consistency_changes: some of augmentations.POLICIES with commas between them.
    latent_consistency: weight of the squared change of the discriminator's logit when z moves by latent_noise (zCR;
      Zhao et al., 2021); the generator's samples move apart by the weight latent_diversity.
    latent_noise, latent_diversity: see latent_consistency.
    conditions_on: the entry of a batch that is y, for models with classes: "y", or "context".
    adversarial_weight: factor of the generator's own loss; with 0 its samples are not judged, and it lowers the model's
      `auxiliary` alone.
    auxiliary_weight: factor of the mean of the model's own `auxiliary` in the generator's loss.
    train: "both", or the only player that learns.
    augment: "none", or changes of the images that the discriminator sees, some of augmentations.POLICIES with commas
      between them (DiffAugment; Zhao et al., 2020).
    augment_strength: 1 for their published ranges.
    ada_target, ada_span: 0 for every change at every image; else the probability p of a change moves so that the mean
      sign of the training examples' logits stays at ada_target, 0.6 as published, by at most 1 in ada_span examples.
    orthogonal: weight of norms.off_diagonal of the generator's kernels in its loss.
    norm_statistics: what batch normalisation of the generator (not of an encoder, whose moments are always "moving")
      uses outside of training: "standing", moments pooled over standing_batches batches of standing_size samples of
      the generator as it is evaluated, with its averaged parameters and the truncation of z; "moving", averages of the
      training batches' moments; "batch", the moments of the samples that are drawn together.
    standing_batches, standing_size: see norm_statistics.
    log_sigmas: whether the metrics have the spectral norm of each layer that has it, sigma_of_PLAYER.LAYER; a figure
      shows them.
  """

  loss: str = "non_saturating"
  a: float = 0.0
  b: float = 1.0
  c: float = 1.0
  penalty: str = "none"
  weight: float = 10.0
  every: int = 1
  order: str = "alternating"
  num_discriminator: int = 1
  num_generator: int = 1
  accumulate: int = 1
  pack: int = 1
  smoothing: float = 0.0
  consistency: float = 0.0
  sample_consistency: float = 0.0
  consistency_changes: str = "translation"
  latent_consistency: float = 0.0
  latent_noise: float = 0.07
  latent_diversity: float = 0.0
  conditions_on: str = "y"
  adversarial_weight: float = 1.0
  auxiliary_weight: float = 1.0
  train: str = "both"
  augment: str = "none"
  augment_strength: float = 1.0
  ada_target: float = 0.0
  ada_span: float = 500_000.0
  orthogonal: float = 0.0
  norm_statistics: str = "standing"
  standing_batches: int = 16
  standing_size: int = 64
  log_sigmas: bool = False

  @property
  def policy(self) -> tuple[str, ...]:
    """The changes of `augment`."""
    return () if self.augment == "none" else words(self.augment)


def _check_changes(o: Options) -> None:
  """Raises UserError for unknown changes, or those of images whose context, an image itself, would stay as it is."""
  for name in o.policy:
    errors.choose("change in objective.augment", name, ("none", *POLICIES))
    errors.require(name != "none", f"objective.augment = {o.augment!r}; 'none' stands alone.")
  for name in words(o.consistency_changes):
    errors.choose("change in objective.consistency_changes", name, POLICIES)
  changes = {"augment": bool(o.policy), "consistency": o.consistency, "sample_consistency": o.sample_consistency}
  for name in [name for name, given in changes.items() if given]:
    errors.require(
      o.conditions_on != "context",
      f"objective.{name} = {getattr(o, name)!r} changes x alone, which then no longer fits its context: leave it out "
      "with objective.conditions_on = 'context'.",
    )


def checked(**options) -> Options:
  """The options.  Raises UserError for an unknown option, an invalid value, or options that do not go together."""
  for name in options:
    errors.choose("key of config.objective", name, Options._fields)
  o = Options(**options)
  losses.require(o.loss, o.smoothing)
  errors.choose("value of objective.penalty", o.penalty, PENALTIES)
  errors.choose("value of objective.order", o.order, ORDERS)
  errors.choose("value of objective.train", o.train, ("both", *PLAYERS))
  errors.choose("value of objective.conditions_on", o.conditions_on, ("y", "context"))
  errors.choose("value of objective.norm_statistics", o.norm_statistics, NORM_STATISTICS)
  errors.require(
    o.ada_target == 0 or bool(o.policy),
    f"objective.ada_target = {o.ada_target} moves the probability of the changes of objective.augment: it is 'none'.",
  )
  _check_changes(o)
  errors.require(-1 < o.ada_target < 1, f"objective.ada_target = {o.ada_target}; it must be in (-1, 1), 0 for none.")
  errors.require(o.ada_span > 0, f"objective.ada_span = {o.ada_span}; it must be positive.")
  for name in ("standing_batches", "standing_size"):
    errors.require(getattr(o, name) >= 1, f"objective.{name} = {getattr(o, name)}; it must be 1 or more.")
  for name in ("num_discriminator", "num_generator", "accumulate", "pack", "every"):
    errors.require(getattr(o, name) >= 1, f"objective.{name} = {getattr(o, name)}; it must be 1 or more.")
  scales = (
    "weight",
    "consistency",
    "sample_consistency",
    "latent_consistency",
    "latent_noise",
    "latent_diversity",
    "augment_strength",
    "orthogonal",
  )
  for name in (*scales, "adversarial_weight", "auxiliary_weight"):
    errors.require(getattr(o, name) >= 0, f"objective.{name} = {getattr(o, name)}; it must be 0 or positive.")
  errors.require(
    o.every == 1 or o.penalty not in ("none", "clip"),
    f"objective.every = {o.every} is how often a penalty is computed; objective.penalty = {o.penalty!r} has none.",
  )
  errors.require(
    o.loss == "least_squares" or (o.a, o.b, o.c) == (0.0, 1.0, 1.0),
    f"objective.a, b and c are labels of objective.loss = 'least_squares', not of {o.loss!r}.",
  )
  errors.require(
    o.penalty != "clip" or o.loss == "wasserstein",
    f"objective.penalty = 'clip' is for objective.loss = 'wasserstein', not {o.loss!r}.",
  )
  errors.require(
    o.order == "alternating" or o.num_discriminator == o.num_generator == 1,
    f"objective.order = {o.order!r} makes one update of each player per step; num_discriminator = "
    f"{o.num_discriminator} and num_generator = {o.num_generator} need 'alternating'.",
  )
  errors.require(
    o.accumulate == 1 or o.loss != "relativistic_average",
    f"objective.accumulate = {o.accumulate} would change 'relativistic_average', whose loss has means over the whole "
    "batch inside: take a larger batch_size, or another loss.",
  )
  return o
