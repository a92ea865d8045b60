"""Spectral norms of linear maps by power iteration: of matrices, and of convolutions as they act on images.

The norm of the reshaped kernel of a convolution is neither a bound on, nor equal to, that of the convolution.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dgm_jax.networks.convolutions import conv_by_lax


def _unit(a: jax.Array) -> jax.Array:
  """a / |a|, over all axes."""
  return a * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(a)), jnp.finfo(a.dtype).tiny))


def power_iteration(apply: Callable, transpose: Callable, u: jax.Array, steps: int) -> tuple[jax.Array, jax.Array]:
  """(sigma, u): the spectral norm from below, and the left singular vector, which is the next start.

  The gradient of sigma is that at fixed singular vectors, the exact one where they are (Miyato et al., 2018).

  Args:
    apply: the linear map.
    transpose: its transpose.
    u: an approximate left singular vector, any array that `transpose` takes.
    steps: passes of the iteration, 1 or more.
  """
  u = jax.lax.stop_gradient(u)
  for _ in range(steps):
    v = jax.lax.stop_gradient(_unit(transpose(u)))
    u = jax.lax.stop_gradient(_unit(apply(v)))
  return jnp.sum(u * apply(v)), u


def of_matrix(kernel: jax.Array, u: jax.Array, steps: int = 1) -> tuple[jax.Array, jax.Array]:
  """power_iteration of x -> x @ kernel, kernel [I, O], u [O]."""
  return power_iteration(lambda x: x @ kernel, lambda y: kernel @ y, u, steps)


def of_convolution(kernel: jax.Array, u: jax.Array, steps: int = 1) -> tuple[jax.Array, jax.Array]:
  """power_iteration of a convolution with zeros around the image (padding "SAME", stride 1).

  Args:
    kernel: [k, k, I, O].
    u: [H, W, O], an image of the size that is convolved.
    steps: passes of the iteration.
  """
  apply = lambda x: conv_by_lax(x[None], kernel, 1, "SAME")[0]
  shape = jax.ShapeDtypeStruct((*u.shape[:2], kernel.shape[2]), u.dtype)
  transposed = jax.linear_transpose(apply, shape)
  return power_iteration(apply, lambda y: transposed(y)[0], u, steps)


def at_most(kernel: jax.Array, sigma: jax.Array, bound: float) -> jax.Array:
  """The kernel, divided by sigma / bound where the norm sigma exceeds the bound."""
  return kernel / jnp.maximum(1.0, sigma / bound)


def off_diagonal(kernels: list[jax.Array]) -> jax.Array:
  """Half the sum over kernels W of |W'W - diag(W'W)|^2, W of shape [I, O] (Brock et al., 2019, equation 3, over two).

  Its gradient, 2 W (W'W - diag(W'W)), is what the authors' code adds.  Kernels [..., O] are taken as [-1, O].
  """
  total = jnp.zeros(())
  for kernel in kernels:
    w = kernel.reshape(-1, kernel.shape[-1])
    products = w.T @ w
    total += jnp.sum(jnp.square(products * (1 - jnp.eye(w.shape[1])))) / 2
  return total


def at(apply: Callable, transpose: Callable, u: jax.Array) -> jax.Array:
  """The norm along a left singular vector u that stays: |transpose(u)|, with the gradient of `power_iteration`.

  Args:
    apply, transpose: the linear map and its transpose.
    u: of length one.
  """
  u = jax.lax.stop_gradient(u)
  v = jax.lax.stop_gradient(_unit(transpose(u)))
  return jnp.sum(u * apply(v))
