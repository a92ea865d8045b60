"""C, the controller: a small function of (z, h, c), whose parameters are a vector that evolution changes."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import errors

# kind: (what it reads, whether it has a bias, whether it has a hidden layer)
KINDS = {
  "z": ("z", True, False),
  "hidden": ("z", True, True),
  "zh": ("zh", True, False),
  "zch": ("zch", False, False),
}
NUM_HIDDEN = 40


class Controller(NamedTuple):
  """raw action = W f + b, or W tanh(V f + u) + b, of f = z, (z, h) or (z, c, h).

  Attributes:
    kind: of KINDS: "z" (V alone), "hidden" (V alone, 40 tanh units), "zh" with bias, "zch" without.
    latent_dim, hidden: sizes of z, and of h and c.
    outputs: numbers that it gives.
  """

  kind: str
  latent_dim: int
  hidden: int
  outputs: int

  @property
  def num_features(self) -> int:
    """The size of f."""
    return self.latent_dim + self.hidden * (len(KINDS[self.kind][0]) - 1)

  @property
  def num_params(self) -> int:
    """The length of the vector of parameters: 867 for z 32, h 256 and 3 actions; 1,088 for (z, c, h), 64 and 512."""
    _, bias, has_hidden = KINDS[self.kind]
    if has_hidden:
      return NUM_HIDDEN * (self.num_features + 1) + self.outputs * (NUM_HIDDEN + 1)
    return self.outputs * (self.num_features + bias)

  def features(self, z: jax.Array, h: jax.Array, c: jax.Array) -> jax.Array:
    """f, [..., F]."""
    reads = KINDS[self.kind][0]
    parts = {"z": z, "h": h, "c": c}
    return jnp.concatenate([parts[name] for name in reads], -1)

  def act(self, params: jax.Array, z: jax.Array, h: jax.Array, c: jax.Array) -> jax.Array:
    """The raw action of each row, [n, outputs]; params [n, num_params], z [n, L], h and c [n, H]."""
    _, bias, has_hidden = KINDS[self.kind]
    f, n = self.features(z, h, c), z.shape[0]

    def linear(f, params, outputs, bias):
      size = f.shape[1] * outputs
      y = jnp.sum(params[:, :size].reshape(n, outputs, f.shape[1]) * f[:, None], -1)
      used = size + outputs * bias
      return (y + params[:, size:used] if bias else y), params[:, used:]

    if has_hidden:
      f, params = linear(f, params, NUM_HIDDEN, True)
      f = jnp.tanh(f)
    return linear(f, params, self.outputs, bias)[0]


def make(kind: str, latent_dim: int, hidden: int, outputs: int) -> Controller:
  """A controller.  Raises UserError for an unknown kind."""
  return Controller(errors.choose("controller", kind, KINDS), latent_dim, hidden, outputs)


def _car(raw: jax.Array) -> jax.Array:
  """Steering in [-1, 1], gas (tanh + 1) / 2, brake tanh clipped at 0."""
  a = jnp.tanh(raw)
  return jnp.stack([a[..., 0], (a[..., 1] + 1) / 2, jnp.maximum(a[..., 2], 0.0)], -1)


def _one_hot(raw: jax.Array) -> jax.Array:
  return jax.nn.one_hot(jnp.argmax(raw, -1), raw.shape[-1])


def _box(raw: jax.Array, low: tuple[float, ...], high: tuple[float, ...]) -> jax.Array:
  low, high = jnp.asarray(low), jnp.asarray(high)
  return low + (high - low) * (jnp.tanh(raw) + 1) / 2


def squash(name: str, low: tuple[float, ...] = (), high: tuple[float, ...] = ()) -> Callable[[jax.Array], jax.Array]:
  """raw action -> action, as the environment and M read it.

  Args:
    name: "tanh" (each in [-1, 1]), "car", "one_hot" (the greatest of several), or "box" between low and high.
    low, high: of a box.
  """
  if name == "box":
    return functools.partial(_box, low=low, high=high)
  return {"tanh": jnp.tanh, "car": _car, "one_hot": _one_hot}[errors.choose("action", name, ("tanh", "car", "one_hot"))]
