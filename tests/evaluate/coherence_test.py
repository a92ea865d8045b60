"""Coherence and perplexity of topics: by hand, against gensim's formula, and for a known distribution of words."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.core.system import TrainState
from dgm_jax.evaluate import coherence, perplexity

pytestmark = pytest.mark.smoke

KEY = jax.random.key(0)


def test_npmi_by_hand():
  """Words 0 and 1 occur in 2 of 4 documents each, once together; 2 always with 0; 3 never with 0."""
  x = np.array([[1, 1, 5, 0], [2, 0, 1, 0], [0, 3, 0, 1], [0, 0, 0, 1]])
  of = lambda u, v, **options: float(coherence.npmi(jnp.array([[u, v]]), x, **options)[0])
  assert of(0, 1) == pytest.approx(0.0, abs=1e-6)  # 1/4 = 1/2 1/2
  assert of(0, 2) == pytest.approx(1.0)
  assert of(0, 3) == -1.0
  assert of(0, 3, unseen=0.0) == 0.0
  three = float(coherence.npmi(jnp.array([[0, 1, 2]]), x)[0])
  assert three == pytest.approx((of(0, 1) + of(0, 2) + of(1, 2)) / 3)
  assert float(coherence.npmi(jnp.array([[0, 1]]), np.ones((3, 2), int))[0]) == 0.0  # words of all documents


def test_npmi_agrees_with_gensims_formula(monkeypatch):
  """log((p_uv + e) / (p_u p_v)) / -log(p_uv + e), e = 1e-12, over pairs of words that occur together."""
  monkeypatch.setattr(coherence, "_ROWS", 70)
  rng = np.random.default_rng(0)
  x, top = rng.poisson(0.6, (500, 20)), np.stack([rng.permutation(20)[:5] for _ in range(4)])
  p = ((x > 0)[:, :, None] & (x > 0)[:, None]).mean(0)
  expected = [
    np.mean([
      np.log((p[u, v] + 1e-12) / (p[u, u] * p[v, v])) / -np.log(p[u, v] + 1e-12)
      for i, u in enumerate(row)
      for v in row[i + 1 :]
    ])
    for row in top
  ]  # fmt: skip
  np.testing.assert_allclose(coherence.npmi(jnp.asarray(top), x), expected, rtol=1e-4, atol=1e-5)


class Known:
  """A model that predicts the same word distribution for every document."""

  beta = np.array([[0.5, 0.2, 0.2, 0.1], [0.1, 0.1, 0.3, 0.5]])

  def bind(self, variables):
    return self

  def topics(self):
    return jnp.asarray(self.beta)

  def word_distribution(self, batch):
    seen = batch["x"].reshape(len(batch["x"]), -1)
    self.seen_dtype = seen.dtype
    return jnp.broadcast_to(self.beta[0], seen.shape)


def known(x, vocabulary=("ark", "dove", "olive", "raven")):
  eval_step = lambda state, key, batch: {"elbo": -2.0 * batch["x"].reshape(len(batch["x"]), -1).sum(1)}
  return types.SimpleNamespace(
    model=Known(),
    system=types.SimpleNamespace(eval_step=eval_step),
    transforms=types.SimpleNamespace(evaluate=lambda key, batch: batch),
    splits=types.SimpleNamespace(train={"x": x}, about={"vocabulary": vocabulary} if vocabulary else {}),
  )


STATE = TrainState(jnp.int32(0), {}, (), {}, {})
DOCUMENTS = np.random.default_rng(0).multinomial(40, Known.beta[0], 300).astype(np.uint16)
ARRAYS = {"x": DOCUMENTS, "index": np.arange(300, dtype=np.int32)}


def test_completion_log_pw_of_a_known_distribution_is_minus_its_entropy():
  found = perplexity.evaluate(known(DOCUMENTS), STATE, KEY, ARRAYS, batch_size=70, share=0.3)
  entropy = -(Known.beta[0] * np.log(Known.beta[0])).sum()
  assert abs(-found["completion_log_pw"] - entropy) < 5 * found["completion_log_pw_stderr"]
  assert 0.005 < found["completion_log_pw_stderr"] < 0.02  # sd of log p over sqrt(3,600) is 0.0098
  assert found["completion_perplexity"] == pytest.approx(np.exp(-found["completion_log_pw"]))
  assert found["perplexity"] == pytest.approx(np.exp(2.0), rel=1e-6)
  assert found["document_perplexity"] == pytest.approx(np.exp(2.0), rel=1e-6)
  values = found["values"]
  share = values["held_out"].sum() / values["words"].sum()
  assert abs(share - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 12_000)
  again = perplexity.evaluate(known(DOCUMENTS), STATE, KEY, ARRAYS, batch_size=300, share=0.3)
  np.testing.assert_array_equal(values["held_out"], again["values"]["held_out"])  # for every batch size


def test_perplexities_average_over_words_or_documents():
  values = {"elbo": jnp.array([-10.0, -2.0]), "words": jnp.array([2.0, 4.0])}
  values |= {"completion_log_pw": jnp.array([-3.0, -9.0]), "held_out": jnp.array([1.0, 2.0])}
  found = perplexity.of_values(values)
  assert found["perplexity"] == pytest.approx(np.exp(12 / 6))
  assert found["document_perplexity"] == pytest.approx(np.exp((5 + 0.5) / 2))
  assert found["completion_perplexity"] == pytest.approx(np.exp(12 / 3))


def test_documents_without_words_are_left_out_of_the_mean_over_documents():
  values = {"elbo": jnp.array([-10.0, 0.0, -2.0]), "words": jnp.array([2.0, 0.0, 4.0])}
  values |= {"completion_log_pw": jnp.array([-3.0, 0.0, -9.0]), "held_out": jnp.array([1.0, 0.0, 2.0])}
  found = perplexity.of_values(values)
  assert found["perplexity"] == pytest.approx(np.exp(12 / 6))
  assert found["document_perplexity"] == pytest.approx(np.exp((5 + 0.5) / 2))
  assert found["completion_perplexity"] == pytest.approx(np.exp(12 / 3))


def test_a_perplexity_of_no_words_is_left_out_and_a_huge_one_is_infinite():
  none, some = jnp.zeros(2), jnp.array([3.0, 0.0])
  kept_out = {"completion_log_pw": none, "held_out": none, "elbo": -1e4 * some}
  assert perplexity.of_values(kept_out | {"words": none}).keys() == {"values"}
  found = perplexity.of_values(kept_out | {"words": some})
  assert found.keys() == {"values", "perplexity", "document_perplexity"}
  assert found["perplexity"] == found["document_perplexity"] == np.inf


def test_topics_are_reported_as_words():
  found = coherence.evaluate(known(DOCUMENTS), STATE, KEY, ARRAYS, num_words=2)
  by_topic = coherence.npmi(jnp.array([[0, 1], [3, 2]]), DOCUMENTS)
  order = np.argsort(-np.asarray(by_topic))
  assert found["topics"] == [["ark dove", "raven olive"][k] for k in order]
  assert found["npmi"] == pytest.approx(float(by_topic.mean()))
  assert found["different_words"] == 1.0
  assert coherence.evaluate(known(DOCUMENTS, None), STATE, KEY, ARRAYS, num_words=9)["npmi_words"] == 4


@pytest.mark.parametrize("module,options,named", [
  (coherence, {"num_words": 1}, "num_words = 1"),
  (coherence, {"unseen": 0.5}, "unseen = 0.5"),
  (perplexity, {"share": 1.0}, "share = 1.0"),
  (perplexity, {"batch_size": 0}, "batch_size = 0"),
])  # fmt: skip
def test_invalid_options_raise_user_errors(module, options, named):
  with pytest.raises(errors.UserError, match=named):
    module.check(**options)
