"""Bits per character by both protocols, against loops and the entropy of a Markov chain."""

import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from dgm_jax.core import errors, system
from dgm_jax.data import pipeline
from dgm_jax.data.files import windows
from dgm_jax.data.splits import Splits
from dgm_jax.evaluate import bits_per_character

V, L = 3, 7
RNG = np.random.default_rng(0)
TABLE = RNG.dirichlet(np.full(V, 0.6), (V, V))  # p(x_t | x_t-2, x_t-1)


def draw(n):
  x = [0, 1]
  for _ in range(n - 2):
    x.append(int(RNG.choice(V, p=TABLE[x[-2], x[-1]])))
  return np.array(x)


def pairs():
  """p(x_t-2, x_t-1) in equilibrium."""
  p = np.full((V, V), 1 / V**2)
  for _ in range(500):
    p = np.einsum("ab,abc->bc", p, TABLE)
  return p


JOINT = pairs()
AFTER_ONE = np.einsum("ab,abc->bc", JOINT, TABLE) / JOINT.sum(0)[:, None]  # p(x_t | x_t-1)


class Chain(nn.Module):
  """The chain itself: with one token of context its marginal p(x_t | x_t-1), with more the truth."""

  data_shape: tuple[int, ...] = (L,)
  num_classes: int = 0

  def log_prob_each(self, batch):
    x = batch["x"]
    first = jnp.zeros((len(x), 1))
    second = jnp.log(jnp.asarray(AFTER_ONE))[x[:, 0], x[:, 1]][:, None]
    return jnp.concatenate([first, second, jnp.log(jnp.asarray(TABLE))[x[:, :-2], x[:, 1:-1], x[:, 2:]]], 1)


def experiment(text, seq_len=L, stride=0, tokens="character", model=None, drop=()):
  parts, about = windows.cut({"train": text, "test": text}, seq_len, stride)
  about = {"vocabulary": ("a", "b", "c"), "tokens": tokens, "windows": about}
  parts = {k: a | {"index": np.arange(len(a["x"]))} for k, a in parts.items()}
  splits = Splits(parts["train"], None, parts["test"], {k: v for k, v in about.items() if k not in drop})
  return types.SimpleNamespace(model=model or Chain(), splits=splits, transforms=pipeline.make((), parts["train"]))


def evaluate(made, arrays=None, **options):
  state = system.TrainState(0, {}, (), {}, {})
  given = made.splits.test if arrays is None else arrays
  return bits_per_character.evaluate(made, state, jax.random.key(0), given, **{"batch_size": 4} | options)


def by_hand(text, least):
  """Each token once, from the windows in which it has `least` tokens or more before it, one at a time."""
  log_p, start = [], 0
  while len(log_p) < len(text) - 1:
    for place in range(1 if start == 0 else least, L):
      t = start + place
      if t < len(text):
        log_p.append(
          math.log(AFTER_ONE[text[t - 1], text[t]] if place == 1 else TABLE[text[t - 2], text[t - 1], text[t]])
        )
    start += L - least
  assert len(log_p) == len(text) - 1
  return -np.mean(log_p)


@pytest.mark.parametrize("n", [7, 8, 50, 53, 60])
@pytest.mark.parametrize("stride", [0, 3])
def test_every_character_but_the_first_is_scored_once_with_its_context(n, stride):
  text = draw(n)
  found = evaluate(experiment(text, 2 * L - 1 if n > 13 else L, stride))
  assert found["characters"] == n - 1  # also those behind the last window
  assert found["nats_per_character"] == pytest.approx(by_hand(text, 1), rel=1e-5)
  assert found["nats_per_character_sliding"] == pytest.approx(by_hand(text, 3), rel=1e-5)
  assert found["bits_per_character"] == pytest.approx(found["nats_per_character"] / math.log(2))
  assert "the first given, the others with contexts of 1 to 6" in found["protocol"]
  assert "at least 3 of up to 6" in found["protocol_sliding"]


@pytest.mark.parametrize("n,length,least", [(100, 9, 1), (100, 9, 4), (9, 9, 4), (10, 9, 8), (57, 2, 1)])
def test_the_plan_scores_each_token_once_with_enough_before_it(n, length, least):
  scored = []
  for start, first, last in zip(*map(np.asarray, bits_per_character.plan(n, length, least)), strict=True):
    places = np.arange(first, last + 1)
    assert len(places) and (start == 0 or first >= least) and last < length
    scored += (start + places).tolist()
  assert scored == list(range(1, n))


def test_a_known_entropy_is_reached_and_never_beaten():
  """-H = sum p log p of the chain; the sliding protocol always has the two tokens that matter, nanoGPT's not."""
  text = draw(20_000)
  found = evaluate(experiment(text), batch_size=500)
  log_p = np.log(TABLE[text[:-2], text[1:-1], text[2:]])
  entropy = -np.sum(JOINT[..., None] * TABLE * np.log(TABLE))
  error = log_p.std() / math.sqrt(len(log_p)) * 2  # neighbours depend on each other a little
  assert abs(found["nats_per_character_sliding"] - entropy) < 4 * error
  lost = -np.sum(JOINT.sum(0)[:, None] * AFTER_ONE * np.log(AFTER_ONE)) - entropy  # with one token of context
  assert found["nats_per_character"] == pytest.approx(entropy + lost / (L - 1), abs=4 * error)
  assert lost / (L - 1) > 3 * error


def test_words_have_perplexities():
  found = evaluate(experiment(draw(40), tokens="word"))
  assert found["perplexity"] == pytest.approx(math.exp(found["nats_per_word"]))
  assert found["words"] == 39


def test_given_windows_are_a_text_without_a_rest():
  made = experiment(draw(60), 2 * L - 1, L)
  given = {"x": made.splits.test["x"][2:4]}
  assert evaluate(made, given)["characters"] == 3 * L - 2
  with pytest.raises(errors.UserError, match="windows 0 and the next do not continue each other"):
    evaluate(made, {"x": made.splits.test["x"][[2, 0]]})


@pytest.mark.parametrize("options,named", [
  ({"drop": ("windows",)}, "is for windows of a text"),
  ({"model": Chain(num_classes=2)}, "without classes"),
  ({"model": Chain((1,))}, "windows of 1 of"),
])  # fmt: skip
def test_other_data_and_models_are_refused(options, named):
  with pytest.raises(errors.UserError, match=named):
    evaluate(experiment(draw(30), **options))
  with pytest.raises(errors.UserError, match="batch_size = 0"):
    bits_per_character.check(batch_size=0)
