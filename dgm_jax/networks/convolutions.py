"""Convolutions of images and their transposes, in the form that is fastest on the backend.

Images are [B, H, W, C].  Geometry of a convolution along an axis of n entries, kernel k, stride s: with padding p (an
int) there are p zeros on both sides and (n + 2p - k) // s + 1 outputs; with "SAME" there are ceil(n / s) outputs and
as many zeros as they need, the odd one at the end.  A transposed convolution is the transpose of the convolution from
its output's size to its input's, which is why it takes `output_size`.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors, platforms


def conv_geometry(size: int, kernel: int, stride: int, padding: int | str) -> tuple[int, tuple[int, int]]:
  """(number of outputs, (zeros before, zeros after)) along one axis; see the module's docstring.

  Raises:
    UserError: the kernel is larger than the padded axis.
  """
  if padding == "SAME":
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    return outputs, (total // 2, total - total // 2)
  outputs = (size + 2 * padding - kernel) // stride + 1
  errors.require(
    outputs >= 1,
    f"a kernel of {kernel} does not fit {size} pixels with padding {padding}: use fewer layers or padding 'SAME'",
  )
  return outputs, (padding, padding)


def _geometries(sizes: Sequence[int], kernel: jax.Array, stride: int, padding: int | str) -> tuple[list, list]:
  """Numbers of outputs and paddings of the two axes."""
  pairs = [conv_geometry(n, k, stride, padding) for n, k in zip(sizes, kernel.shape[:2], strict=True)]
  return [n for n, _ in pairs], [p for _, p in pairs]


def conv_by_lax(x: jax.Array, kernel: jax.Array, stride: int, padding: int | str) -> jax.Array:
  """y[i, j] = sum_ab x[s i + a - p, s j + b - p] kernel[a, b]; x [B, H, W, I], kernel [k, k, I, O]."""
  _, paddings = _geometries(x.shape[1:3], kernel, stride, padding)
  return jax.lax.conv_general_dilated(x, kernel, (stride, stride), paddings, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """[..., I] @ [I, O] as a product of two matrices, whose gradient XLA:CPU computes without a transposed copy."""
  return (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], -1)


def _is_narrow(kernel: jax.Array) -> bool:
  """Whether x times the kernel at all taps is smaller than x: then the product comes first and its slices are added."""
  return math.prod(kernel.shape[:2]) * kernel.shape[3] < kernel.shape[2]


def _at_all_taps(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """x[i, j] kernel[a, b] for all taps (a, b), [B, H, W, k, k, O]: one matrix product."""
  taps = product(x, jnp.moveaxis(kernel, 2, 0).reshape(kernel.shape[2], -1))
  return taps.reshape(*x.shape[:3], *kernel.shape[:2], kernel.shape[3])


def conv_by_matmul(x: jax.Array, kernel: jax.Array, stride: int, padding: int | str) -> jax.Array:
  """conv_by_lax as strided slices and one matrix product: ten times faster on XLA:CPU, most of all inside a scan."""
  (h, w), paddings = _geometries(x.shape[1:3], kernel, stride, padding)
  ends = ((h - 1) * stride + 1, (w - 1) * stride + 1)
  cut = lambda x, a, b: x[:, a : a + ends[0] : stride, b : b + ends[1] : stride]
  pairs = list(itertools.product(range(kernel.shape[0]), range(kernel.shape[1])))
  if _is_narrow(kernel):
    y = jnp.pad(_at_all_taps(x, kernel), ((0, 0), *paddings, (0, 0), (0, 0), (0, 0)))
    return sum(cut(y, a, b)[..., a, b, :] for a, b in pairs)
  x = jnp.pad(x, ((0, 0), *paddings, (0, 0)))
  return product(jnp.concatenate([cut(x, a, b) for a, b in pairs], -1), kernel.reshape(-1, kernel.shape[-1]))


def conv_transpose_by_lax(
  x: jax.Array, kernel: jax.Array, stride: int, padding: int | str, output_size: Sequence[int]
) -> jax.Array:
  """y[s i + a - p, s j + b - p] += x[i, j] kernel[a, b]; x [B, H, W, I], kernel [k, k, I, O]."""
  _, paddings = _geometries(output_size, kernel, stride, padding)
  axes = zip(x.shape[1:3], kernel.shape[:2], output_size, paddings, strict=True)
  dilated = [(k - 1 - low, size + low - (n - 1) * stride - 1) for n, k, size, (low, _) in axes]
  return jax.lax.conv_general_dilated(
    x, kernel[::-1, ::-1], (1, 1), dilated, lhs_dilation=(stride, stride), dimension_numbers=("NHWC", "HWIO", "NHWC")
  )


def _phase_taps(kernel: int, stride: int, low: int) -> list[list[tuple[int, int]]]:
  """For each r = 0..s-1 the pairs (a, d) with y[s m + r] = sum x[m + d] kernel[a]: s m + r + low = s (m + d) + a."""
  return [[(a, (r + low - a) // stride) for a in range((r + low) % stride, kernel, stride)] for r in range(stride)]


def conv_transpose_by_matmul(
  x: jax.Array, kernel: jax.Array, stride: int, padding: int | str, output_size: Sequence[int]
) -> jax.Array:
  """conv_transpose_by_lax as products of shifted inputs, for each of the s * s phases, which are then interleaved."""
  _, paddings = _geometries(output_size, kernel, stride, padding)
  phases = [_phase_taps(k, stride, low) for k, (low, _) in zip(kernel.shape[:2], paddings, strict=True)]
  counts = [[-(-(size - r) // stride) for r in range(stride)] for size in output_size]  # outputs of each phase
  first, padding_of_x = [], []
  for axis, ms, n in zip(phases, counts, x.shape[1:3], strict=True):  # a phase reads the inputs d .. d + m - 1
    spans = [(d, d + m) for taps, m in zip(axis, ms, strict=True) for _, d in taps]
    first.append(min(0, *(start for start, _ in spans)))
    padding_of_x.append((-first[-1], max(n, *(end for _, end in spans)) - n))
  narrow = _is_narrow(kernel)
  padded = _at_all_taps(x, kernel) if narrow else x
  padded = jnp.pad(padded, ((0, 0), *padding_of_x, *[(0, 0)] * (padded.ndim - 3)))

  def phase(r, q):
    total = jnp.zeros((x.shape[0], counts[0][r], counts[1][q], kernel.shape[-1]), x.dtype)
    for (a, d), (b, e) in itertools.product(phases[0][r], phases[1][q]):
      d, e = d - first[0], e - first[1]
      cut = padded[:, d : d + counts[0][r], e : e + counts[1][q]]
      total += cut[..., a, b, :] if narrow else product(cut, kernel[a, b])
    missing = [(0, axis[0] - axis[i]) for axis, i in zip(counts, (r, q), strict=True)]
    return jnp.pad(total, ((0, 0), *missing, (0, 0)))

  y = jnp.stack([jnp.stack([phase(r, q) for q in range(stride)], 3) for r in range(stride)], 2)
  y = y.reshape(x.shape[0], counts[0][0] * stride, counts[1][0] * stride, kernel.shape[-1])  # [B, M, s, N, s, O] before
  return y[:, : output_size[0], : output_size[1]]


@jax.custom_jvp
def add_bias(y: jax.Array, bias: jax.Array) -> jax.Array:
  """y [..., O] + bias [O]; the gradient of the bias is a product with ones, a fast sum on XLA:CPU."""
  return y + bias


@add_bias.defjvp
def _add_bias_jvp(primals, tangents):
  y_dot, bias_dot = tangents
  ones = jnp.ones((y_dot.size // y_dot.shape[-1], 1), y_dot.dtype)
  return add_bias(*primals), y_dot + jnp.matmul(ones, bias_dot[None], precision="highest").reshape(y_dot.shape)


class Conv(nn.Module):
  """Convolution [B, H, W, I] -> [B, H', W', features].

  Attributes:
    features: channels of the output.
    kernel_size: k, along both axes.
    stride: s, along both axes.
    padding: an int or "SAME", see the module's docstring.
    gain: initial variance of an output over the mean square of the inputs; 2 before a rectifier (He et al., 2015).
    use_bias: whether each channel has a bias, initially 0.
    dtype: dtype of the products and the output; None: that of the input and the parameters, which are float32.
    kernel_init: initialiser of the kernel in place of that of `gain`.
    trains_bias: False for a bias without effect, as before batch normalisation: its gradient would be rounding.
  """

  features: int
  kernel_size: int = 3
  stride: int = 1
  padding: int | str = "SAME"
  gain: float = 2.0
  use_bias: bool = True
  dtype: Any = None
  kernel_init: Callable | None = None
  trains_bias: bool = True

  def _normalised(self, kernel: jax.Array) -> jax.Array:
    return kernel

  def _convolve(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
    convolve = conv_by_matmul if platforms.is_cpu() else conv_by_lax
    return convolve(x, kernel, self.stride, self.padding)

  def _reach(self) -> float:
    """Fraction of the k * k taps that contribute to an output."""
    return 1.0

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    init = nn.initializers.variance_scaling(self.gain / self._reach(), "fan_in", "truncated_normal")
    shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
    kernel = self._normalised(self.param("kernel", self.kernel_init or init, shape))
    if self.dtype is not None:
      x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
    y = self._convolve(x, kernel)
    if not self.use_bias:
      return y
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    bias = bias if self.trains_bias else jax.lax.stop_gradient(bias)
    return add_bias(y, bias) if self.dtype is None else add_bias(y.astype(jnp.float32), bias).astype(self.dtype)


class ConvTranspose(Conv):
  """The transpose of a convolution, [B, H, W, I] -> [B, *output_size, features].

  Attributes:
    output_size: (H', W'); a convolution of this geometry maps it to (H, W).
  """

  output_size: Sequence[int] = ()

  def _convolve(self, x, kernel):
    convolve = conv_transpose_by_matmul if platforms.is_cpu() else conv_transpose_by_lax
    return convolve(x, kernel, self.stride, self.padding, self.output_size)

  def _reach(self):
    return 1.0 / self.stride**2


class ResidualBlock(nn.Module):
  """shortcut(x) + g(x),   g = conv(act(conv(act(x)))), without normalisation (He et al., 2016, full pre-activation).

  The first convolution has the stride.  Where the shape changes, the shortcut is a convolution of act(x) with kernel
  size s and stride s.  The last convolution starts at 0: initially a block equals its shortcut, for nets of any depth.

  Attributes:
    features: channels of the output.
    kernel_size: k of the convolutions of g.
    stride: s.
    activation: act.
    output_size: None, or (H', W') for transposed convolutions.
    dtype: as in Conv; the input is cast to it, too.
  """

  features: int
  kernel_size: int = 3
  stride: int = 1
  activation: Callable = nn.relu
  output_size: Sequence[int] | None = None
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    transposed = {} if self.output_size is None else {"output_size": self.output_size}
    conv = functools.partial(ConvTranspose if transposed else Conv, dtype=self.dtype)
    x = x if self.dtype is None else x.astype(self.dtype)
    h = self.activation(x)
    if self.stride > 1 or x.shape[-1] != self.features:
      x = conv(self.features, self.stride, self.stride, gain=1.0, **transposed)(h)
    h = conv(self.features, self.kernel_size, self.stride, **transposed)(h)
    return x + Conv(self.features, self.kernel_size, gain=0.0, dtype=self.dtype)(self.activation(h))
