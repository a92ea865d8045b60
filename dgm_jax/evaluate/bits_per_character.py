"""Bits per character of a whole text under an autoregressive model, by two protocols that differ in the context."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.core.evaluation import make_evaluate_examples
from dgm_jax.core.progress import progress_bar
from dgm_jax.data.files import windows
from dgm_jax.data.splits import Splits

NEEDS = ("log_prob_each",)  # of the model
UNITS = {"character": "character", "letter": "character", "word": "word", "atom": "token"}


def check(*, batch_size: int = 1) -> None:
  """Raises UserError for an invalid option."""
  errors.require(batch_size >= 1, f"evaluate.bits_per_character.batch_size = {batch_size}; it must be 1 or more.")


def _text(experiment: Any, arrays: dict) -> Any:
  """The token ids [n] that the windows in `arrays` were cut from, with the rest behind the last window of a split."""
  about = experiment.splits.about
  errors.require(
    "windows" in about,
    "evaluate.bits_per_character is for windows of a text, and these data are no text or single lines: set "
    "data.seq_len.",
  )
  parts = experiment.splits.parts() if isinstance(experiment.splits, Splits) else {}
  found = [name for name, part in parts.items() if part is arrays]
  rest = about["windows"]["rest"].get(found[0], ()) if found else ()
  return windows.joined(arrays["x"], about["windows"]["stride"], rest)


def plan(n: int, length: int, least: int) -> tuple[jax.Array, jax.Array, jax.Array]:
  """(the first token, the first and the last scored place) of windows that score the tokens 1 .. n - 1 once each.

  Args:
    n: tokens of the text; token 0 is given.
    length: tokens of a window, T + 1; place 0 is given.
    least: tokens before each scored one in its window, 1 .. T; those at the beginning of the text have fewer.
  """
  each = length - least  # tokens that a window after the first scores
  count = 1 + max(0, -(-(n - length) // each))
  start = jnp.arange(count) * each
  first = jnp.where(start == 0, 1, least)
  return start, first, jnp.minimum(length - 1, n - 1 - start)


def _log_p(experiment: Any, state: Any, key: jax.Array, ids: Any, least: int, batch_size: int) -> tuple[float, int]:
  """(log p of the tokens 1 .. n - 1, their number)."""
  length, model = math.prod(experiment.model.data_shape), experiment.model
  start, first, last = plan(len(ids), length, least)

  def eval_step(carried, key, batch):
    del key
    state, ids = carried
    place = jnp.arange(length)
    x = ids[jnp.minimum(batch["start"][:, None] + place, len(ids) - 1)]
    bound = model.bind({"params": state.params, **state.variables})
    log_p = bound.log_prob_each({"x": x.reshape(-1, *model.data_shape)})
    scored = (place >= batch["first"][:, None]) & (place <= batch["last"][:, None])
    return {"log_p": jnp.sum(jnp.where(scored, log_p, 0.0), 1), "count": jnp.sum(scored, 1)}

  run = make_evaluate_examples(eval_step, lambda key, example: example, batch_size)
  with progress_bar(len(start), description="bits per character", unit="window") as bar:
    values = run((state, jnp.asarray(ids)), key, {"start": start, "first": first, "last": last}, bar.update)
  values = jax.device_get(values)
  return math.fsum(values["log_p"].tolist()), int(values["count"].sum())


def evaluate(experiment: Any, state: Any, key: jax.Array, arrays: dict, *, batch_size: int = 64) -> dict[str, Any]:
  """Minus the mean log-probability of all characters of the text but the first, which is given.  Both are exact.

  With windows of T + 1 characters, the length of the model's x:

    nanoGPT's protocol: windows a distance T apart; a window's first character is given and its other T are predicted,
      from 1 to T characters before them.  (nanoGPT itself averages over random windows.)
    sliding: each character is predicted from at least T/2 characters before it (but for the first ones of the text), in
      windows a distance T/2 apart, with twice the time.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the windows of a text
      in their order.
    batch_size: windows at once.

  Returns:
    nats_per_character, bits_per_character; the same with _sliding; characters, their number; protocol and
    protocol_sliding in words.  Of words or atoms, "word" or "token" stands in place of "character", and of words there
    are perplexity and perplexity_sliding.

  Raises:
    UserError: the data are not windows of a text, or the model has a context.
  """
  model = experiment.model
  errors.require(
    not getattr(model, "num_classes", 0), "evaluate.bits_per_character is for a text without classes: num_classes = 0."
  )
  ids, length = _text(experiment, arrays), math.prod(model.data_shape)
  errors.require(2 <= length <= len(ids), f"evaluate.bits_per_character: windows of {length} of {len(ids)} tokens.")
  unit, context = UNITS[experiment.splits.about["tokens"]], length - 1
  half = -(-context // 2)
  found: dict[str, Any] = {}
  for name, least in (("", 1), ("_sliding", half)):
    log_p, count = _log_p(experiment, state, key, ids, least, batch_size)
    nats = -log_p / count
    found |= {f"nats_per_{unit}{name}": nats, f"bits_per_{unit}{name}": nats / math.log(2)}
    if unit == "word":
      found[f"perplexity{name}"] = math.exp(min(nats, 700.0))
  found[f"{unit}s"] = count
  found["protocol"] = f"nanoGPT's: windows of {length}, the first given, the others with contexts of 1 to {context}"
  found["protocol_sliding"] = f"each {unit} with at least {half} of up to {context} before it"
  return found
