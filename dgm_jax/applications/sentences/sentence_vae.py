"""Sentences of a trained VAE, from Python."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dgm_jax.applications.sentences import sequences
from dgm_jax.applications.sentences.sequences import Codes, Scores, SequenceVAE
from dgm_jax.core import errors
from dgm_jax.data.files import tokens

__all__ = ["Codes", "Completion", "Scores", "SentenceVAE", "perplexity"]
_MODES = 5  # iterations of `complete`, which seldom needs more than three


class Completion(NamedTuple):
  """A sentence whose end was found: the known beginning, the whole, and log p(x|z) of the whole, nats."""

  known: str
  text: str
  log_px_z: float


class SentenceVAE(SequenceVAE):
  """p(x|z) p(z) and q(z|x) of sentences, from a run of the model `sequence_vae` (configs/sentence_vae_text.py).

  Args:
    model, state, about: the model, its trained state, and the metadata of its data set, with the vocabulary.

  Raises:
    UserError: another kind of model, or data that are not lines of text.
  """

  WHAT, CONFIG = "sentence", "sentence_vae_text"

  def complete(
    self, lines: Sequence[str], *, share: float = 0.2, beam: int = 5, what: str = "sentence"
  ) -> list[Completion]:
    """The most probable ends of sentences given their beginnings, without the last `share` of their words.

    Iterated conditional modes (Bowman et al., 2016, section 4.2): z is the mode of q(z|x), the end of x is the most
    probable one given z and the beginning, in turn; at first x is the beginning alone.

    Args:
      lines: N sentences, whose ends are not looked at.
      share: of the words that are hidden, at least one; 0 continues each whole line.
      beam: see decode.
      what: names a line in messages.

    Raises:
      UserError: see encode; share outside [0, 1), beam < 1, or a sentence of which the share leaves no word.
    """
    errors.require(0 <= share < 1, f"share = {share}; it must be at least 0 and less than 1.")
    errors.require(beam >= 1, f"beam = {beam}; it must be 1 or more.")
    batch = self._encoded(lines, what)
    count = batch["length"] - 1
    keep = count - np.ceil(share * count).astype(int)
    for i, n in enumerate(keep, 1):
      hidden = "its only word" if count[i - 1] == 1 else f"all its {count[i - 1]} words"
      errors.require(n >= 1, f"{what} {i}: share = {share:g} hides {hidden}; one must be left.")
    blocks = [slice(i, i + sequences.ROWS) for i in range(0, len(keep), sequences.ROWS)]
    return [row for at in blocks for row in self._completed(batch["x"][at], keep[at], beam)]

  def _completed(self, x: np.ndarray, keep: np.ndarray, beam: int) -> list[Completion]:
    """The completions of x [N, T], of each of which the first `keep` tokens are known."""
    place = np.arange(x.shape[1])
    known = place < keep[:, None]
    x = np.where(known, x, np.where(place == keep[:, None], tokens.END, tokens.PAD))
    current = {"x": x, "length": keep + 1}
    run = self._program(
      ("complete", beam), lambda m, batch, x, known: m.beam(m.infer(batch).mean(), beam, x=x, known=known)
    )
    for _ in range(_MODES):
      found = run(current, x, known)
      same = np.array_equal(found["x"], current["x"])
      current = {"x": found["x"], "length": found["length"]}
      if same:
        break
    pairs = zip(self._texts(x), self._texts(current["x"]), found["log_prob"].tolist(), strict=True)
    return [Completion(*row) for row in pairs]

  def __repr__(self) -> str:
    return (
      f"SentenceVAE({len(self.vocabulary):,} words, {self._model.length} tokens, z of {self.latent_dim} dimensions)"
    )


def perplexity(scores: Scores) -> float:
  """exp of nats for each token, with <end>; at most exp(700), near the largest float."""
  nats = -float(np.sum(scores.log_px, dtype=np.float64)) / int(np.sum(scores.length))
  return math.exp(min(nats, 700.0))
