"""Flows of integers with learned noise: variational dequantisation (Ho et al., 2019)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors, options
from dgm_jax.distributions.bijectors import flows
from dgm_jax.models.base import require_at_least
from dgm_jax.models.flows import flow


class Model(nn.Module):
  """log P(x) >= E_q(u|x) [log p(x + u) - log q(u|x)] for integers x, u = sigmoid(f(e; x)) in [0, 1)^D.

  p is a flow of logit(alpha + (1 - 2 alpha) (x + u) / levels).  The entries of e are standard logistic: u
  starts as uniform, as in the transform `dequantize`, and q is learned with p; a normal e would leave too little mass
  near 0 and 1.  With K draws the bound is importance-weighted, as in exact_likelihood.

  Attributes:
    data_shape: the shape of one x.
    levels: x is in 0 .. levels - 1.
    alpha: see above.
    flow: options of flow.Model, for p.
    noise: options of the flow f: num_layers and layer_args of couplings.
    num_draws: K of log_prob_estimate, 2 or more.
    dtype: not used, see flow.Model.
  """

  data_shape: Sequence[int]
  levels: int = 256
  alpha: float = 0.05
  flow: Mapping[str, Any] = FrozenDict()
  noise: Mapping[str, Any] = FrozenDict({"num_layers": 2})
  num_draws: int = 8
  dtype: str = "float32"

  likelihood_kind = "bound"  # for exact_likelihood

  def setup(self):
    require_at_least(2, levels=self.levels, num_draws=self.num_draws)
    errors.require(0 < self.alpha < 0.5, f"alpha = {self.alpha}; it must be between 0 and 0.5")
    options.check("flow", flow.Model, self.flow, ("data_shape", "dtype", "parent", "name"))
    options.check("noise", flows.Flow, self.noise, ("dim", "layer", "context", "norm", "parent", "name"))
    errors.require(self.flow.get("norm", "none") != "batch", "norm = 'batch' is not supported here: choose act or none")
    self.p = flow.Model(self.data_shape, **self.flow)
    self.q = flows.Flow(self.dim, "coupling", context=self.dim, **self.noise)

  @property
  def dim(self) -> int:
    """D."""
    return math.prod(self.data_shape)

  @property
  def support(self) -> tuple[float, float]:
    """The smallest and the largest x."""
    return 0.0, self.levels - 1.0

  @property
  def num_examples_for_init(self) -> int:
    """How many examples `init` gets; 0 for the default."""
    return flow.Model(self.data_shape, **self.flow).num_examples_for_init

  def _noise(self, key, x):
    """(u, log q(u|x)); x [B, D]."""
    e = jax.random.logistic(key, x.shape)
    v, log_det = self.q(2 * x / (self.levels - 1) - 1).forward_and_log_det(e)
    log_slope = jnp.sum(jax.nn.log_sigmoid(v) + jax.nn.log_sigmoid(-v), -1)
    log_e = jnp.sum(jax.nn.log_sigmoid(e) + jax.nn.log_sigmoid(-e), -1)
    return jax.nn.sigmoid(v), log_e - log_det - log_slope

  def _bound(self, key, batch, method):
    x = batch["x"].reshape(batch["x"].shape[0], -1).astype(jnp.float32)
    u, log_q = self._noise(key, x)
    s = self.alpha + (1 - 2 * self.alpha) * (x + u) / self.levels
    y = jnp.log(s) - jnp.log1p(-s)
    log_det = math.log1p(-2 * self.alpha) - math.log(self.levels) - jnp.log(s) - jnp.log1p(-s)
    given = batch | {"x": y.reshape(-1, *self.data_shape)}
    return getattr(self.p, method)(given) + jnp.sum(log_det, -1) - log_q

  def objective(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(the bound from one draw of u, {"log_px": the same}), [B]."""
    bound = self._bound(key, batch, "log_prob")
    return bound, {"log_px": bound}

  def log_prob_estimate(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """(log 1/K sum_k p(x + u_k) / q(u_k|x), its standard error), [B] each; in the mean a lower bound on log P(x)."""
    repeated = {name: jnp.repeat(a, self.num_draws, 0) for name, a in batch.items()}
    log_w = self._bound(key, repeated, "log_prob").reshape(-1, self.num_draws).T
    weights = jax.nn.softmax(log_w, 0) * self.num_draws
    error = jnp.std(weights, 0, ddof=1) / self.num_draws**0.5
    return jax.nn.logsumexp(log_w, 0) - math.log(self.num_draws), error

  def log_prob(self, batch: dict[str, jax.Array]) -> jax.Array:
    """log_prob_estimate with a fixed key, [B]."""
    return self.log_prob_estimate(jax.random.key(0), batch)[0]

  def __call__(self, batch: dict[str, jax.Array]) -> jax.Array:
    """Uses every parameter, for `init`."""
    return self._bound(jax.random.key(0), batch, "__call__")

  def generate_logits(self, key: jax.Array, n: int) -> jax.Array:
    """Draws of the flow on the logit scale, [n, D]; those beyond +-logit(1 - alpha) are no x."""
    return self.p.generate(key, n).reshape(n, -1)

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ P(x), integers as float32, [n, *data_shape]; also with `mean`."""
    del mean
    s = (jax.nn.sigmoid(self.p.generate(key, n)) - self.alpha) / (1 - 2 * self.alpha)
    return jnp.clip(jnp.floor(s * self.levels), 0, self.levels - 1)
