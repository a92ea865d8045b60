"""Molecules, and other strings of a grammar, of a trained VAE, from Python."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.applications.molecules import search, targets
from dgm_jax.applications.sentences.sequences import Codes, Scores, SequenceVAE
from dgm_jax.core import errors, grammar_parser, grammars
from dgm_jax.data.files import derivations, selfies_text, tokens
from dgm_jax.distributions.truncated import Truncation
from dgm_jax.evaluate.molecular import properties

__all__ = ["Codes", "Drawn", "MoleculeVAE", "Scores"]
INCOMPLETE = derivations.INCOMPLETE  # what stands for a derivation that was cut; it is no string


class Drawn(NamedTuple):
  """Draws from the prior: strings, or INCOMPLETE; and which of them are valid, [N] each."""

  text: list[str]
  valid: np.ndarray


class MoleculeVAE(SequenceVAE):
  """p(x|z) p(z) and q(z|x) of molecules as SMILES (derivations, SELFIES, characters or atoms), or of expressions.

  A run of the model `sequence_vae`: configs grammar_vae_equations, selfies_vae_moses, molecule_vae.  Strings are
  SMILES, or those of the run's own grammar; a derivation that was cut is INCOMPLETE, "<incomplete>".

  Args:
    model, state, about: the model, its trained state, and the metadata of its data set, with the vocabulary.

  Raises:
    UserError: another kind of model, data that are not lines of text, or another version of the package selfies.
  """

  WHAT, CONFIG = "molecule", "molecule_vae"

  def __init__(self, model: Any, state: Any, about: Any):
    super().__init__(model, state, about)
    if about["tokens"] == "selfies":
      selfies_text.check_versions(about)

  @property
  def is_chemical(self) -> bool:
    """Whether the strings are SMILES, and not those of another grammar."""
    if "grammar" in self._about:
      return self._about["grammar"] == grammars.SMILES
    return "held_out" not in self._about  # which characters of equations have

  def valid(self, text: str) -> bool:
    """Whether RDKit accepts a string, or, of other strings, whether the grammar derives it."""
    if text == INCOMPLETE:
      return False
    if self.is_chemical:
      return properties.molecule(text) is not None
    try:
      grammar_parser.derive(text, grammars.parse(self._about.get("grammar", grammars.EQUATIONS)))
    except errors.UserError:
      return False
    return True

  def _checked(self, lines: list[str], what: str) -> dict[str, np.ndarray]:
    errors.require(len(lines) > 0, f"There is no {what}.")
    if self.is_chemical:
      properties.check(lines, what)
    rows = [self._row(line, f"{what} {i}") for i, line in enumerate(lines, 1)]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

  def _row(self, line: str, name: str) -> dict[str, np.ndarray]:
    """The token ids of a line.  Raises UserError: it is empty, too long, underivable, or has an unknown token."""
    errors.require(bool(line.strip()), f"{name} is empty.")
    width, kind, line = self._model.length, self._about["tokens"], line.strip()
    if kind == "rule":
      try:
        return derivations.rows_of([line], self._about, width)
      except errors.UserError as e:
        raise errors.UserError(str(e).replace("Line 1", name, 1)) from e
    try:
      row = tokens.rows_of([line], self._about, 2 + 4 * len(line))
    except errors.UserError as e:
      raise errors.UserError(f"{name}: {e}") from e
    x, count = row["x"], int(row["length"][0])
    unknown = int(np.argmax(x[0, :count] == tokens.UNK))
    errors.require(
      not (x[0, :count] == tokens.UNK).any(),
      f"{name}: its token {unknown + 1} is not among the {len(self.vocabulary) - 3} of the run's alphabet: "
      f"{line[:60]!r}.",
    )
    errors.require(
      count <= width, f"{name} has {count - 1} tokens; the run's have at most {width - 1}, which data.max_length set."
    )
    return {"x": np.pad(x, ((0, 0), (0, max(0, width - x.shape[1]))))[:, :width], "length": row["length"]}

  def generate(
    self, n: int = 10, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, seed: int = 0
  ) -> Drawn:
    """n draws x ~ p(x|z), z ~ p(z); with temperature 0 the most probable token of each step.

    Raises:
      UserError: n < 1, or an invalid truncation.
    """
    texts = self.sample(n, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    return Drawn(texts, np.array([self.valid(text) for text in texts]))

  def decode_often(self, z: np.ndarray, attempts: int, seed: int = 0) -> list[list[str]]:
    """`attempts` draws x ~ p(x|z) at each point z [N, L]."""
    z = jnp.asarray(z, jnp.float32)

    def several(model, key, z):
      return model.draw(key, jnp.repeat(z, attempts, 0), Truncation())["x"]

    run, found = self._program(("often", attempts), several), []
    rows = max(1, 2000 // attempts)
    for i in range(0, len(z), rows):
      some = z[i : i + rows]
      padded = jnp.pad(some, ((0, min(rows, len(z)) - len(some)), (0, 0)))  # one program for all
      texts = self._texts(run(jax.random.fold_in(jax.random.key(seed), i), padded))
      found += [texts[j * attempts : (j + 1) * attempts] for j in range(len(some))]
    return found

  def optimise(
    self, known: Sequence[str], target: targets.Target | None = None, options: search.Options | None = None
  ) -> list[search.Found]:
    """A search of the latent space for strings of a low score, see search.search.

    Args:
      known: strings, whose codes and scores are known at the beginning; they set the box that is searched.
      target: None for the penalised logP of molecules with the moments of `known`, or the error of expressions.
      options: None for the published ones: 5 rounds of 50 points, 500 decodings of a molecule and 25 of an expression.

    Raises:
      UserError: see encode; an invalid option; fewer than two strings.
    """
    errors.require(len(known) >= 2, "A search needs two known strings or more.")
    if target is None:
      target = targets.penalised_log_p(known) if self.is_chemical else targets.equations("python2")
    o = search.Options(attempts=500 if self.is_chemical else 25) if options is None else options
    o.check()
    codes = np.asarray(self.encode(known).mean, np.float64)
    y = np.array([target.score(text) for text in known])
    valid = lambda text: self.valid(text) and target.valid(text)
    return search.search(codes, y, self.decode_often, target.score, valid, target.worst, o)

  def __repr__(self) -> str:
    kind = self._about["tokens"]
    return (
      f"MoleculeVAE({len(self.vocabulary)} tokens of kind {kind!r}, at most {self._model.length}, z of "
      f"{self.latent_dim} dimensions)"
    )
