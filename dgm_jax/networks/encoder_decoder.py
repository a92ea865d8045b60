"""Encoders and decoders shared by the models; `net` of a model names one of NETS.

Convolutional nets take and return x flat, [B, H W C], as the likelihoods do; inside they use images [B, H, W, C].
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors, options
from dgm_jax.networks.image_networks import ACTIVATIONS, ConvDecoder, ConvEncoder, kernel_sizes
from dgm_jax.networks.mlp import MLP
from dgm_jax.networks.set_encoder import SetEncoder


def maxout(h: jax.Array, window: int = 4) -> jax.Array:
  """The maximum of each group of `window` units, [..., D] -> [..., D / window] (Goodfellow et al., 2013)."""
  return h.reshape(*h.shape[:-1], -1, window).max(-1)


MLP_ACTIVATIONS = ACTIVATIONS | {"maxout": maxout}


Pair = tuple[nn.Module, nn.Module]  # encoder and decoder


def _mlps(
  shape: Sequence[int],
  depth: int,
  hidden: Sequence[int],
  widths: Sequence[int],
  output_bias: Callable,
  compute: Mapping[str, Any],
  activation: str = "tanh",
  decoder_hidden: Sequence[int] | None = None,
  init_scale: float | None = None,
) -> Pair:
  """Multilayer perceptrons; with maxout, a hidden layer has a quarter of the units of its linear map."""
  del shape, depth
  known = ", ".join(MLP_ACTIVATIONS)
  errors.require(activation in MLP_ACTIVATIONS, f"activation = {activation!r}; it must be one of {known}")
  between = hidden[::-1] if decoder_hidden is None else decoder_hidden
  odd = any(width % 4 for width in (*hidden, *between))
  errors.require(activation != "maxout" or not odd, f"hidden = {hidden} of activation 'maxout' must be multiples of 4")
  if init_scale is not None:
    errors.require(init_scale > 0, f"init_scale = {init_scale} must be positive")
    output_bias = nn.initializers.normal(init_scale)
    compute = {**compute, "kernel_init": output_bias, "bias_init": output_bias}
  common = {"activation": MLP_ACTIVATIONS[activation], **compute}
  decoder = MLP((*between, widths[1]), output_bias=output_bias, **common)
  return MLP((*hidden, widths[0]), **common), decoder


def _sets(*common: Any, decoder_hidden: Sequence[int] | None = None, **args: Any) -> Pair:
  """An encoder of the set of observed entries, and the decoder of _mlps."""
  _, decoder = _mlps(*common, decoder_hidden=decoder_hidden)
  _, _, hidden, widths, _, compute = common
  return options.call("net 'set'", SetEncoder, hidden, widths[0], **args, **compute), decoder


def _convs(
  shape: Sequence[int],
  depth: int,
  hidden: Sequence[int],
  widths: Sequence[int],
  output_bias: Callable,
  compute: Mapping[str, Any],
  channels: Sequence[int] = (32, 64, 64),
  decoder: Mapping[str, Any] = FrozenDict(),
  **args: Any,
) -> Pair:
  """Convolutional nets; the decoder has the encoder's channels, reversed, and options, except those in `decoder`."""
  errors.require(len(shape) == 3, f"this net needs images: the shape of x must be [H, W, C], but it is {list(shape)}")
  encoder = {"channels": channels, **args}
  kernels = encoder.get("kernel_size", ())
  turned = {} if isinstance(kernels, int) or not kernels else {"kernel_size": tuple(kernels)[::-1]}
  decoder = {**encoder, "channels": channels[::-1], **turned, **decoder}
  for given in (encoder, decoder):
    options.call("a convolutional net", _check, **given)
  image_shape = (*shape[:2], shape[2] * depth)
  return (
    ConvEncoder(image_shape, hidden, widths[0], **encoder, **compute),
    ConvDecoder(shape, hidden[::-1], widths[1], output_bias, **decoder, **compute),
  )


def _check(
  channels: Sequence[int],
  kernel_size: int | Sequence[int] = 1,
  stride: int = 1,
  padding: int | str = "SAME",
  activation: str = "relu",
  blocks: int | None = None,
  linear_code: bool = False,
  shared_bias: bool = False,
) -> None:
  errors.require(activation in ACTIVATIONS, f"activation = {activation!r}; it must be one of {', '.join(ACTIVATIONS)}")
  errors.require(len(channels) > 0, "channels must list at least one convolution")
  kernels = kernel_sizes(kernel_size, len(channels))
  errors.require(
    len(kernels) == len(channels), f"kernel_size = {kernel_size} must be a number, or one for each of {channels}"
  )
  numbers = {"channels": min(channels), "kernel_size": min(kernels), "stride": stride, "blocks": blocks or 1}
  for name, value in numbers.items():
    errors.require(value >= 1, f"{name} = {value} must be 1 or more")
  errors.require(padding == "SAME" or padding in range(1000), f"padding = {padding!r}; it must be 'SAME', or 0 or more")


def _conv(*common: Any, **args: Any) -> Pair:
  of_decoder = [name for name in ("linear_code", "shared_bias") if name in args]
  errors.require(not of_decoder, f"{', '.join(of_decoder)} is an option of the decoder alone")
  errors.require("blocks" not in {*args, *args.get("decoder", ())}, "blocks is an option of net 'residual' only")
  return options.call("a convolutional net", _convs, *common, **args)


def _residual(*common: Any, blocks: int = 2, kernel_size: int = 3, **args: Any) -> Pair:
  errors.require("padding" not in {*args, *args.get("decoder", ())}, "padding of net 'residual' is always 'SAME'")
  errors.require(blocks >= 1, f"blocks = {blocks} must be 1 or more")
  return options.call("a convolutional net", _convs, *common, blocks=blocks, kernel_size=kernel_size, **args)


NETS = {"mlp": _mlps, "conv": _conv, "residual": _residual, "set": _sets}


def make(
  net: str,
  shape: Sequence[int],
  depth: int,
  hidden: Sequence[int],
  widths: Sequence[int],
  output_bias: Callable,
  compute: Mapping[str, Any] = FrozenDict(),
  **given: Any,
) -> Pair:
  """(encoder [B, D depth] -> [B, widths[0]], decoder [B, L] -> [B, widths[1]]), D = prod(shape).

  Args:
    net: a name of NETS.
    shape: shape of one x.
    depth: features per entry of x: 1, or the number of classes.
    hidden: widths of the encoder's dense layers, between convolutions and output; the decoder has them reversed.
    widths: outputs of the encoder and of the decoder.
    output_bias: initialiser of the decoder's output bias.
    compute: dtype and remat of both, see mlp.Networks.
    **given: options of the net.  "mlp": activation, a name of MLP_ACTIVATIONS; init_scale, to draw all weights and
      biases (the decoder's output bias, too) from N(0, init_scale^2).  "conv" and "residual": channels, kernel_size,
      stride, activation, and padding ("conv") or blocks ("residual"), see ConvEncoder; `decoder`, a mapping of the
      options that differ in the decoder, and of its own ones ("conv"), linear_code and shared_bias.  "mlp" and "set":
      decoder_hidden, the decoder's widths if they differ, () for a linear decoder.  "set", whose encoder takes
      (features, mask): embedding_dim and code_dim, see SetEncoder.

  Raises:
    UserError: no such net or option, or an invalid value.
  """
  errors.require(net in NETS, f"net = {net!r}; it must be one of {', '.join(NETS)}")
  return options.call(f"net {net!r}", NETS[net], shape, depth, hidden, widths, output_bias, compute, **given)
