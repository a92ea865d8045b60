"""Hidden Markov model with normal or categorical emissions (Baum et al., 1970; Rabiner, 1989)."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.models.mixtures.base import Params, sources
from dgm_jax.models.mixtures.covariances import KINDS
from dgm_jax.models.sequences import emissions, forward_backward
from dgm_jax.models.sequences.emissions import log_shares


class Statistics(NamedTuple):
  """Sums over sequences: of p(z_1|x) [C], of the pairs (z_t, z_t+1) [C, C], and what the emissions ask for."""

  initial: jax.Array
  transition: jax.Array
  emission: Any


class Model(nn.Module):
  """p(x, z) = pi(z_1) prod_t A(z_t-1, z_t) prod_t p(x_t | z_t); see hidden_markov and emissions.

  Of the principle `em`, whose step with all data is one of Baum & Welch, and of `own_bound`, by gradient.  An example
  is a sequence x [T, ...], of which the first batch["length"] steps count, all of them if there is no length.

  Attributes:
    data_shape: (T, ...) of one sequence.
    data_mean: the mean of the training set, flat, where means begin; None: 0.
    num_states: C.
    emission: "gaussian", of x_t as a vector, or "categorical", of x_t in 0 .. num_symbols - 1.
    covariance, floor, seeding: of "gaussian"; see emissions.Gaussian.
    num_symbols: of "categorical".
    smoothing: pseudo-counts s added to each entry of pi, A and the p_c of "categorical": a prior Dirichlet(1 + s),
      whose density is a part of the loss.
  """

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  num_states: int = 2
  emission: str = "gaussian"
  covariance: str = "full"
  floor: float = 1e-6
  seeding: str = "kmeans"
  num_symbols: int = 0
  smoothing: float = 0.0

  def _check(self) -> None:
    for name, choices in (("emission", ("gaussian", "categorical")), ("covariance", KINDS)):
      errors.require(
        getattr(self, name) in choices, f"{name} = {getattr(self, name)!r}; it must be one of {', '.join(choices)}"
      )
    errors.require(
      self.seeding in emissions.SEEDINGS,
      f"seeding = {self.seeding!r}; it must be one of {', '.join(emissions.SEEDINGS)}",
    )
    least = {"num_states": 1, "floor": 0, "smoothing": 0} | ({"num_symbols": 1} if self._is_categorical else {})
    for name, low in least.items():
      errors.require(getattr(self, name) >= low, f"{name} = {getattr(self, name)}; it must be {low} or more")
    errors.require(
      not self._is_categorical or self._dim <= 1,
      f"emission = 'categorical' is of one symbol a step; a step of x is {self._dim} numbers",
    )

  def setup(self):
    self._check()
    c = self.num_states
    self.log_initial = self.param("log_initial", lambda key: jnp.full(c, -math.log(c)))
    self.log_transition = self.param("log_transition", lambda key: jnp.full((c, c), -math.log(c)))
    mean = jnp.zeros(()) if self.data_mean is None else jnp.mean(jnp.asarray(self.data_mean).reshape(-1, self._dim), 0)
    self.emitted = {name: self.param(name, make) for name, make in self._family.initial(mean, c).items()}

  @property
  def _is_categorical(self) -> bool:
    return self.emission == "categorical"

  @property
  def _dim(self) -> int:
    return math.prod(self.data_shape[1:])

  @property
  def _family(self) -> emissions.Gaussian | emissions.Categorical:
    if self._is_categorical:
      return emissions.Categorical(self.num_symbols, self.smoothing)
    return emissions.Gaussian(self._dim, self.covariance, self.floor, self.seeding)

  @property
  def _params(self) -> Params:
    return {"log_initial": self.log_initial, "log_transition": self.log_transition, **self.emitted}

  @property
  def support(self) -> tuple[float, float]:
    """Of x."""
    return self._family.support

  @property
  def num_free_parameters(self) -> int:
    """Of pi, A and the emissions, for AIC and BIC."""
    return self.num_states**2 - 1 + self._family.size(self.num_states)

  def _steps(self, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """(the steps of all sequences, [B T, D], which are there, [B, T])."""
    x = batch["x"]
    b, t = x.shape[:2]
    length = batch.get("length", jnp.full(b, t))
    return x.reshape(b * t, -1).astype(jnp.promote_types(x.dtype, jnp.float32)), jnp.arange(t) < length[:, None]

  def chain(self, params: Params, batch: dict[str, jax.Array]) -> tuple[jax.Array, ...]:
    """What functions of hidden_markov take: log pi [C], log A [C, C], log p(x_t|z_t) [B, T, C], mask [B, T]."""
    x, mask = self._steps(batch)
    likelihood = self._family.log_prob(params, x).reshape(*mask.shape, self.num_states)
    return *(jax.nn.log_softmax(params[name]) for name in ("log_initial", "log_transition")), likelihood, mask

  def start(self, key: jax.Array, params: Params, batch: dict[str, jax.Array]) -> Params:
    """pi and A half way from uniform to random rows; emissions from all steps in a bag."""
    x, mask = self._steps(batch)
    key_fill, key_rows, key_x = jax.random.split(key, 3)
    there = mask.ravel()
    if "length" in batch:  # what is not there becomes a copy of something that is
      other = jax.random.choice(key_fill, x.shape[0], there.shape, p=there / jnp.sum(there))
      x = x[jnp.where(there, jnp.arange(x.shape[0]), other)]
    c, dtype = self.num_states, params["log_initial"].dtype
    rows = log_shares(1 / c + jax.random.dirichlet(key_rows, jnp.ones(c, dtype), (c + 1,)))
    return {"log_initial": rows[c], "log_transition": rows[:c], **self._family.start(key_x, x, c)}

  def e_step(
    self, params: Params, batch: dict[str, jax.Array], weight: jax.Array
  ) -> tuple[Statistics, dict[str, jax.Array]]:
    """(statistics, {"log_px", "penalty"}), sums over sequences that count `weight` [B] each."""
    initial, transition, likelihood, mask = self.chain(params, batch)
    penalised = likelihood - self._family.penalty(params)
    over_batch = lambda function: jax.vmap(function, (None, None, 0, 0))
    q = over_batch(forward_backward.posterior)(initial, transition, penalised, mask)
    log_px = q.log_px
    if self.floor > 0 and not self._is_categorical:
      log_px = over_batch(forward_backward.log_prob)(initial, transition, likelihood, mask)
    states = q.states * weight[:, None, None]
    emitted = self._family.sums(params, self._steps(batch)[0], states.reshape(-1, self.num_states).T)
    found = Statistics(jnp.sum(states[:, 0], 0), jnp.tensordot(weight, q.pairs, 1), emitted)
    return found, {"log_px": weight @ log_px, "penalty": weight @ (log_px - q.log_px)}

  def _counts(self, s: Statistics) -> jax.Array:
    """Expected steps in each state, [C]."""
    return s.initial + jnp.sum(s.transition, 0)

  def m_step(self, key: jax.Array, params: Params, s: Statistics) -> Params:
    """The parameters that maximise the expected log p(x, z), less the penalty, with the log-prior."""
    new = {
      "log_initial": log_shares(s.initial, self.smoothing),
      "log_transition": log_shares(s.transition, self.smoothing),
      **self._family.update(params, s.emission),
    }
    return self._revived(key, new, self._counts(s))

  def _revived(self, key: jax.Array, params: Params, count: jax.Array) -> Params:
    """`params`, the i-th empty state become a copy of the i-th heaviest that shares its visits, and shows other x.

    This may lower the likelihood, and it is all that does.
    """
    empty, source = sources(count)
    share = jnp.log(jnp.sum(source[:, None] == jnp.arange(self.num_states), 0))[source]
    return {
      "log_initial": params["log_initial"][source] - share,
      "log_transition": params["log_transition"][source][:, source] - share,
      **self._family.copied(key, params, source, empty),
    }

  def move(self, params: Params, s: Statistics, new: Params) -> Statistics:
    """The statistics in the coordinates of `new`."""
    return s._replace(emission=self._family.move(params, s.emission, new))

  def loss(self, params: Params, means: dict[str, jax.Array], num_examples: int) -> jax.Array:
    """What EM lowers: penalty - log p(x) - 1/N log p(parameters), nats a sequence."""
    rows = (jnp.sum(jax.nn.log_softmax(params[name])) for name in ("log_initial", "log_transition"))
    log_prior = self.smoothing * sum(rows) + self._family.log_prior(params)
    return means["penalty"] - means["log_px"] - log_prior / num_examples

  def log_prob(self, batch: dict[str, jax.Array]) -> jax.Array:
    """log p(x), nats, [B]."""
    return jax.vmap(forward_backward.log_prob, (None, None, 0, 0))(*self.chain(self._params, batch))

  def states(self, batch: dict[str, jax.Array]) -> jax.Array:
    """p(z_t | x), [B, T, C]; 0 where no step is."""
    return jax.vmap(forward_backward.posterior, (None, None, 0, 0))(*self.chain(self._params, batch)).states

  def paths(self, batch: dict[str, jax.Array]) -> jax.Array:
    """The z of the largest p(z|x), [B, T] (Viterbi)."""
    return jax.vmap(forward_backward.most_likely_path, (None, None, 0, 0))(*self.chain(self._params, batch))[0]

  def bound(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(log p(x) [B], {"log_px": the same}); nothing is drawn."""
    del key
    log_px = self.log_prob(batch)
    return log_px, {"log_px": log_px}

  def evaluate(self, key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """`log_px`, exact, nats, and `log_px_step`, that over the length, [B]."""
    found = self.bound(key, batch)[1]
    return found | {"log_px_step": found["log_px"] / jnp.maximum(jnp.sum(self._steps(batch)[1], 1), 1)}

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x), [n, T, ...]; with `mean`, what is expected of z ~ p(z)."""
    key_z, key_x = jax.random.split(key)
    rows = [jax.nn.log_softmax(a) for a in (self.log_initial, self.log_transition)]
    z = jax.vmap(lambda key: forward_backward.draw_chain(key, *rows, self.data_shape[0]))(jax.random.split(key_z, n))
    if mean:
      x = self._family.expected(self._params, jax.nn.one_hot(z.ravel(), self.num_states))
    else:
      x = self._family.draw(key_x, self._params, z.ravel())
    return x.reshape(n, *self.data_shape)

  def reconstruct_batch(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """What is expected of z ~ p(z_t|x) at each step, [B, T, ...]."""
    del key
    weights = self.states(batch).reshape(-1, self.num_states)
    return self._family.expected(self._params, weights).reshape(-1, *self.data_shape)

  def __call__(self, batch: dict[str, jax.Array]) -> jax.Array:
    """Touches every parameter, for `init`."""
    return self.log_prob(batch)
