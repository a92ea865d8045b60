"""sRGB and CIE L*a*b* with the white D65 (CIE, 1976; IEC 61966-2-1, 1999), of NumPy's arrays or JAX's.

With Y the relative luminance and f the cube root, linear near 0,

  L = 116 f(Y) - 16,   a = 500 (f(X / X_n) - f(Y)),   b = 200 (f(Y) - f(Z / Z_n)).

L is in [0, 100]; of the colours that sRGB can show, a is in [-86.2, 98.3] and b in [-107.9, 94.5].  RGB is in [0, 1].
The matrix and the white are those of scikit-image, rounded to six digits, in which grey has |a|, |b| < 0.01 instead of
0.  Every function is smooth but for kinks, with finite gradients everywhere, also at black.
"""

from types import ModuleType
from typing import Any

import jax.numpy as jnp

Array = Any  # of NumPy or of JAX, as the argument `xp` says

_XYZ_OF_RGB = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_RGB_OF_XYZ = (  # the inverse
  (3.240481342, -1.537151516, -0.498536326),
  (-0.969254950, 1.875990001, 0.041555927),
  (0.055646639, -0.204041338, 1.057311070),
)
_WHITE = (0.95047, 1.0, 1.08883)
_LINEAR, _SLOPE, _OFFSET = 0.008856, 7.787, 16 / 116  # f(t) = 7.787 t + 16/116 up to 0.008856
AB_SCALE = 110.0  # |a| and |b| are less within sRGB


def _where(xp: ModuleType, condition: Array, x: Array, power: float) -> Array:
  """x ** power where the condition holds, 1 elsewhere: the gradient of the other branch stays finite."""
  return xp.where(condition, x, 1.0) ** power


def _linear_of(rgb: Array, xp: ModuleType) -> Array:
  """The linear intensities of sRGB."""
  bright = rgb > 0.04045
  return xp.where(bright, _where(xp, bright, (rgb + 0.055) / 1.055, 2.4), rgb / 12.92)


def _encoded(linear: Array, xp: ModuleType) -> Array:
  """The inverse of `_linear_of`; numbers below 0 and above 1 continue it."""
  bright = linear > 0.0031308
  return xp.where(bright, 1.055 * _where(xp, bright, linear, 1 / 2.4) - 0.055, 12.92 * linear)


def _f(t: Array, xp: ModuleType) -> Array:
  bright = t > _LINEAR
  return xp.where(bright, _where(xp, bright, t, 1 / 3), _SLOPE * t + _OFFSET)


def _f_inverse(t: Array, xp: ModuleType) -> Array:
  bright = t > _LINEAR ** (1 / 3)
  return xp.where(bright, _where(xp, bright, t, 3.0), (t - _OFFSET) / _SLOPE)


def _mixed(x: Array, matrix: tuple[tuple[float, ...], ...], xp: ModuleType) -> Array:
  """The matrix times each colour, as sums: the products of a device may round to fewer digits."""
  channels = [x[..., i] for i in range(3)]
  return xp.stack([sum(m * c for m, c in zip(row, channels, strict=True)) for row in matrix], -1)


def lab_of_rgb(rgb: Array, xp: ModuleType = jnp) -> Array:
  """(L, a, b) [..., 3] of RGB [..., 3] in [0, 1].

  Args:
    rgb: floating-point numbers.
    xp: numpy or jax.numpy.
  """
  x, y, z = (_f(_mixed(_linear_of(rgb, xp), _XYZ_OF_RGB, xp)[..., i] / _WHITE[i], xp) for i in range(3))
  return xp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def rgb_of_lab(lab: Array, xp: ModuleType = jnp) -> Array:
  """RGB [..., 3] of (L, a, b) [..., 3]; outside [0, 1] where sRGB has no such colour."""
  y = (lab[..., 0] + 16) / 116
  parts = (y + lab[..., 1] / 500, y, y - lab[..., 2] / 200)
  xyz = xp.stack([_f_inverse(t, xp) * w for t, w in zip(parts, _WHITE, strict=True)], -1)
  return _encoded(_mixed(xyz, _RGB_OF_XYZ, xp), xp)


def lightness_of_rgb(rgb: Array, xp: ModuleType = jnp) -> Array:
  """L [...] of RGB [..., 3]."""
  luminance = sum(m * _linear_of(rgb[..., i], xp) for i, m in enumerate(_XYZ_OF_RGB[1]))
  return 116 * _f(luminance, xp) - 16


def grey_of_lightness(lightness: Array, xp: ModuleType = jnp) -> Array:
  """The level in [0, 1] of the grey of this L."""
  return _encoded(_f_inverse((lightness + 16) / 116, xp), xp)


def grey_levels(rgb: Array, xp: ModuleType = jnp) -> Array:
  """The grey picture of equal L in 8 bits: levels 0..255 uint8 [...] of RGB uint8 [..., 3].

  All that a model of colours may know of a photograph: the exact L of RGB in 8 bits tells more of the colours.
  """
  floats = rgb.astype(xp.float32) / 255
  return xp.round(255 * xp.clip(grey_of_lightness(lightness_of_rgb(floats, xp), xp), 0, 1)).astype(xp.uint8)


def lightness_of_grey(levels: Array, xp: ModuleType = jnp) -> Array:
  """L [...] of grey levels 0..255 uint8 [...]."""
  return 116 * _f(_linear_of(levels.astype(xp.float32) / 255, xp), xp) - 16


# What models of colours see: L as a context in [-1, 1], (a, b) as x in [-1, 1].


def context_of_lightness(lightness: Array) -> Array:
  """L / 50 - 1, [..., 1]."""
  return (lightness / 50 - 1)[..., None]


def lab_of_model(context: Array, x: Array, xp: ModuleType = jnp) -> Array:
  """(L, a, b) [..., 3] of a context [..., 1] and x [..., 2]."""
  return xp.concatenate([50 * (context + 1), AB_SCALE * x], -1)
