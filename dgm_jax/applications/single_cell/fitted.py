"""A trained model of cells: what its programs compute for arrays of cells, in batches."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import rng
from dgm_jax.core.batches import Arrays, take
from dgm_jax.core.evaluation import make_evaluate_examples
from dgm_jax.inference import estimators
from dgm_jax.inference.log_terms import log_terms

_BATCH = 128


def _identity(key: jax.Array, batch: dict) -> dict:
  del key
  return batch


class FittedCells:
  """A model with its state.  Results are NumPy arrays with a row for each cell; programs are compiled once each.

  Args:
    model, state: of a run.
    about: metadata of its data: genes, batches, classes.
    arrays: its cells, in the order of the file.
  """

  def __init__(self, model: Any, state: Any, about: dict, arrays: Arrays | None = None):
    self.model, self.state, self.about, self.arrays = model, state, dict(about), arrays
    self._programs: dict[Any, Callable] = {}

  def _bound(self, state: Any) -> Any:
    return self.model.bind({"params": state.params, **state.variables})

  def _run(self, name: str, make: Callable, arrays: Arrays, seed: int, batch_size: int = _BATCH) -> Any:
    if name not in self._programs:
      self._programs[name] = make_evaluate_examples(make(), _identity, batch_size)
    key = rng.stream(jax.random.key(seed), "cells")
    return jax.device_get(self._programs[name](self.state, key, arrays))

  def posterior(self, arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """(mean, variance) of q(z, log l | x), [N, L] or [N, L + 1]."""

    def make():
      def step(state, key, batch):
        del key
        q = self._bound(state).infer(batch)
        return {"mean": q.mean(), "variance": q.variance()}

      return step

    found = self._run("posterior", make, arrays, 0)
    return found["mean"], found["variance"]

  def _drawn(self, state: Any, key: jax.Array, batch: dict, at_mean: bool) -> Any:
    q = self._bound(state).infer(batch)
    return q.mean() if at_mean else q.sample(seed=key)

  def frequencies(self, arrays: Arrays, batch: int | None = None, at_mean: bool = False, seed: int = 0) -> np.ndarray:
    """rho at a draw z ~ q(z|x), or at its mean, [N, G]; with `batch`, as if all cells were of that batch."""
    if batch is not None:
      arrays = arrays | {"other": np.full(len(arrays["x"]), batch, np.int32)}

    def make():
      def step(state, key, b):
        z = self._drawn(state, key, b, at_mean)
        known = {k: v for k, v in b.items() if k != "other"}
        known = known | ({"batch": b["other"]} if "other" in b else {})
        return jnp.exp(self._bound(state).decode(known, z).log_rho)

      return step

    return self._run(f"frequencies {at_mean} {batch is None}", make, arrays, seed)

  def library(self, arrays: Arrays) -> np.ndarray:
    """l of each cell, [N]: E_q[log l] exponentiated where it is latent."""

    def make():
      def step(state, key, b):
        return jnp.exp(self._bound(state).log_library(b, self._drawn(state, key, b, True)))

      return step

    return self._run("library", make, arrays, 0)

  def predictive(self, arrays: Arrays, seed: int = 0) -> np.ndarray:
    """x ~ p(x | z), z ~ q(z|x), [N, G]."""

    def make():
      def step(state, key, b):
        key_z, key_x = jax.random.split(key)
        return self._bound(state).px_z(b, self._drawn(state, key_z, b, False)).sample(seed=key_x)

      return step

    return self._run("predictive", make, arrays, seed)

  def types(self, arrays: Arrays) -> np.ndarray:
    """q(y|z) at z = E_q[z|x] of scANVI, [N, C]."""

    def make():
      def step(state, key, b):
        del key
        return jnp.exp(self._bound(state).log_types(b))

      return step

    return self._run("types", make, arrays, 0)

  def log_terms(self, arrays: Arrays, num_samples: int, seed: int = 0) -> dict[str, np.ndarray]:
    """{log_px, elbo, ess, log_px_z}, each [N], by importance sampling with K samples; nats."""

    def make():
      def step(state, key, b):
        variables = {"params": state.params, **state.variables}
        terms = log_terms(self.model, variables, key, b, num_samples, min(num_samples, 50))
        found = {"log_px": estimators.iwae(terms.w), "elbo": estimators.elbo(terms.w)}
        return found | {"ess": estimators.effective_sample_size(terms.w), "log_px_z": jnp.mean(terms.px_z, 0)}

      return step

    return self._run(f"terms {num_samples}", make, arrays, seed, 50)

  def draws_of_frequencies(
    self, arrays: Arrays, cells: np.ndarray, batch: int | None = None, seed: int = 0
  ) -> np.ndarray:
    """rho of `cells` (indices, with repetitions), a draw of z for each, [M, G]."""
    return self.frequencies(take(arrays, cells), batch, False, seed)


class Rows:
  """The rows of several arrays [N_p, G], mapped from files, in another order, without a copy: x[slice or indices]."""

  def __init__(self, parts: list[np.ndarray], order: np.ndarray):
    self._parts, self._order = parts, order
    self._starts = np.cumsum([0, *map(len, parts)])
    self.shape, self.dtype, self.ndim = (len(order), *parts[0].shape[1:]), parts[0].dtype, parts[0].ndim

  def __len__(self) -> int:
    return len(self._order)

  def __getitem__(self, key: slice | np.ndarray) -> np.ndarray:
    wanted = self._order[key]
    found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
    for start, part in zip(self._starts, self._parts, strict=False):
      here = (wanted >= start) & (wanted < start + len(part))
      found[here] = part[wanted[here] - start]
    return found

  def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    del copy
    return self[:].astype(dtype or self.dtype)


def joined(parts: dict[str, Arrays]) -> Arrays:
  """The cells of all splits, in the order of the file (`row`), else of the splits; x is not copied."""
  names = functools.reduce(lambda a, b: a & b, (set(a) for a in parts.values())) - {"x"}
  arrays = {n: np.concatenate([np.asarray(a[n]) for a in parts.values()]) for n in names}
  order = np.argsort(arrays["row"], kind="stable") if "row" in arrays else np.arange(len(next(iter(arrays.values()))))
  return {"x": Rows([a["x"] for a in parts.values()], order)} | take(arrays, order)  # type: ignore[return-value]


def gene_moments(x: Any, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """(mean count, share of cells with a count) of each gene over `cells`, [G], in bounded memory."""
  total = positive = np.zeros(x.shape[1])
  for i in range(0, len(cells), 4096):
    block = x[cells[i : i + 4096]]
    total, positive = total + block.sum(0, dtype=np.float64), positive + (block > 0).sum(0)
  return total / max(1, len(cells)), positive / max(1, len(cells))
