"""p(x_d | x_S) of every column of a table given any others, by one residual network: a deep orderless NADE."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.distributions.factorised import sum_last

_MIN_SCALE = 1e-2  # of a component; a column with few distinct values would otherwise have an unbounded density
_DENSITY = 0.1  # weight of the density's part of the loss: more of it raised the squared error of the mean
_LOG_2PI = math.log(2 * math.pi)


class Entries(NamedTuple):
  """A batch of rows: numbers and classes, each with what is known of them.

  Attributes:
    z: numbers [B, D], in the scale of the density.
    y: the same numbers in the scale of the squared error, [B, D].
    c: classes 0 .. C - 1, int32 [B, E].
    of_z, of_c: 1 where an entry is known, [B, D] and [B, E]; other values have no influence.
  """

  z: jax.Array
  y: jax.Array
  c: jax.Array
  of_z: jax.Array
  of_c: jax.Array


class Predicted(NamedTuple):
  """What the network says of every entry, whether it is known or not.

  Attributes:
    mean: E[y_d | x_S], [B, D].
    log_share, loc, scale: the normal components of p(z_d | x_S), [B, D, K].
    log_p: log P(c_e | x_S), [B, E, C].
  """

  mean: jax.Array
  log_share: jax.Array
  loc: jax.Array
  scale: jax.Array
  log_p: jax.Array


class Conditionals(nn.Module):
  """One network for p(x_d | x_S) of all d and S (Uria, Murray & Larochelle, 2014), trained to denoise.

    h_0 = a(V [m x, m]),   h_l = h_{l-1} + a(W_l h_{l-1}),   outputs U h_L,   a = GELU,   m = 1_S.

  Training hides each known entry of a row with a probability r ~ U(low, high), new at every step, and sums over hidden
  entries d

    -log p(z_d | x_S) + (y_d - mean_d)^2 / 2     of numbers,     -log P(c_d | x_S)     of classes:

  the loss of a denoising autoencoder (Vincent et al., 2008; for imputation Gondara & Wang, 2018), with a density as in
  orderless NADE, whose sets S have sizes uniform on 0 .. D - 1.  The minimum of the second term is the conditional mean
  of y, so that a monotone map between y and z needs no quadrature for it.

  Attributes:
    num_numbers, num_classified, num_classes: D, E and C; a column may have fewer classes, see `classes`.
    hidden: width of the hidden layers.
    blocks: L.
    components: K, the normal components of a number's density.
    dropout: probability that a unit of a block's output is dropped in training.
    low, high: the range of r.
  """

  num_numbers: int
  num_classified: int
  num_classes: int
  hidden: int = 256
  blocks: int = 3
  components: int = 3
  dropout: float = 0.1
  low: float = 0.05
  high: float = 0.5

  @nn.compact
  def __call__(self, x: Entries, classes: jax.Array) -> Predicted:
    """What is said of all entries given the known ones; classes [E], the number of classes of each column."""
    d, e, c, k = self.num_numbers, self.num_classified, self.num_classes, self.components
    one_hot = jax.nn.one_hot(x.c, c) * x.of_c[..., None]
    known = jnp.where(x.of_z > 0, x.z, 0.0)
    parts = [known, x.of_z, one_hot.reshape(*x.c.shape[:-1], e * c), x.of_c]
    drop = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))
    h = nn.gelu(nn.Dense(self.hidden)(jnp.concatenate(parts, -1)))
    for _ in range(self.blocks):
      h = h + drop(nn.gelu(nn.Dense(self.hidden)(h)))
    out = nn.Dense(d * (1 + 3 * k) + e * c, kernel_init=nn.initializers.variance_scaling(0.1, "fan_in", "normal"))(h)
    numbers = out[..., : d * (1 + 3 * k)].reshape(*out.shape[:-1], d, 1 + 3 * k)
    share, loc, scale = jnp.split(numbers[..., 1:], 3, -1)
    logits = out[..., d * (1 + 3 * k) :].reshape(*out.shape[:-1], e, c)
    logits = jnp.where(jnp.arange(c) < classes[:, None], logits, -jnp.inf)
    apart = jnp.linspace(-1.0, 1.0, k) if k > 1 else jnp.zeros(1)
    return Predicted(
      numbers[..., 0],
      jax.nn.log_softmax(share),
      loc + apart,
      jax.nn.softplus(scale + 0.5) + _MIN_SCALE,
      jax.nn.log_softmax(logits),
    )

  def hide(self, key: jax.Array, x: Entries) -> tuple[Entries, jax.Array, jax.Array]:
    """(x with known entries hidden at a rate of their row's own, 1 where a number and where a class was hidden)."""
    key_rate, key_z, key_c = jax.random.split(key, 3)
    rate = jax.random.uniform(key_rate, (x.z.shape[0], 1), minval=self.low, maxval=self.high)
    of_z = x.of_z * (jax.random.uniform(key_z, x.of_z.shape) >= rate)
    of_c = x.of_c * (jax.random.uniform(key_c, x.of_c.shape) >= rate)
    return x._replace(of_z=of_z, of_c=of_c), x.of_z - of_z, x.of_c - of_c


def log_normals(p: Predicted, z: jax.Array) -> jax.Array:
  """log p(z_d | x_S), nats, [B, D]."""
  squares = jnp.square((z[..., None] - p.loc) / p.scale)
  return jax.nn.logsumexp(p.log_share - 0.5 * squares - jnp.log(p.scale) - 0.5 * _LOG_2PI, -1)


def log_classes(p: Predicted, c: jax.Array) -> jax.Array:
  """log P(c_e | x_S), nats, [B, E]."""
  return jnp.take_along_axis(p.log_p, c[..., None], -1)[..., 0]


def losses(p: Predicted, x: Entries, of_z: jax.Array, of_c: jax.Array) -> jax.Array:
  """The loss of each row, [B], summed over the entries with of_z [B, D] or of_c [B, E] 1."""
  z, y = jnp.where(of_z > 0, x.z, 0.0), jnp.where(of_z > 0, x.y, 0.0)
  numbers = jnp.where(of_z > 0, 0.5 * jnp.square(y - p.mean) - _DENSITY * log_normals(p, z), 0.0)
  classes = jnp.where(of_c > 0, -log_classes(p, jnp.where(of_c > 0, x.c, 0)), 0.0)
  return sum_last(numbers) + sum_last(classes)
