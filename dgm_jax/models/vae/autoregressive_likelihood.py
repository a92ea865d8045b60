"""p(x|z) by an autoregressive model that is given z: PixelVAE (Gulrajani et al., 2017) and others."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors, options
from dgm_jax.distributions.likelihoods.likelihood import EntriesOfX
from dgm_jax.models.autoregressive import lstm, made, nade, pixelcnn, transformer
from dgm_jax.models.base import require_at_least, require_one_of, support

NETS = {module.__name__.rpartition(".")[2]: module.Model for module in (made, nade, pixelcnn, lstm, transformer)}
_GIVEN = ("parent", "name", "data_shape", "data_mean", "num_classes")


def make_net(name: str, whose: str, args: Mapping[str, Any], **given: Any) -> Any:
  """The model `name` of NETS with options of the user's, `args`, and those that are `given`.

  Args:
    name: a name of NETS.
    whose: what the model is part of, for messages.
    args: options of the model.
    **given: others, which the user cannot choose unless they are in `args`, too.

  Raises:
    UserError: an unknown or invalid option.
  """
  options.check(f"net {name!r} of {whose}", NETS[name], args, _GIVEN)
  return NETS[name](**{**given, **args})


class Conditional(distrax.Distribution):
  """p(x|c) of a bound autoregressive model with the context c [B, F]; batch [B], event [D].

  log_prob takes one pass of the model, a draw one step for each entry.
  """

  def __init__(self, net: Any, context: jax.Array):
    super().__init__()
    self._net, self._context = net, context

  @property
  def event_shape(self) -> tuple[int, ...]:
    return (self._net.dim,)

  @property
  def batch_shape(self) -> tuple[int, ...]:
    return self._context.shape[:-1]

  def log_prob(self, value: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """log p(x|c), nats, [B].

    Raises:
      UserError: there is a mask.
    """
    errors.require(
      mask is None, "likelihood 'autoregressive' does not support missing entries: the order of its entries is fixed"
    )
    x = value.reshape(-1, *self._net.data_shape)
    return self._net.log_prob({"x": x, "context": self._context})

  def _sample_n(self, key: jax.Array, n: int) -> jax.Array:
    context = jnp.repeat(self._context, n, 0)
    drawn = self._net.generate(key, len(context), context=context)
    return jnp.swapaxes(drawn.reshape(len(self._context), n, -1), 0, 1)

  def mean(self) -> jax.Array:
    """E[x_d | x_<d, c] along one draw, [B, D]: E[x|c] has no closed form."""
    context = self._context
    return self._net.generate(jax.random.key(0), len(context), mean=True, context=context).reshape(len(context), -1)


def make(data_shape: Sequence[int], data_mean: Sequence[float] | None, given: Mapping[str, Any], **more: Any) -> Any:
  """The AutoregressiveLikelihood with the options `given`.  Raises UserError for an unknown or invalid one."""
  options.check("likelihood 'autoregressive'", AutoregressiveLikelihood, given, _GIVEN)
  return AutoregressiveLikelihood(data_shape, data_mean, **given, **more)


class AutoregressiveLikelihood(EntriesOfX, nn.Module):
  """p(x|z) = prod_d p(x_d | x_<d, h), h the decoder's outputs; in place of a Likelihood.

  Attributes:
    data_shape: the shape of one x.
    data_mean: see DecoderModel.
    net: the model of x given h, a name of NETS.
    width: the number of the decoder's outputs, F.
    args: options of the net; "likelihood" among them is that of an entry.
  """

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  net: str = "made"
  width: int = 64
  args: Mapping[str, Any] = FrozenDict()

  def setup(self):
    self.conditional = self._make_net()

  @nn.nowrap
  def _make_net(self, **more: Any) -> Any:
    require_one_of(NETS, net=self.net)
    require_at_least(1, width=self.width)
    given = {"data_shape": self.data_shape, "data_mean": self.data_mean, "num_classes": self.width}
    return make_net(self.net, "likelihood 'autoregressive'", self.args, **given, **more)

  @property
  def support(self) -> tuple[float, float]:
    """The smallest and the largest x."""
    return support(self._make_net(parent=None))

  @property
  def family(self) -> Any:
    """The distribution of an entry."""
    return self._make_net(parent=None).family

  @property
  def dim(self) -> int:
    """D."""
    return math.prod(self.data_shape)

  @property
  def num_outputs(self) -> int:
    """The width of the decoder's last layer."""
    return self.width

  def output_bias(self, mean: Sequence[float] | None) -> Callable:
    """Initialiser of the decoder's output bias: 0; the net itself starts near the mean of the data."""
    del mean
    return nn.initializers.zeros

  def __call__(self, h: jax.Array) -> Conditional:
    """p(x|z), with log_prob(x) [B], mean() and sample(seed=) [B, D]; h [B, F]."""
    return Conditional(self.conditional, h)
