"""Perplexity of held-out documents, from a bound on their likelihood and from held-out words of each document."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors, rng
from dgm_jax.core.evaluation import make_evaluate_examples, mean_and_error
from dgm_jax.core.progress import progress_bar

NEEDS = ("word_distribution",)  # methods of the model


def check(*, batch_size: int = 1, share: float = 0.5) -> None:
  """Raises UserError for an invalid option."""
  errors.require(batch_size >= 1, f"evaluate.perplexity.batch_size = {batch_size}; it must be 1 or more.")
  errors.require(0 < share < 1, f"evaluate.perplexity.share = {share}; it must be between 0 and 1.")


def evaluate(
  experiment: Any, state: Any, key: jax.Array, arrays: dict, *, batch_size: int = 100, share: float = 0.5
) -> dict[str, Any]:
  """exp(-r), where r is the log-likelihood per word in nats:

    perplexity            r = sum_d elbo_d / sum_d words_d (Blei, Ng & Jordan, 2003)
    document_perplexity   r = 1/D sum_d elbo_d / words_d (Mnih & Gregor, 2014; Srivastava & Sutton, 2017)
    completion_perplexity r = sum_d log p(held-out words of d | the others) / their number (document completion, Wallach
                          et al., 2009); not a bound, so that models with different bounds can be compared

  The first two are upper bounds, and reported only for systems with an elbo.  The mean over documents leaves out those
  without words; a perplexity of no words at all is left out of the results.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the documents.
    batch_size: documents at once.
    share: the probability that a word is held out of its document.

  Returns:
    The perplexities; completion_log_pw, nats per word, and its standard error over documents, weighted by their words.
    "values" holds for each document completion_log_pw (the sum over its held-out words), held_out and words (counts).
  """
  key_held_out = rng.stream(key, "held out")

  def eval_step(state, key, batch):
    x = batch["x"].reshape(batch["x"].shape[0], -1).astype(jnp.float32)
    draw = lambda i, x: jax.random.binomial(jax.random.fold_in(key_held_out, i), x, share)
    held_out = jnp.clip(jax.vmap(draw)(batch["index"], x), 0, x)
    seen = batch | {"x": (x - held_out).reshape(batch["x"].shape)}
    bound = experiment.model.bind({"params": state.params, **state.variables})
    log_p = jnp.log(jnp.maximum(bound.word_distribution(seen), jnp.finfo(x.dtype).tiny))
    values = {
      "completion_log_pw": jnp.sum(held_out * log_p, 1),
      "held_out": jnp.sum(held_out, 1),
      "words": jnp.sum(x, 1),
    }
    found = experiment.system.eval_step(state, key, batch)
    return values | ({"elbo": found["elbo"]} if "elbo" in found else {})

  run = make_evaluate_examples(eval_step, experiment.transforms.evaluate, batch_size)
  with progress_bar(len(arrays["x"]), description="perplexity", unit="document") as bar:
    values = run(state, key, arrays, bar.update)
  return of_values(values)


def of_values(values: dict[str, jax.Array]) -> dict[str, Any]:
  """The perplexities of a set from the values of its documents, {name: [N]}."""
  mean = lambda a: mean_and_error(a)[0]
  kept = ("completion_log_pw", "held_out", "words")
  results: dict[str, Any] = {"values": {name: values[name] for name in kept}}
  if held_out := mean(values["held_out"]):
    ratio = mean(values["completion_log_pw"]) / held_out
    _, error = mean_and_error((values["completion_log_pw"] - ratio * values["held_out"]) / held_out)
    results |= {
      "completion_perplexity": _exp(-ratio),
      "completion_log_pw": ratio,
      "completion_log_pw_stderr": error,
    }
  some = values["words"] > 0
  if "elbo" in values and some.any():
    results["perplexity"] = _exp(-mean(values["elbo"]) / mean(values["words"]))
    results["document_perplexity"] = _exp(-mean(values["elbo"][some] / values["words"][some]))
  return results


def _exp(r: float) -> float:
  """exp(r), inf where math.exp overflows."""
  return math.exp(r) if r < 709 else math.inf
