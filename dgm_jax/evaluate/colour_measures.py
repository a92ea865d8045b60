"""Measures of predicted colours, image by image, and answers that know nothing, on the host in double precision.

Lab is [..., 3] as in core/colour_spaces.py, RGB [..., 3] in [0, 1]; ab [N, H, W, 2].
"""

from collections.abc import Mapping, Sequence

import numpy as np

from dgm_jax.core import colour_spaces
from dgm_jax.distributions import colour_bins

ANSWERS = ("grey", "median", "another", "nearest")
_LARGEST = 150  # of the thresholds of AuC
_CHUNK = 2**22  # numbers at once
_SEARCHED = 10_000  # training images among which the nearest is sought
_COUNTED = 1000  # training images of the median, and of the frequencies of bins
_SMALLEST = 1e-10  # squared error, of a PSNR of 100


def lab_of_levels(rgb: np.ndarray) -> np.ndarray:
  """Lab in float64 of RGB in 8 bits."""
  return colour_spaces.lab_of_rgb(np.asarray(rgb, np.float64) / 255, np)


def colourfulness(rgb: np.ndarray) -> np.ndarray:
  """Hasler & Suesstrunk (2003), eq. 3, of RGB [N, H, W, 3] in [0, 1]: [N], about 0 for grey, 33 for most photographs.

  With rg = R - G and yb = (R + G) / 2 - B of levels 0..255: |(sd rg, sd yb)| + 0.3 |(mean rg, mean yb)|.
  """
  r, g, b = (255 * rgb[..., i] for i in range(3))
  parts = r - g, (r + g) / 2 - b
  of = lambda f: np.sqrt(sum(f(p, axis=(1, 2)) ** 2 for p in parts))
  return of(np.std) + 0.3 * of(np.mean)


def area(distance: np.ndarray) -> np.ndarray:
  """What a pixel whose (a, b) is wrong by `distance` contributes to AuC: Zhang, Isola & Efros (2016), in [0, 1].

  The share of pixels with an error of at most t, over t = 0, 1, .. 150: the area under it by trapezoids, over 150, is
  the mean of this over the pixels.
  """
  first = np.ceil(distance)
  found = np.where(first == 0, _LARGEST, np.where(first <= _LARGEST, _LARGEST + 0.5 - first, 0.0))
  return found / _LARGEST


def bin_weights(ab: np.ndarray) -> np.ndarray:
  """The weights [Q] of the rebalanced AuC: the inverse of the smoothed frequencies of colours ab [..., 2].

  Bins that hold none of the colours weigh at most as much as one with a single one, see colour_bins.weights.
  """
  smooth = colour_bins.smoothed(colour_bins.frequencies(np.asarray(ab, np.float32)))
  return np.asarray(colour_bins.weights(smooth, 0.0, ab[..., 0].size), np.float64)


def _within(found: np.ndarray, true: np.ndarray, level: float) -> np.ndarray:
  """Share of pixels with |L| <= level, |a|, |b| <= 2.2 level, all three, between rounded Lab (Nazeri et al., 2018)."""
  off = np.abs(np.round(found) - np.round(true))
  return ((off[..., 0] <= level) & (off[..., 1] <= 2.2 * level) & (off[..., 2] <= 2.2 * level)).mean((1, 2))


def _measured(ab: np.ndarray, rgb: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
  exact, true = np.asarray(rgb, np.float64) / 255, lab_of_levels(rgb)
  found = np.concatenate([true[..., :1], ab], -1)
  made = colour_spaces.rgb_of_lab(found, np)
  shown = np.clip(made, 0, 1)
  areas = area(np.sqrt(((ab - true[..., 1:]) ** 2).sum(-1)))
  of_pixel = weights[np.asarray(colour_bins.nearest(true[..., 1:].astype(np.float32)))]
  return {
    "mae": 100 * np.abs(shown - exact).mean((1, 2, 3)),
    "within_2": 100 * _within(found, true, 2),
    "within_5": 100 * _within(found, true, 5),
    "square_error": ((shown - exact) ** 2).mean((1, 2, 3)),
    "auc": 100 * areas.mean((1, 2)),
    "weighted_area": 100 * (of_pixel * areas).mean((1, 2)),
    "weight": of_pixel.mean((1, 2)),
    "colourfulness": colourfulness(shown),
    "clipped": 100 * ((made < -0.5 / 255) | (made > 1 + 0.5 / 255)).any(-1).mean((1, 2)),
  }


def per_image(ab: np.ndarray, rgb: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
  """{measure: [N]} of ab [N, H, W, 2] against RGB in 8 bits [N, H, W, 3]; L is that of the photographs.

  mae, within_2, within_5, auc and clipped are in per cent.  The accuracies and auc are of (L, a, b) before it is
  clipped to sRGB, the others of RGB after that, unrounded.  clipped is the share of pixels that sRGB cannot show, by
  half a level.
  """
  rows = max(1, _CHUNK // rgb[0].size)
  parts = [_measured(ab[i : i + rows], rgb[i : i + rows], weights) for i in range(0, len(rgb), rows)]
  return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
  """The mean of [N] and its standard error, 0 for N = 1."""
  return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def summary(found: Mapping[str, np.ndarray]) -> dict[str, float]:
  """Means over images of what `per_image` found, and their standard errors, NAME_stderr.

  psnr is the mean over images, psnr_pooled that of the mean squared error, auc_rebalanced a ratio of means, whose error
  is by the delta method.
  """
  square = np.maximum(found["square_error"], _SMALLEST)
  plain = {k: found[k] for k in ("mae", "within_2", "within_5", "auc", "colourfulness", "clipped")}
  plain["psnr"] = -10 * np.log10(square)
  numbers = {name: mean_and_error(values) for name, values in plain.items()}
  mean, error = mean_and_error(square)
  numbers["psnr_pooled"] = (-10 * float(np.log10(mean)), 10 / np.log(10) * error / mean)
  weight = found["weight"].mean()
  ratio = found["weighted_area"].mean() / weight
  numbers["auc_rebalanced"] = (
    float(ratio),
    mean_and_error((found["weighted_area"] - ratio * found["weight"]) / weight)[1],
  )
  return {f"{k}{end}": float(v) for k, pair in numbers.items() for end, v in zip(("", "_stderr"), pair, strict=True)}


def answers(names: Sequence[str], rgb: np.ndarray, train: np.ndarray) -> dict[str, np.ndarray]:
  """{name: ab [N, H, W, 2]} of answers that know nothing of how colours follow from L.

  grey: 0; median: that of the first 1,000 training images, everywhere; another: image i has the colours of training
  image i; nearest: those of the training image, of the first 10,000, whose L is nearest in squares.

  Args:
    names: of ANSWERS.
    rgb: the photographs, RGB in 8 bits [N, H, W, 3].
    train: training images, the same.
  """
  shape = (*rgb.shape[:-1], 2)
  found = {"grey": np.zeros(shape)} if "grey" in names else {}
  if "median" in names:
    ab = lab_of_levels(train[:_COUNTED])[..., 1:].reshape(-1, 2)
    found["median"] = np.broadcast_to(np.median(ab, 0), shape)
  if "another" in names:
    found["another"] = lab_of_levels(train[np.arange(len(rgb)) % len(train)])[..., 1:]
  if "nearest" in names:
    found["nearest"] = lab_of_levels(train[_nearest(rgb, train[:_SEARCHED])])[..., 1:]
  return found


def _nearest(rgb: np.ndarray, train: np.ndarray) -> np.ndarray:
  """The training image whose L is nearest to that of each image, [N]."""
  flat = lambda x: colour_spaces.lightness_of_rgb(x.astype(np.float32) / 255, np).reshape(len(x), -1)
  known = flat(train)
  square = (known**2).sum(1)
  rows = max(1, _CHUNK // max(len(known), known.shape[1]))
  parts = [flat(rgb[i : i + rows]) for i in range(0, len(rgb), rows)]
  return np.concatenate([np.argmin(square - 2 * part @ known.T, 1) for part in parts])
