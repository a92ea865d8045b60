"""p(y | x, w): regression and classification with a network of weights w and a likelihood for y."""

from collections.abc import Mapping, Sequence
from math import inf, prod
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors
from dgm_jax.distributions import weights as weight_posteriors
from dgm_jax.distributions.factorised import Factorised
from dgm_jax.distributions.likelihoods import families
from dgm_jax.distributions.likelihoods.likelihood import Likelihood
from dgm_jax.models.base import flat, require_at_least, require_one_of
from dgm_jax.networks import encoder_decoder
from dgm_jax.networks.mlp import Networks

WEIGHTS = ("point", "normal")


class Model(Networks):
  """p(y | x, w) = prod_t p(y_t | h_t), h = f_w(x) the outputs of a network; w is a point estimate, or w ~ q(w).

  weights = "normal" (Bayes by backprop; Blundell et al., 2015): q(w) = prod_i N(m_i, softplus(rho_i)^2) over the
  weights and biases of the net, one draw for a whole batch, with the prior prod_i p(w_i), a normal or a mixture of two.
  dropout > 0 (Gal & Ghahramani, 2016): a draw of w drops units, independently for each example.

  Attributes:
    data_shape: the shape of one x.
    data_mean: mean of x; not used.
    num_targets: T, the entries of one y.
    hidden: widths of the dense layers; () for a linear model.
    net: "mlp", or "conv" or "residual" for images, and its options, see encoder_decoder.make; "mlp" has ReLU units by
      default.
    likelihood: p(y_t | .), a name of families.FAMILIES, and its options.
    dropout: probability that an input of a dense layer, including x itself, is dropped.
    weights: a name of WEIGHTS.
    prior_scales: (s,), the prior's scale, or (s_1, s_2) of the mixture pi N(0, s_1^2) + (1 - pi) N(0, s_2^2).
    prior_share: pi.
    initial_scale: softplus(rho_i) at the start.
  """

  support: ClassVar[tuple[float, float]] = (-inf, inf)  # range of x

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  num_targets: int = 1
  hidden: Sequence[int] = (50,)
  net: str = "mlp"
  net_args: Mapping[str, Any] = FrozenDict()
  likelihood: str = "gaussian_softplus"
  likelihood_args: Mapping[str, Any] = FrozenDict()
  dropout: float = 0.0
  weights: str = "point"
  prior_scales: Sequence[float] = (1.0,)
  prior_share: float = 0.5
  initial_scale: float = 0.02

  @property
  def target_support(self) -> tuple[float, float]:
    """The smallest and the largest y."""
    return families.make(self.likelihood, **self.likelihood_args).support

  @property
  def num_classes(self) -> int | None:
    """C where y is a class; None where y is numeric."""
    if self.likelihood == "bernoulli" and self.num_targets == 1:
      return 2
    return families.make(self.likelihood, **self.likelihood_args).num_classes

  def _check(self) -> None:
    require_at_least(1, num_targets=self.num_targets, hidden=self.hidden)
    require_one_of(WEIGHTS, weights=self.weights)
    for holds, message in (
      (self.net != "set", "net = 'set' is for x with missing entries; it must be mlp, conv or residual"),
      (0 <= self.dropout < 1, f"dropout = {self.dropout} must be at least 0 and less than 1"),
      (not (self.dropout and self.remat), "dropout cannot be drawn again in the backward pass: remat must be False"),
      (len(self.prior_scales) in (1, 2), f"prior_scales = {tuple(self.prior_scales)} must be one scale or two"),
      (min(*self.prior_scales, self.initial_scale) > 0, "prior_scales and initial_scale must be positive"),
      (0 < self.prior_share < 1, f"prior_share = {self.prior_share} must be between 0 and 1"),
      (self.num_classes is None or self.num_targets == 1, f"likelihood {self.likelihood!r} needs num_targets = 1"),
    ):
      errors.require(holds, message)

  def _make_net(self) -> nn.Module:
    """The network, detached from this module: its weights are passed to `apply`."""
    args = ({"activation": "relu"} if self.net == "mlp" else {}) | dict(self.net_args)
    widths = (self.py_x.num_outputs, 1)  # the decoder is not used
    encoder, _ = encoder_decoder.make(
      self.net, self.data_shape, 1, self.hidden, widths, nn.initializers.zeros, self.compute, **args
    )
    return encoder.clone(parent=None, name=None, dropout=self.dropout)

  def setup(self):
    self._check()
    self.py_x = Likelihood(self.num_targets, families.make(self.likelihood, **self.likelihood_args))
    net = self._make_net()
    self.run = lambda w, x, rngs: net.apply({"params": w}, x, rngs=rngs)
    loc = self.param("net", lambda key: net.init(key, jnp.zeros((1, prod(self.data_shape))))["params"])
    as_rho = lambda key: jax.tree.map(lambda m: jnp.full_like(m, weight_posteriors.rho_of(self.initial_scale)), loc)
    self.loc, self.rho = loc, self.param("rho", as_rho) if self.weights == "normal" else None

  def draw_weights(self, key: jax.Array) -> Any:
    """w ~ q(w), a tree; the point estimate for weights = "point"."""
    return self.loc if self.rho is None else weight_posteriors.draw(key, self.loc, self.rho)

  def predict(self, key: jax.Array, batch: dict[str, jax.Array]) -> Factorised:
    """p(y | x, w), batch [B], event [T], at one draw of w and of the dropped units."""
    key_w, key_units = jax.random.split(key)
    x = flat(batch)[0].astype(jnp.float32)
    h = self.run(self.draw_weights(key_w), x, {"dropout": key_units})
    start = self.py_x.output_bias(None)(None, (self.py_x.num_outputs,))
    return self.py_x(h + start)

  def targets(self, batch: dict[str, jax.Array]) -> jax.Array:
    """y as numbers, [B, T]."""
    y = batch["y"].reshape(batch["y"].shape[0], -1).astype(jnp.float32)
    errors.require(
      y.shape[-1] == self.num_targets, f"num_targets = {self.num_targets}, but y of the data has {y.shape[-1]} entries"
    )
    return y

  def summary(self, key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """A prediction at one draw of w, see inference.predictions: log_py [B], probs [B, C] or mean, variance [B, T]."""
    p = self.predict(key, batch)
    found = {"log_py": p.log_prob(self.targets(batch))}
    if self.num_classes is None:
      return found | {"mean": p.mean(), "variance": p.variance()}
    probs = p.expected_features()
    return found | {"probs": jnp.concatenate([1 - probs, probs], -1) if probs.shape[-1] == 1 else probs}

  def log_prob(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """log p(y | x, w), nats, [B], at the draw of w that `predict` makes with this key."""
    return self.predict(key, batch).log_prob(self.targets(batch))

  def kl(self, key: jax.Array) -> jax.Array | None:
    """KL(q(w) || p(w)), nats, []; for a mixture prior estimated at the w of this key; None for weights = "point"."""
    if self.rho is None:
      return None
    w = self.draw_weights(jax.random.split(key)[0])
    return weight_posteriors.kl(w, self.loc, self.rho, self.prior_scales, self.prior_share)

  def __call__(self, batch: dict[str, jax.Array]) -> jax.Array:
    """Uses every parameter, for `init`."""
    return self.log_prob(jax.random.key(0), batch)
