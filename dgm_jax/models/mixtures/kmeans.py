"""k-means: Lloyd's algorithm, EM with responsibilities 0 and 1."""

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.models.mixtures import base
from dgm_jax.models.mixtures.base import Params, positive


class Statistics(NamedTuple):
  """Sums over the examples of a cluster: their number [C], x - centre [C, D], |x - centre|^2 [C]."""

  count: jax.Array
  first: jax.Array
  square: jax.Array


class Model(base.Clusters):
  """Each x belongs to the nearest of C centres, each centre is the mean of its examples (Lloyd, 1982).

  The loss is the distortion, the mean of |x - nearest centre|^2: scikit-learn's inertia over N.  There is no p(x); a
  draw is a centre, chosen by its share of the data, plus normal noise with the cluster's standard deviation.
  """

  support: ClassVar[tuple[float, float]] = (-math.inf, math.inf)  # range of x
  names: ClassVar[Sequence[str]] = ("means", "scales")

  def setup(self):
    super().setup()
    c = self.num_components
    self.means = self.param("means", self._some_means(0.1), (c, self._dim))
    self.scales = self.param("scales", lambda key: jnp.ones(c))

  def responsibilities(self, batch: dict[str, jax.Array]) -> jax.Array:
    """1 for the nearest centre and 0 for the others, [B, C]."""
    square = base.distances(self.flat(batch), self.means)
    return jax.nn.one_hot(jnp.argmin(square, 1), self.num_components, dtype=square.dtype)

  def component_means(self, params: Params) -> jax.Array:
    """[C, D]."""
    return params["means"]

  def draw(self, key: jax.Array, params: Params, component: jax.Array) -> jax.Array:
    """x ~ N(centre_c, scale_c^2 I), [n, D]."""
    noise = jax.random.normal(key, (component.shape[0], self._dim), params["means"].dtype)
    return params["means"][component] + params["scales"][component][:, None] * noise

  def moved(self, params: Params, x: jax.Array) -> Params:
    """`params` with centres x."""
    return params | {"means": x}

  def start(self, key: jax.Array, params: Params, batch: dict[str, jax.Array]) -> Params:
    """Centres at seeds."""
    return params | {"means": self.seeds(key, self.flat(batch))}

  def e_step(
    self, params: Params, batch: dict[str, jax.Array], weight: jax.Array
  ) -> tuple[Statistics, dict[str, jax.Array]]:
    """(statistics, {"distortion"}), sums over examples with weights `weight` [B]."""
    x = self.flat(batch)
    square = base.distances(x, params["means"])
    own = jax.nn.one_hot(jnp.argmin(square, 1), self.num_components, dtype=x.dtype, axis=0) * weight
    count, squares = jnp.sum(own, 1), jnp.sum(own * square.T, 1)
    first = own @ x - count[:, None] * params["means"]
    return Statistics(count, first, squares), {"distortion": jnp.sum(squares)}

  def m_step(self, key: jax.Array, params: Params, s: Statistics) -> Params:
    """The mean of each cluster."""
    by = s.first / positive(s.count)[:, None]
    left = s.square / positive(s.count) - jnp.sum(jnp.square(by), 1)
    scales = jnp.sqrt(jnp.maximum(left, 0) / self._dim)
    return self.reseed_empty(key, params | {"means": params["means"] + by, "scales": scales}, s.count)

  def move(self, params: Params, s: Statistics, new: Params) -> Statistics:
    """The sums about the centres of `new`."""
    by, count = new["means"] - params["means"], s.count[:, None]
    square = s.square - 2 * jnp.sum(by * s.first, 1) + s.count * jnp.sum(jnp.square(by), 1)
    return Statistics(s.count, s.first - count * by, square)

  def loss(self, params: Params, means: dict[str, jax.Array], num_examples: int) -> jax.Array:
    """The distortion."""
    del params, num_examples
    return means["distortion"]

  def evaluate(self, key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """`distortion`, |x - nearest centre|^2, [B]."""
    del key
    return {"distortion": jnp.min(base.distances(self.flat(batch), self.means), 1)}

  def __call__(self, batch: dict[str, jax.Array]) -> jax.Array:
    """Uses every parameter, for `init`."""
    return self.responsibilities(batch)
