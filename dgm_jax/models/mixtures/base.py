"""What mixtures share, p(x) = sum_c pi_c p(x|c): initialisation, responsibilities, and restarts of empty components."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.models.base import ExactLikelihood, require_at_least, require_one_of

NEAR = 1e3  # |mean_c - centre|^2 over the own cluster's, up to which squares about a common centre keep four digits
Params = dict[str, jax.Array]
_EMPTY = 1e-6  # share of all examples below which a sum in float32 may be rounding error


def spread_out(key: jax.Array, x: jax.Array, num: int) -> jax.Array:
  """Rows of x [N, D] by k-means++ (Arthur & Vassilvitskii, 2007).

  A row is drawn by its squared distance to the nearest row drawn before; rows repeat where no others are left.
  """

  def next_row(distance, key):
    row = x[jax.random.categorical(key, jnp.log(distance + jnp.finfo(x.dtype).tiny))]
    return jnp.minimum(distance, jnp.sum(jnp.square(x - row), 1)), row

  alike = jnp.full(x.shape[0], jnp.finfo(x.dtype).max, x.dtype)  # the first row is drawn uniformly
  return jax.lax.scan(next_row, alike, jax.random.split(key, num))[1]


def random_rows(key: jax.Array, x: jax.Array, num: int) -> jax.Array:
  """Rows of x [N, D], drawn uniformly, without replacement if there are enough."""
  return x[jax.random.choice(key, x.shape[0], (num,), replace=x.shape[0] < num)]


def distances(x: jax.Array, means: jax.Array) -> jax.Array:
  """|x - mean_c|^2, [B, C], accurate also for clusters that are far apart relative to their width."""
  centre = jnp.mean(means, 0)
  at, to = x - centre, means - centre
  size = jnp.sum(jnp.square(to), 1)
  square = jnp.maximum(jnp.sum(jnp.square(at), 1, keepdims=True) - 2 * at @ to.T + size, 0)
  near = jnp.max(size) < NEAR * jnp.mean(jnp.min(square, 1))
  return jax.lax.cond(near, lambda: square, lambda: distances_by_nearest(x, means, jnp.argmin(square, 1)))


def distances_by_nearest(x: jax.Array, means: jax.Array, nearest: jax.Array) -> jax.Array:
  """|x - mean_c|^2, [B, C], from r = x - mean_k, k the nearest [B], up to rounding:

    |x - mean_c|^2 = |r|^2 + |mean_c - mean_k|^2 - 2 r'(mean_c - mean_k).

  Squares about one centre for all x are rounded more coarsely than the distance to the own mean.
  """
  r = x - means[nearest]
  apart = jnp.sum(jnp.square(means[:, None] - means), 2)
  along = r @ (means - jnp.mean(means, 0)).T  # [B, C]
  own = jnp.take_along_axis(along, nearest[:, None], 1)
  return jnp.maximum(jnp.sum(jnp.square(r), 1, keepdims=True) + apart[nearest] - 2 * (along - own), 0)


def scale_about(x: jax.Array, means: jax.Array, floor: float) -> jax.Array:
  """The square root of each entry's variance about the nearest mean plus the floor, [D]."""
  nearest = jnp.argmin(distances(x, means), 1)
  scale = jnp.sqrt(jnp.mean(jnp.square(x - means[nearest]), 0) + floor)
  largest = jnp.max(scale)  # an entry that seldom varies may be constant about the seeds
  return jnp.maximum(scale, jnp.where(largest > 0, 1e-3 * largest, 1.0))


def sources(count: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(which components are empty [C], the component that each will be a copy of [C], itself if it is not empty).

  A component is empty if it has less than a millionth of the total of `count`, [C].
  """
  empty = count < _EMPTY * jnp.sum(count)
  source = jnp.where(empty, jnp.argsort(-count)[jnp.cumsum(empty) - 1], jnp.arange(count.shape[0]))
  return empty, jnp.where(empty & empty[source], jnp.argmax(count), source)  # if most are empty


def log_shares(count: jax.Array, smoothing: float = 0.0, floor: float | None = None) -> jax.Array:
  """log of the shares of (count + smoothing) along the last axis, uniform where all are 0; count [..., C].

  A share is never below `floor`: None for the smallest normal number; with 0 an empty share is -inf.
  """
  count = count + smoothing
  total = jnp.sum(count, -1, keepdims=True)
  shares = jnp.where(total == 0, 1 / count.shape[-1], count / jnp.where(total == 0, 1.0, total))  # NaN stays NaN
  return jnp.log(jnp.maximum(shares, jnp.finfo(count.dtype).tiny if floor is None else floor))


def positive(mass: jax.Array) -> jax.Array:
  """`mass` [C] without zeros, to divide by: parameters of an empty component are arbitrary, but finite."""
  return jnp.maximum(mass, 1e-12 * jnp.sum(mass))


class Clusters(nn.Module):
  """A model for the principle `em` that assigns x to one of C components.

  A subclass adds start, e_step and m_step of the principle, its parameters in setup, in addition to "log_weights",
  log pi [C] up to a constant, and

    responsibilities(batch)          -> p(c|x), [B, C]
    component_means(params)          -> E[x|c], [C, D]
    draw(key, params, c [n])         -> x ~ p(x|c), [n, D]
    moved(params, x [C, D])          -> params with the components' locations at x

  Attributes:
    data_shape: the shape of one x.
    data_mean: the mean of the training set, flat; None: 0.
    num_components: C.
    seeding: where components start: "spread", see spread_out, or "random", at random examples.
  """

  names: ClassVar[Sequence[str]] = ()  # the parameters other than log_weights

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  num_components: int = 10
  seeding: str = "spread"

  def setup(self):
    require_at_least(1, num_components=self.num_components)
    require_one_of(("spread", "random"), seeding=self.seeding)
    c = self.num_components
    self.log_weights = self.param("log_weights", lambda key: jnp.full(c, -jnp.log(c)))

  @property
  def _dim(self) -> int:
    return math.prod(self.data_shape)

  @property
  def _params(self) -> Params:
    return {name: getattr(self, name) for name in ("log_weights", *self.names)}

  @property
  def per_component(self) -> Sequence[str]:
    """Names of the parameters with a leading component axis, [C, ...]."""
    return self.names

  def _some_means(self, scale: float) -> Any:
    """An initialiser: the mean of the data plus normal noise of standard deviation `scale`."""
    mean = 0.0 if self.data_mean is None else jnp.asarray(self.data_mean)
    return lambda key, shape: mean + scale * jax.random.normal(key, shape)

  def seeds(self, key: jax.Array, x: jax.Array) -> jax.Array:
    """Examples to start the components from, [C, D]."""
    if self.seeding == "spread":
      return spread_out(key, x, self.num_components)
    return random_rows(key, x, self.num_components)

  def near(self, key: jax.Array, params: Params, component: jax.Array) -> jax.Array:
    """Locations for copies of components, [n, D]: draws from these components [n]."""
    return self.draw(key, params, component)

  def reseed_empty(self, key: jax.Array, params: Params, count: jax.Array) -> Params:
    """`params` with the i-th empty component replaced by a copy of the i-th heaviest, at another location.

    Only this can lower the likelihood.  count: the sums of responsibilities, [C].
    """
    empty, source = sources(count)
    copies = jnp.sum(source[:, None] == jnp.arange(self.num_components), 0)
    copied = {name: a[source] if name in self.per_component else a for name, a in params.items()}
    copied["log_weights"] = log_shares(count[source] / copies[source], floor=0.0)
    new = self.moved(copied, self.near(key, copied, jnp.arange(self.num_components)))
    chosen = lambda a, b: jnp.where(empty.reshape(-1, *[1] * (a.ndim - 1)), a, b)
    return copied | {name: chosen(new[name], copied[name]) for name in self.per_component}

  def flat(self, batch: dict[str, jax.Array]) -> jax.Array:
    """x as floats, [B, D]."""
    x = batch["x"]
    return x.reshape(x.shape[0], -1).astype(jnp.promote_types(x.dtype, jnp.float32))

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x), [n, *data_shape]; with `mean`, E[x|c] at c ~ pi."""
    key_c, key_x = jax.random.split(key)
    component = jax.random.categorical(key_c, self.log_weights, shape=(n,))
    x = self.component_means(self._params)[component] if mean else self.draw(key_x, self._params, component)
    return x.reshape(n, *self.data_shape)

  def reconstruct_batch(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """sum_c p(c|x) E[x|c], [B, *data_shape]."""
    del key
    return (self.responsibilities(batch) @ self.component_means(self._params)).reshape(-1, *self.data_shape)

  def clusters(self) -> jax.Array:
    """E[x|c] in order of decreasing weight, [C, *data_shape]."""
    means = self.component_means(self._params)[jnp.argsort(-self.log_weights)]
    return means.reshape(-1, *self.data_shape)


class Mixture(Clusters, ExactLikelihood):
  """p(x) = sum_c pi_c p(x|c) for the principle `em`, and for `own_bound`, by gradient.

  In addition to the methods of Clusters, a subclass adds log_components(params, x [B, D]) -> log p(x|c), [B, C].
  """

  def log_joint(self, params: Params, x: jax.Array) -> jax.Array:
    """log p(x, c), [B, C]; x [B, D]."""
    return jax.nn.log_softmax(params["log_weights"]) + self.log_components(params, x)

  def e_step_with(
    self, params: Params, x: jax.Array, weight: jax.Array, penalty: jax.Array | float = 0.0
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The common part of E-steps: (responsibilities times weight [C, B], sums of {"log_px", "penalty"}).

    Args:
      params: see log_joint.
      x: [B, D].
      weight: weights of the examples, [B].
      penalty: r [C], for EM on log sum_c p(x, c) exp(-r_c) = log p(x) - penalty.
    """
    log_joint = self.log_joint(params, x)
    log_px, penalised = (jax.scipy.special.logsumexp(a, 1) for a in (log_joint, log_joint - penalty))
    responsibility = jnp.exp(log_joint - penalty - penalised[:, None])
    return (responsibility * weight[:, None]).T, {"log_px": weight @ log_px, "penalty": weight @ (log_px - penalised)}

  def loss(self, params: Params, means: dict[str, jax.Array], num_examples: int) -> jax.Array:
    """The loss that EM minimises, from the means of the terms that the E-step reports."""
    del params, num_examples
    return means["penalty"] - means["log_px"]

  def log_prob(self, batch: dict[str, jax.Array]) -> jax.Array:
    """log p(x), nats, [B]."""
    return jax.scipy.special.logsumexp(self.log_joint(self._params, self.flat(batch)), 1)

  def responsibilities(self, batch: dict[str, jax.Array]) -> jax.Array:
    """p(c|x), [B, C]."""
    return jax.nn.softmax(self.log_joint(self._params, self.flat(batch)), 1)
