"""Texts of a trained VAE of sequences, from Python: what sentences and molecules share."""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.applications.sentences import inputs, paths
from dgm_jax.core import errors, rng
from dgm_jax.core.evaluation import make_evaluate_examples
from dgm_jax.data.files import sentences, tokens
from dgm_jax.distributions.truncated import Truncation
from dgm_jax.inference import estimators
from dgm_jax.inference.log_terms import log_terms
from dgm_jax.models.vae import sequence_vae
from dgm_jax.training import restore

ROWS = 64  # texts at once


class Codes(NamedTuple):
  """q(z|x) of N sentences: means and standard deviations, float32 [N, L] each."""

  mean: np.ndarray
  deviation: np.ndarray


class Scores(NamedTuple):
  """log p(x) of N sentences, nats: importance sampling, its Monte Carlo error, and the tokens with <end>, [N] each."""

  log_px: np.ndarray
  stderr: np.ndarray
  length: np.ndarray


class SequenceVAE:
  """p(x|z) p(z) and q(z|x) of lines of text, from a run of the model `sequence_vae`.

  Subclasses say what a text is called, and which config has such runs.

  Args:
    model, state, about: the model, its trained state, and the metadata of its data set, with the vocabulary.

  Raises:
    UserError: another kind of model, or data that are not lines of text.
  """

  WHAT, CONFIG = "sentence", "sentence_vae_text"

  def __init__(self, model: Any, state: Any, about: Any):
    errors.require(
      isinstance(model, sequence_vae.Model),
      f"{type(self).__name__} takes runs of the model 'sequence_vae' (config {self.CONFIG}); this one is "
      f"{type(model).__module__.rpartition('.')[2]!r}.",
    )
    errors.require(
      "tokens" in about and "vocabulary" in about and "windows" not in about,
      f"{type(self).__name__} takes runs of {self.WHAT}s; the data of this one are not lines of text.",
    )
    self._model, self._about = model, about
    self._variables = {"params": state.params, **getattr(state, "variables", {})}
    self._programs: dict[Any, Any] = {}

  @classmethod
  def of_run(cls, workdir: str | pathlib.Path, checkpoint: str = "latest") -> Self:
    """The VAE of a run at a checkpoint: "latest", "best" or a step.  Raises UserError, see restore.restore."""
    _, experiment, state = restore.of_run(workdir, checkpoint)
    return cls(experiment.model, state, experiment.splits.about)

  @property
  def latent_dim(self) -> int:
    """L."""
    return self._model.latent_dim

  @property
  def vocabulary(self) -> tuple[str, ...]:
    """The tokens by id, of which the first three are <pad>, <unk> and <end>."""
    return tuple(self._about["vocabulary"])

  @functools.cached_property
  def fingerprint(self) -> str:
    """Of the vocabulary and the parameters, which codes in files carry."""
    return inputs.fingerprint(self._about, self._variables)

  def _program(self, name: Any, function: Any) -> Any:
    """A compiled function (model with parameters, *arrays), compiled once for each name."""
    if name not in self._programs:
      self._programs[name] = jax.jit(lambda variables, *args: function(self._model.bind(variables), *args))
    return lambda *args: jax.device_get(self._programs[name](self._variables, *args))

  def _texts(self, x: np.ndarray) -> list[str]:
    found = tokens.decode(np.asarray(x).reshape(len(x), -1), self._about)
    return [sentences.readable(text) for text in found] if self._about.get("separated") else found

  def _encoded(self, lines: Sequence[str], what: str) -> dict[str, np.ndarray]:
    errors.require(not isinstance(lines, str), f"Give a list of {self.WHAT}s, not one text.")
    return self._checked(list(lines), what or self.WHAT)

  def _checked(self, lines: list[str], what: str) -> dict[str, np.ndarray]:
    """The token ids of lines.  Raises UserError: a line that cannot be encoded; `what` names it."""
    return inputs.encode(lines, self._about, self._model.length, what)

  def sample(
    self, n: int = 10, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, seed: int = 0
  ) -> list[str]:
    """n sentences x ~ p(x|z), z ~ p(z); with temperature 0 the most probable word of each step.

    Raises:
      UserError: n < 1, or an invalid truncation.
    """
    errors.require(n >= 1, f"num = {n}; it must be 1 or more.")
    how = Truncation(temperature, top_k, top_p).check()
    draw = self._program(("sample", n, how), lambda m, key: m.generate(key, n, **how._asdict()))
    return self._texts(draw(jax.random.key(seed)))

  def encode(self, lines: Sequence[str], *, what: str = "") -> Codes:
    """The moments of q(z|x) of sentences.  Raises UserError, see inputs.encode; `what` names a line in messages."""
    batch = self._encoded(lines, what)

    def moments(m, batch):
      q = m.infer(batch)
      return q.mean(), jnp.sqrt(q.variance())

    run = self._program("encode", moments)
    parts = [run({k: a[i : i + ROWS] for k, a in batch.items()}) for i in range(0, len(batch["x"]), ROWS)]
    return Codes(*(np.concatenate(part) for part in zip(*parts, strict=True)))

  def decode(self, z: np.ndarray, *, beam: int = 5) -> list[str]:
    """The most probable sentences given z [N, L], by a search with `beam` beginnings; 1 is greedy.

    Raises:
      UserError: another shape of z, or beam < 1.
    """
    z = jnp.asarray(z, jnp.float32)
    errors.require(
      z.ndim == 2 and z.shape[1] == self.latent_dim, f"z has shape {list(z.shape)}; [N, {self.latent_dim}] is expected."
    )
    errors.require(beam >= 1, f"beam = {beam}; it must be 1 or more.")
    run = self._program(("decode", beam), lambda m, z: m.beam(z, beam)["x"])
    return self._texts(np.concatenate([run(z[i : i + ROWS]) for i in range(0, len(z), ROWS)]))

  def reconstruct(
    self, lines: Sequence[str], *, beam: int = 5, draws: int = 0, seed: int = 0, what: str = ""
  ) -> list[list[str]]:
    """For each sentence its reconstructions: from the mean of q(z|x), then from `draws` z ~ q(z|x).

    Raises:
      UserError: see encode and decode; draws < 0.
    """
    errors.require(draws >= 0, f"draws = {draws}; it must be 0 or more.")
    codes = self.encode(lines, what=what)
    noise = np.asarray(jax.random.normal(jax.random.key(seed), (draws, *codes.mean.shape)))
    all_z = np.concatenate([codes.mean[None], codes.mean + codes.deviation * noise])
    found = self.decode(all_z.reshape(-1, self.latent_dim), beam=beam)
    return [found[i :: len(lines)] for i in range(len(lines))]

  def interpolate(
    self, first: str, second: str, *, steps: int = 7, kind: str = "linear", beam: int = 5, what: str = ""
  ) -> list[str]:
    """The sentences along a path from the code of one sentence to that of another; see paths.between.

    Raises:
      UserError: see encode, decode and paths.between.
    """
    errors.choose("kind of interpolation", kind, paths.KINDS)
    errors.require(steps >= 2, f"steps = {steps}; a path has 2 or more, its ends.")
    a, b = self.encode([first, second], what=what).mean
    return self.decode(np.asarray(paths.between(jnp.asarray(a), jnp.asarray(b), steps, kind)), beam=beam)

  def score(
    self, lines: Sequence[str], *, num_samples: int = 100, chunk: int = 10, seed: int = 0, what: str = ""
  ) -> Scores:
    """log p(x) ~ log 1/K sum_k p(x, z_k) / q(z_k|x), K = num_samples, a bound in expectation, with its error.

    Raises:
      UserError: see encode; num_samples < 2.
    """
    errors.require(num_samples >= 2, f"num_samples = {num_samples}; it must be 2 or more.")
    batch = self._encoded(lines, what)

    def step(variables, key, batch):
      log_w = log_terms(self._model, variables, key, batch, num_samples, min(chunk, num_samples)).w
      error = jnp.sqrt(jnp.maximum(1 / estimators.effective_sample_size(log_w) - 1 / num_samples, 0.0))
      return {"log_px": estimators.iwae(log_w), "stderr": error}

    run = make_evaluate_examples(step, lambda key, batch: batch, ROWS)
    found = jax.device_get(run(self._variables, rng.stream(jax.random.key(seed), "score"), batch))
    return Scores(found["log_px"], found["stderr"], batch["length"])
