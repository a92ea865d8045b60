"""Coherence of topics: whether their top words occur in the same documents of a reference corpus, by NPMI."""

from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.core.evaluation import mean_and_error

NEEDS = ("topics",)  # methods of the model
_ROWS = 10_000


def check(*, num_words: int = 2, unseen: float = -1.0) -> None:
  """Raises UserError for an invalid option."""
  errors.require(num_words >= 2, f"evaluate.coherence.num_words = {num_words}; it must be 2 or more.")
  errors.require(-1 <= unseen <= 0, f"evaluate.coherence.unseen = {unseen}; it must be in [-1, 0].")


def npmi(top: jax.Array, x: Any, unseen: float = -1.0) -> jax.Array:
  """The mean over pairs of a topic's words of log (p(u, v) / (p(u) p(v))) / -log p(u, v), [K], in [-1, 1].

  Bouma (2009); Aletras & Stevenson (2013); Lau, Newman & Baldwin (2014).  p is the share of documents that contain the
  words.  Pairs of words that are in all documents carry no information and count 0.

  Args:
    top: indices of the words of each topic, [K, W].
    x: counts of the reference documents, [N, V], on the host or the device.
    unseen: value of a pair that occurs in no document: -1, the limit, or 0, as in the script of Lau et al.
  """
  together = jnp.zeros((top.shape[0], top.shape[1], top.shape[1]))
  for i in range(0, len(x), _ROWS):
    present = (jnp.asarray(x[i : i + _ROWS]) > 0).reshape(-1, x[0].size)[:, top].astype(jnp.float32)  # [n, K, W]
    together = together + jnp.einsum("nku,nkv->kuv", present, present)
  log_p = jnp.log(together / len(x))
  single = jnp.diagonal(log_p, axis1=1, axis2=2)
  pmi = log_p - single[:, :, None] - single[:, None]
  seen = together > 0
  value = jnp.where(seen & (log_p < 0), pmi / -jnp.where(log_p < 0, log_p, -1.0), jnp.where(seen, 0.0, unseen))
  u, v = jnp.triu_indices(top.shape[1], 1)
  return jnp.mean(value[:, u, v], 1)


def evaluate(
  experiment: Any, state: Any, key: jax.Array, arrays: dict, *, num_words: int = 10, unseen: float = -1.0
) -> dict[str, Any]:
  """NPMI of the topics in the documents of the training set, and the topics as words.

  Args:
    experiment, state, key, arrays: the built experiment and the trained state; key and arrays are not used.
    num_words: W, top words per topic.
    unseen: see npmi.

  Returns:
    npmi, the mean over topics, and its standard error over them; npmi_words, W; topics, one string of words per topic,
    the most coherent first; different_words, the share of top words that are in one topic only.  "values" holds
    topics/npmi [K] and topics/words [K, W], in the order of the model.
  """
  del key, arrays
  train = experiment.splits.train["x"]
  beta = experiment.model.bind({"params": state.params, **state.variables}).topics()
  num_words = min(num_words, beta.shape[1])
  _, top = jax.lax.top_k(beta, num_words)
  values = npmi(top, train, unseen)
  mean, error = mean_and_error(values)
  about = experiment.splits.about
  vocabulary = about.get("vocabulary") or about.get("columns") or tuple(map(str, range(beta.shape[1])))
  counts = jnp.bincount(top.ravel(), length=beta.shape[1])
  return {
    "npmi": mean,
    "npmi_stderr": error,
    "npmi_words": num_words,
    "different_words": float(jnp.mean(counts[top] == 1)),
    "topics": [" ".join(vocabulary[v] for v in top[k].tolist()) for k in jnp.argsort(-values).tolist()],
    "values": {"topics/npmi": values, "topics/words": top},
  }
