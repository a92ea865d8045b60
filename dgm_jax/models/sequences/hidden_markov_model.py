"""Hidden Markov model with normal or categorical emissions (Baum et al., 1970; Rabiner, 1989)."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.models.base import ExactLikelihood, require_at_least, require_one_of
from dgm_jax.models.mixtures.base import Params, log_shares, sources
from dgm_jax.models.mixtures.covariances import KINDS
from dgm_jax.models.sequences import emissions, forward_backward


class Statistics(NamedTuple):
  """Sums over sequences: p(z_1|x) [C], expected pairs (z_t, z_t+1) [C, C], and the sums of the emission family."""

  initial: jax.Array
  transition: jax.Array
  emission: Any


class Model(ExactLikelihood):
  """p(x, z) = pi(z_1) prod_t A(z_t-1, z_t) prod_t p(x_t | z_t); see forward_backward and emissions.

  For the principle `em`, whose step on all data is one of Baum & Welch, and for `own_bound`, by gradient.  An
  example is a sequence x [T, ...], of which the first batch["length"] steps are used, all of them without a length.

  Attributes:
    data_shape: (T, ...), the shape of one sequence.
    data_mean: the mean of the training set, flat, where means start; None: 0.
    num_states: C.
    emission: "gaussian", for x_t as a vector, or "categorical", for x_t in 0 .. num_symbols - 1.
    covariance, floor, seeding: options of "gaussian"; see emissions.Gaussian.
    num_symbols: option of "categorical".
    smoothing: pseudo-counts s added to each entry of pi, A and the p_c of "categorical": a prior Dirichlet(1 + s),
      whose density is part of the loss.
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
    require_one_of(("gaussian", "categorical"), emission=self.emission)
    require_one_of(KINDS, covariance=self.covariance)
    require_one_of(emissions.SEEDINGS, seeding=self.seeding)
    require_at_least(1, num_states=self.num_states)
    require_at_least(0, floor=self.floor, smoothing=self.smoothing)
    if self._is_categorical:
      require_at_least(1, num_symbols=self.num_symbols)
      errors.require(
        self._dim <= 1, f"emission = 'categorical' needs one symbol per step; a step of x is {self._dim} numbers"
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
    """The range of x."""
    return self._family.support

  @property
  def num_free_parameters(self) -> int:
    """Free parameters in pi, A and the emissions, for AIC and BIC."""
    return self.num_states**2 - 1 + self._family.size(self.num_states)

  def _steps(self, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """(the steps of all sequences [B T, D], a mask of the steps within their length [B, T])."""
    x = batch["x"]
    b, t = x.shape[:2]
    length = batch.get("length", jnp.full(b, t))
    return x.reshape(b * t, -1).astype(jnp.promote_types(x.dtype, jnp.float32)), jnp.arange(t) < length[:, None]

  def chain(self, params: Params, batch: dict[str, jax.Array]) -> tuple[jax.Array, ...]:
    """Arguments of forward_backward: log pi [C], log A [C, C], log p(x_t|z_t) [B, T, C], mask [B, T]."""
    x, mask = self._steps(batch)
    likelihood = self._family.log_prob(params, x).reshape(*mask.shape, self.num_states)
    return *(jax.nn.log_softmax(params[name]) for name in ("log_initial", "log_transition")), likelihood, mask

  def start(self, key: jax.Array, params: Params, batch: dict[str, jax.Array]) -> Params:
    """pi and A half-way from uniform to random rows; emissions from all steps, regardless of their order."""
    x, mask = self._steps(batch)
    key_fill, key_rows, key_x = jax.random.split(key, 3)
    valid = mask.ravel()
    if "length" in batch:  # padding becomes copies of random steps
      other = jax.random.choice(key_fill, x.shape[0], valid.shape, p=valid / jnp.sum(valid))
      x = x[jnp.where(valid, jnp.arange(x.shape[0]), other)]
    c, dtype = self.num_states, params["log_initial"].dtype
    rows = log_shares(1 / c + jax.random.dirichlet(key_rows, jnp.ones(c, dtype), (c + 1,)))
    return {"log_initial": rows[c], "log_transition": rows[:c], **self._family.start(key_x, x, c)}

  def e_step(
    self, params: Params, batch: dict[str, jax.Array], weight: jax.Array
  ) -> tuple[Statistics, dict[str, jax.Array]]:
    """(statistics, {"log_px", "penalty"}), sums over sequences with weights `weight` [B]."""
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
    """Expected number of steps in each state, [C]."""
    return s.initial + jnp.sum(s.transition, 0)

  def m_step(self, key: jax.Array, params: Params, s: Statistics) -> Params:
    """The parameters that maximise the expected log p(x, z) less the penalty plus the log-prior."""
    new = {
      "log_initial": log_shares(s.initial, self.smoothing),
      "log_transition": log_shares(s.transition, self.smoothing),
      **self._family.update(params, s.emission),
    }
    return self._restart_empty(key, new, self._counts(s))

  def _restart_empty(self, key: jax.Array, params: Params, count: jax.Array) -> Params:
    """`params` with the i-th empty state a copy of the i-th heaviest that shares its visits, with other emissions.

    Only this can lower the likelihood.
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
    """What EM minimises: penalty - log p(x) - 1/N log p(parameters), nats per sequence."""
    rows = (jnp.sum(jax.nn.log_softmax(params[name])) for name in ("log_initial", "log_transition"))
    log_prior = self.smoothing * sum(rows) + self._family.log_prior(params)
    return means["penalty"] - means["log_px"] - log_prior / num_examples

  def log_prob(self, batch: dict[str, jax.Array]) -> jax.Array:
    """log p(x), nats, [B]."""
    return jax.vmap(forward_backward.log_prob, (None, None, 0, 0))(*self.chain(self._params, batch))

  def states(self, batch: dict[str, jax.Array]) -> jax.Array:
    """p(z_t | x), [B, T, C]; 0 for padding."""
    return jax.vmap(forward_backward.posterior, (None, None, 0, 0))(*self.chain(self._params, batch)).states

  def paths(self, batch: dict[str, jax.Array]) -> jax.Array:
    """argmax_z p(z|x), [B, T] (Viterbi)."""
    return jax.vmap(forward_backward.most_likely_path, (None, None, 0, 0))(*self.chain(self._params, batch))[0]

  def evaluate(self, key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """`log_px`, exact, nats, and `log_px_step`, log_px over the length, [B]."""
    found = super().evaluate(key, batch)
    return found | {"log_px_step": found["log_px"] / jnp.maximum(jnp.sum(self._steps(batch)[1], 1), 1)}

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x), [n, T, ...]; with `mean`, E[x|z] (the most probable symbols) at z ~ p(z)."""
    key_z, key_x = jax.random.split(key)
    rows = [jax.nn.log_softmax(a) for a in (self.log_initial, self.log_transition)]
    z = jax.vmap(lambda key: forward_backward.draw_chain(key, *rows, self.data_shape[0]))(jax.random.split(key_z, n))
    if mean:
      x = self._family.expected(self._params, jax.nn.one_hot(z.ravel(), self.num_states))
    else:
      x = self._family.draw(key_x, self._params, z.ravel())
    return x.reshape(n, *self.data_shape)

  def reconstruct_batch(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """E[x_t], or the most probable symbol, under p(z_t|x) at each step, [B, T, ...]."""
    del key
    weights = self.states(batch).reshape(-1, self.num_states)
    return self._family.expected(self._params, weights).reshape(-1, *self.data_shape)
