"""Missing processes p(m|x) = prod_d Bernoulli(m_d; sigmoid(l_d)), m_d = 1 where x_d is observed: Ipsen et al. (2021).

`missing_process` of a model names one of PROCESSES, or is IGNORABLE: where entries are missing (completely) at random,
p(m|x) does not depend on x_missing and is left out (Rubin, 1976).
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors, options
from dgm_jax.networks.mlp import MLP

IGNORABLE = "ignorable"


class SelfMasking(nn.Module):
  """l_d = -w_d (x_d - b_d): whether x_d is missing depends on x_d alone.

  Attributes:
    dim: D.
  """

  dim: int
  sees: ClassVar[str] = "x"

  def setup(self):
    self.slope = self.param("slope", nn.initializers.glorot_uniform(), (1, self.dim))
    self.offset = self.param("offset", nn.initializers.glorot_uniform(), (1, self.dim))

  def __call__(self, x: jax.Array) -> jax.Array:
    """The logits l [..., D] of x [..., D]."""
    return -self.slope * (x - self.offset)


class SignedSelfMasking(SelfMasking):
  """l_d = -s_d softplus(w_d) (x_d - b_d), where large (s_d = 1) or small (-1) values are known to go missing.

  Attributes:
    sign: s, one number or one for each d, 1 or -1.
  """

  sign: float | Sequence[float] = 1.0

  def __call__(self, x: jax.Array) -> jax.Array:
    """The logits l [..., D] of x [..., D].  Raises UserError for an invalid sign."""
    signs = tuple(self.sign) if isinstance(self.sign, Sequence) else (self.sign,) * self.dim
    errors.require(
      len(signs) == self.dim and set(signs) <= {-1, 1},
      f"sign = {self.sign} of missing_process 'self_masking_known' must be 1, -1, or a list of {self.dim} of these",
    )
    return -jnp.asarray(signs, x.dtype) * jax.nn.softplus(self.slope) * (x - self.offset)


class Linear(nn.Module):
  """l = W x + b, as in the paper's agnostic models.

  Attributes:
    dim: D.
  """

  dim: int
  sees: ClassVar[str] = "x"

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """The logits l [..., D] of x [..., D]."""
    return nn.Dense(self.dim, kernel_init=nn.initializers.glorot_uniform(), name="linear")(x)


class Nonlinear(nn.Module):
  """l = MLP(x) with tanh units: every m_d may depend on all of x.

  Attributes:
    dim: D.
    hidden: widths of the hidden layers.
  """

  dim: int
  hidden: Sequence[int] = (128,)
  sees: ClassVar[str] = "x"

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """The logits l [..., D] of x [..., D] (of z [..., L] in LowRankJoint)."""
    return MLP((*self.hidden, self.dim), name="mlp")(x)


class LowRankJoint(Nonlinear):
  """l = MLP(z), p(m|z) in place of p(m|x): x and m are independent given z, the low-rank joint model."""

  sees: ClassVar[str] = "z"


PROCESSES = {
  "self_masking": SelfMasking,
  "self_masking_known": SignedSelfMasking,
  "linear": Linear,
  "nonlinear": Nonlinear,
  "low_rank_joint": LowRankJoint,
}
# likelihoods with reparameterised draws of the missing entries
DIFFERENTIABLE = ("gaussian", "gaussian_shared", "gaussian_fixed", "gaussian_bounded", "student_t", "beta")


def make(name: str, dim: int, likelihood: str, **given: Any) -> nn.Module:
  """The process `name` of D entries, with its attributes as options.

  Raises:
    UserError: no such process or option, or a process whose bound has no reparameterised gradient with this likelihood.
  """
  errors.require(
    name in PROCESSES, f"missing_process = {name!r}; it must be one of {', '.join((IGNORABLE, *PROCESSES))}"
  )
  process = options.call(f"missing_process {name!r}", PROCESSES[name], dim, **given)
  errors.require(
    process.sees != "x" or likelihood in DIFFERENTIABLE,
    f"missing_process {name!r} needs reparameterised draws of x, which likelihood {likelihood!r} does not provide: "
    f"choose one of {', '.join(DIFFERENTIABLE)}, or missing_process 'low_rank_joint'",
  )
  return process


class WithNoise:
  """q(z|x) together with the keys that draw x_missing ~ p(x|z): a value is (z [B, L], keys [B]).

  The keys have no parameters and the same distribution under p and q, so that their density cancels in log w.  Given
  (z, key), x_missing is a function of the decoder's parameters: the draw is reparameterised.
  """

  def __init__(self, q: Any, num_rows: int):
    self._q, self._num_rows = q, num_rows

  def sample_and_log_prob(self, *, seed: jax.Array) -> tuple[tuple, jax.Array]:
    """((z, keys), log q(z|x) [B])."""
    key_z, key_x = jax.random.split(seed)
    z, log_q = self._q.sample_and_log_prob(seed=key_z)
    return (z, jax.random.split(key_x, self._num_rows)), log_q

  def sample(self, *, seed: jax.Array) -> tuple:
    """(z, keys)."""
    return self.sample_and_log_prob(seed=seed)[0]

  def log_prob(self, value: tuple) -> jax.Array:
    """log q(z|x), [B]."""
    return self._q.log_prob(value[0])

  def mean(self) -> jax.Array:
    """E[z], [B, L]."""
    return self._q.mean()
