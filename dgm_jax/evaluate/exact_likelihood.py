"""Log-likelihood of held-out data under a model that knows log p(x), and bits per dimension."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.core.evaluation import make_evaluate_examples, mean_and_error
from dgm_jax.core.progress import progress_bar
from dgm_jax.evaluate.per_token import per_token
from dgm_jax.evaluate.training_statistics import with_training_statistics

NEEDS = ("log_prob", "generate")  # methods of the model; those of p(y|x) do not generate x
PRIORS = ("", "uniform", "empirical")  # of the classes


STATISTICS = ("", "train")


def check(
  *, batch_size: int = 1, num_draws: int = 1, classes: str = "", bits: bool = False, statistics: str = ""
) -> None:
  """Raises UserError for an invalid option."""
  del bits
  for name, value in (("batch_size", batch_size), ("num_draws", num_draws)):
    errors.require(value >= 1, f"evaluate.exact_likelihood.{name} = {value}; it must be 1 or more.")
  errors.require(
    classes in PRIORS,
    f"evaluate.exact_likelihood.classes = {classes!r}; it must be 'uniform', 'empirical' or '' (no sum).",
  )
  errors.require(
    statistics in STATISTICS,
    f"evaluate.exact_likelihood.statistics = {statistics!r}; it must be 'train', or '' for those kept in training.",
  )


def kind(experiment: Any) -> str:
  """What log p(x) is: "exact"; a "bound" on log P(x) where integers were dequantised; or, of a model that estimates its
  log p(x), an "estimate": of log p(x), or of that bound where integers were dequantised.

  Binarisation and missing entries define the data set: they bound nothing.  A model whose own estimate is a bound says
  so by `likelihood_kind`.
  """
  if hasattr(experiment.model, "likelihood_kind"):
    return experiment.model.likelihood_kind
  if hasattr(experiment.model, "log_prob_estimate"):
    return "estimate"
  return "bound" if experiment.transforms.dequantizes else "exact"


def _log_prior(classes: str, experiment: Any) -> jax.Array:
  """log p(y), [C], uniform or by the frequencies in the training set."""
  y = experiment.splits.train.get("y")
  errors.require(
    y is not None and jnp.issubdtype(y.dtype, jnp.integer),
    f"evaluate.exact_likelihood.classes = {classes!r} sums over classes; this data set has none (y is missing, or not "
    "an integer).",
  )
  counts = jnp.bincount(jnp.asarray(y)).astype(jnp.float32)
  return jax.nn.log_softmax(jnp.log(counts if classes == "empirical" else jnp.ones_like(counts)))


def _marginal(log_prob: Callable, log_prior: jax.Array) -> Callable:
  """batch -> (log sum_y p(y) p(x|y) [B], whether argmax_y p(y|x) is the label [B])."""

  def of(batch):
    one = lambda y: log_prob(batch | {"context": jnp.broadcast_to(y, (*batch["y"].shape, *y.shape))})
    log_joint = jax.lax.map(one, jnp.eye(len(log_prior))) + log_prior[:, None]  # [C, B]
    return jax.scipy.special.logsumexp(log_joint, 0), jnp.argmax(log_joint, 0) == batch["y"]

  return of


def _is_density_of_levels(experiment: Any) -> bool:
  """Whether integers that are not dequantised meet a density of real numbers, which bounds no probability of theirs."""
  return not experiment.transforms.dequantizes and getattr(experiment.model, "takes_real_numbers", False)


def _check_bits(experiment: Any) -> None:
  """Raises UserError where bits per dimension are undefined."""
  errors.require(
    experiment.transforms.keeps_levels and not _is_density_of_levels(experiment),
    "evaluate.exact_likelihood.bits: bits per dimension are those of integers or binary numbers, whose log-probability "
    "the model's density bounds; data.x is real, or 'scale', 'standardize' or 'logit' comes before 'dequantize'.",
  )


def make_log_px(experiment: Any, batch_size: int = 500, num_draws: int = 1, classes: str = "") -> Callable:
  """(state, key, data, progress) -> {"log_px", "log_px_transformed", ...}, each [N]; see `evaluate`.

  Raises:
    UserError: several draws without dequantisation, or classes of data without any or of an unconditional model.
  """
  transform, model = experiment.transforms.evaluate, experiment.model
  errors.require(
    num_draws == 1 or experiment.transforms.redraws,
    f"evaluate.exact_likelihood.num_draws = {num_draws} averages over draws of the transform 'dequantize', which "
    f"{'draws its noise once for each example here' if experiment.transforms.dequantizes else 'data.transforms lacks'}"
    ": leave it at 1.",
  )
  errors.require(
    not classes or getattr(model, "num_classes", 0),
    f"evaluate.exact_likelihood.classes = {classes!r} is for a class-conditional model; this one has num_classes = 0.",
  )
  errors.require(
    not classes or not hasattr(model, "log_prob_estimate"),
    f"evaluate.exact_likelihood.classes = {classes!r} needs log p(x|y), of which this model has only estimates.",
  )
  log_prior = _log_prior(classes, experiment) if classes else None

  def of_draw(state, key, batch):
    bound, error = model.bind({"params": state.params, **state.variables}), None
    if classes:
      errors.require(
        "context" in batch,
        f"evaluate.exact_likelihood.classes = {classes!r} is for a class-conditional model: add 'condition' to "
        "data.transforms and choose a model that takes a context.",
      )
      log_px, correct = _marginal(bound.log_prob, log_prior)(batch)
    elif hasattr(model, "log_prob_estimate"):
      log_px, error = bound.log_prob_estimate(key, batch)
    else:
      log_px = bound.log_prob(batch)
    values = {"log_px": log_px + batch.get("log_det", 0.0), "log_px_transformed": log_px}
    if error is not None:
      values["log_px_error"] = error
    if classes:
      values["correct"] = correct
    if "mask" in batch:
      values["entries"] = jnp.sum(batch["mask"].reshape(log_px.shape[0], -1), 1)
    return values

  def eval_step(state, key, batch):
    keys, batch = batch["key"], batch["example"]

    def draw(k):
      drawn = jax.vmap(transform)(jax.vmap(lambda key: jax.random.fold_in(key, k))(keys), batch)
      return of_draw(state, jax.random.fold_in(key, k), drawn)

    if num_draws == 1:
      return of_draw(state, key, jax.vmap(transform)(keys, batch))
    return _of_draws(jax.lax.map(draw, jnp.arange(num_draws)), num_draws)

  return make_evaluate_examples(eval_step, lambda key, example: {"key": key, "example": example}, batch_size)


def _of_draws(values: dict[str, jax.Array], num_draws: int) -> dict[str, jax.Array]:
  """The log of the mean over K draws, of values [K, B], and its error."""
  found = {name: a[0] for name, a in values.items()}
  for name in ("log_px", "log_px_transformed"):
    found[name] = jax.scipy.special.logsumexp(values[name], 0) - math.log(num_draws)
  if "log_px_error" in values:  # of the log of a mean, by the delta method
    weights = jax.nn.softmax(values["log_px"], 0)
    found["log_px_error"] = jnp.sqrt(jnp.sum(jnp.square(weights * values["log_px_error"]), 0))
  else:  # by the spread of the K weights
    weights = num_draws * jax.nn.softmax(values["log_px"], 0)
    found["log_px_error"] = jnp.std(weights, 0, ddof=1) / math.sqrt(num_draws)
  return found


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  batch_size: int = 500,
  num_draws: int = 1,
  classes: str = "",
  bits: bool = False,
  statistics: str = "",
) -> dict[str, Any]:
  """log p(x) of each example, without sampling of latent variables.

  For integers x in 0 .. levels - 1 that `dequantize` turns into y, log p(y) + log|dy/dx| bounds log P(x) from below
  (Theis et al., 2016), and so does its importance-weighted form with K = num_draws,

    log 1/K sum_k p(y_k) |dy/dx|,  y_k a dequantised x,

  which grows with K; papers print K = 1.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the examples.
    batch_size: examples at once.
    num_draws: K; more than 1 only with the transform `dequantize`, not with `dequantize:once`.
    classes: "uniform" or "empirical" (the training set's frequencies): log sum_y p(y) p(x|y) of a class-conditional
      model, instead of log p(x|y) of the examples' own labels.
    bits: whether to stop with an error where bits_per_dim is not defined; without it the number is then left out.
    statistics: "train": of batch normalisation, those of the whole training set, layer by layer; "": those that
      training kept.  A flow with norm = "act" or "none" has no such statistics, and both are the same.

  Returns:
    log_px, nll = -log_px, log_px_stderr (over examples): nats of x before the transforms where these have a Jacobian;
    log_px_transformed: of x as the model sees it; likelihood_kind, see `kind`; bits_per_dim of integers x, -log_px / (D
    ln 2) for D observed entries, where log_px is a probability of them; num_draws with dequantisation; accuracy of
    argmax_y p(y|x) with `classes`; log_px_error, the mean error of estimates and of several draws; of sequences with
    lengths nats_per_token and perplexity.  "values": log_px.

  Raises:
    UserError: see make_log_px and with_training_statistics; or bits per dimension are required of data that are no
      integers.
  """
  if bits:
    _check_bits(experiment)
  if statistics == "train":
    state = with_training_statistics(experiment, state, key, batch_size)
  run = make_log_px(experiment, batch_size, num_draws, classes)
  with progress_bar(len(arrays["x"]), description="log p(x)", unit="example") as bar:
    values = run(state, key, arrays, bar.update)
  found = _summary(experiment, values)
  if experiment.transforms.dequantizes:
    found["num_draws"] = num_draws
  return found | per_token(values["log_px"], arrays) | {"values": {"log_px": values["log_px"]}}


def _summary(experiment: Any, values: Mapping[str, Any]) -> dict[str, Any]:
  """Means over the examples of what make_log_px returns, as `evaluate` names them."""
  log_px, error = mean_and_error(values["log_px"])
  found = {"nll": -log_px, "log_px": log_px, "log_px_stderr": error, "likelihood_kind": kind(experiment)}
  found["log_px_transformed"] = mean_and_error(values["log_px_transformed"])[0]
  if experiment.transforms.keeps_levels and not _is_density_of_levels(experiment):
    entries = values.get("entries", math.prod(experiment.model.data_shape))  # `crop` leaves fewer than x has
    found["bits_per_dim"] = mean_and_error(-values["log_px"] / (entries * math.log(2)))[0]
  if "correct" in values:
    found["accuracy"] = mean_and_error(values["correct"])[0]
  if "log_px_error" in values:
    found["log_px_error"] = mean_and_error(values["log_px_error"])[0]
  return found
