"""plane: points of the plane, NAME of plane/NAME, with their modes, their exact log density and entropy.  No download.

Most are normal noise of standard deviation `noise` around points or curves: mixtures of normals, of the curves by
quadrature along them with an error of about 1e-9.  checkerboard is uniform; pinwheel is five normals, turned by an
angle that grows with the distance from 0, which preserves areas and therefore densities and entropy; sine is x2 =
sin(2 x1) + noise, x1 ~ U(-pi, pi).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from dgm_jax.core import errors
from dgm_jax.data.splits import Splits

_STEP = 0.5  # of the quadrature along a curve, in standard deviations of the noise
_MOST_NODES = 4000


class _Curve(NamedTuple):
  """Points c(t), t ~ U(0, 1), around which the noise is added.

  Attributes:
    at: t [n] -> c(t) [n, 2].
    length: its length, times the largest |c'(t)| over the mean one.
    closed: whether c is periodic.
  """

  at: Callable[[np.ndarray], np.ndarray]
  length: float
  closed: bool = False


class _Plane(NamedTuple):
  """One set.

  Attributes:
    noise: its standard deviation, unless another is given.
    modes: centres of the normals, [C, 2], equally probable; or
    curves: the curves, equally probable.
  """

  noise: float
  modes: np.ndarray | None = None
  curves: tuple[_Curve, ...] = ()


def _polar(radius: np.ndarray | float, angle: np.ndarray) -> np.ndarray:
  return np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)


def _moon(t: np.ndarray) -> np.ndarray:
  return _polar(1.0, np.pi * t)


def _circle(radius: float) -> _Curve:
  return _Curve(lambda t: _polar(radius, 2 * np.pi * t), 2 * np.pi * radius, True)


def _spiral(t: np.ndarray) -> np.ndarray:
  angle = 3 * np.pi * np.sqrt(t)
  return _polar(angle / 3, np.pi - angle)


def _roll(t: np.ndarray) -> np.ndarray:
  angle = 1.5 * np.pi * (1 + 2 * t)
  return _polar(angle / 5, angle)


_EIGHTHS = np.arange(8) * np.pi / 4
_AXIS = np.arange(-4.0, 5.0, 2.0)
_PLANES = {
  "ring": _Plane(0.01, _polar(1.0, _EIGHTHS)),
  "grid": _Plane(0.05, np.stack(np.meshgrid(_AXIS, _AXIS, indexing="ij"), -1).reshape(-1, 2)),
  "eight_gaussians": _Plane(0.5 / 2**0.5, _polar(4 / 2**0.5, _EIGHTHS)),
  "moons": _Plane(0.1, None, (_Curve(_moon, np.pi), _Curve(lambda t: [1.0, 0.5] - _moon(t), np.pi))),
  "circles": _Plane(0.08, None, (_circle(1.0), _circle(0.5))),
  "spirals": _Plane(0.1, None, (_Curve(_spiral, 16.0), _Curve(lambda t: -_spiral(t), 16.0))),
  "swiss_roll": _Plane(0.2, None, (_Curve(_roll, 27.0),)),
  "sine": _Plane(0.15),
  "checkerboard": _Plane(0.0),
  "pinwheel": _Plane(0.1),
}
MEMBERS = tuple(_PLANES)
_SIDE = 2.0  # of a square of the board, which covers [-4, 4]^2
_ARMS, _REACH, _RATE = 5, 0.3, 0.25  # of the pinwheel: normals N((1, 0), diag(reach^2, noise^2)), turned


def _nodes(curve: _Curve, noise: float) -> tuple[np.ndarray, np.ndarray]:
  """(points [M, 2], weights [M]) of the quadrature over t."""
  count = int(np.ceil(curve.length / (_STEP * noise))) + 16
  errors.require(
    count <= _MOST_NODES, f"data.noise = {noise} is too little for the density along the curve; give 0 or more."
  )
  if curve.closed:
    t, weights = (np.arange(count) + 0.5) / count, np.full(count, 1 / count)
  else:
    t, weights = np.polynomial.legendre.leggauss(count)
    t, weights = (t + 1) / 2, weights / 2
  # t = s^2 takes the singularity of a square root out of c(t)
  return (curve.at(t), weights) if curve.closed else (curve.at(t**2), weights * 2 * t)


def _mixture(member: str, noise: float) -> tuple[np.ndarray, np.ndarray]:
  """(centres [M, 2], log-weights [M]) of the normals."""
  plane = _PLANES[member]
  if plane.modes is not None:
    return plane.modes, np.full(len(plane.modes), -np.log(len(plane.modes)))
  parts = [_nodes(curve, noise) for curve in plane.curves]
  centres, weights = (np.concatenate(p) for p in zip(*parts, strict=True))
  return centres, np.log(weights / len(parts))


def _turned(x: np.ndarray, arm: np.ndarray | int, rate: float, sign: int = 1) -> np.ndarray:
  """x [n, 2] turned by the angle of the arm, plus rate exp(|x|)."""
  angle = sign * (2 * np.pi * arm / _ARMS + rate * np.exp(np.linalg.norm(x, axis=-1)))
  return _polar(1.0, angle) * x[:, :1] + _polar(1.0, angle + np.pi / 2) * x[:, 1:]


def _pinwheel(x: np.ndarray, noise: float, rate: float = _RATE) -> np.ndarray:
  """log p(x), [n]."""
  at, scales = np.array([[1.0, 0.0]]), np.array([_REACH, noise])
  arms = [_log_normal(_turned(x, arm, rate, -1), at, scales) for arm in range(_ARMS)]
  return logsumexp(np.concatenate(arms, 1), 1) - np.log(_ARMS)


def _log_normal(x: np.ndarray, centres: np.ndarray, scales: np.ndarray | float) -> np.ndarray:
  """log N(x; c, diag(scales^2)), [n, M]."""
  scales = np.broadcast_to(scales, 2)
  squares = sum(np.square((x[:, None, i] - centres[None, :, i]) / scales[i]) for i in range(2))
  return -0.5 * squares - np.log(2 * np.pi * scales.prod())


def _noise(member: str, noise: float | None) -> float:
  errors.choose("plane", member, MEMBERS)
  return _PLANES[member].noise if noise is None else noise


def log_density(member: str, x: np.ndarray, noise: float | None = None, block: int = 2**22) -> np.ndarray | None:
  """log p(x), nats, float64 [n], of x [n, 2]; None without noise, for there is no density then.

  Args:
    member: a name of MEMBERS.
    x: points.
    noise: standard deviation; None for the set's own.  checkerboard has none.
    block: pairs of a point and a normal at once.
  """
  noise, x = _noise(member, noise), np.asarray(x, np.float64)
  if member == "checkerboard":
    square = np.floor(x / _SIDE).astype(int)
    inside = (np.abs(x) < 2 * _SIDE).all(1) & (square.sum(1) % 2 == 0)
    return np.where(inside, -np.log(8 * _SIDE**2), -np.inf)
  if noise <= 0:
    return None
  if member == "pinwheel":
    return _pinwheel(x, noise)
  if member == "sine":
    log_p = -0.5 * np.square((x[:, 1] - np.sin(2 * x[:, 0])) / noise) - 0.5 * np.log(2 * np.pi * noise**2)
    return np.where(np.abs(x[:, 0]) < np.pi, log_p - np.log(2 * np.pi), -np.inf)
  centres, log_weights = _mixture(member, noise)
  parts = np.array_split(x, max(1, -(-len(x) * len(centres) // block)))
  return np.concatenate([logsumexp(_log_normal(p, centres, noise) + log_weights, 1) for p in parts])


def box(member: str, noise: float | None = None, deviations: float = 9.0) -> tuple[np.ndarray, np.ndarray]:
  """(lower [2], upper [2]) corners of a rectangle that holds all points but about exp(-deviations^2 / 2) of them."""
  noise = _noise(member, noise)
  if member == "checkerboard":
    return np.full(2, -2 * _SIDE), np.full(2, 2 * _SIDE)
  if member == "pinwheel":
    return np.full(2, -1 - deviations * _REACH), np.full(2, 1 + deviations * _REACH)
  if member == "sine":
    edge = np.array([np.pi, 1 + deviations * noise])
    return -edge, edge
  centres, _ = _mixture(member, noise or 0.1)
  return centres.min(0) - deviations * noise, centres.max(0) + deviations * noise


def entropy(member: str, noise: float | None = None) -> float | None:
  """H = -E log p(x) in nats, with an error below 1e-6; None without noise, for it is not finite then.

  Well separated normals have log C + 1 + log 2 pi s^2, the sine log 2 pi + 1/2 log 2 pi e s^2, the board log 32; the
  others are integrated on a grid.
  """
  noise = _noise(member, noise)
  if member == "checkerboard":
    return float(np.log(8 * _SIDE**2))
  if noise <= 0:
    return None
  modes, log_square = _PLANES[member].modes, np.log(2 * np.pi * noise**2)
  if modes is not None:
    gaps = np.linalg.norm(modes[:, None] - modes[None], axis=-1) + 1e9 * np.eye(len(modes))
    if gaps.min() > 14 * noise:  # two normals overlap by less than 1e-11
      return float(np.log(len(modes)) + 1 + log_square)
  if member == "sine":
    return float(np.log(2 * np.pi) + 0.5 * (1 + log_square))
  low, high = box(member, noise)
  step = 0.6 * min(noise, _REACH)
  axes = [np.arange(a, b + step, step) for a, b in zip(low, high, strict=True)]
  points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
  log_p = _pinwheel(points, noise, 0.0) if member == "pinwheel" else log_density(member, points, noise)
  p = np.exp(log_p)
  return float(-np.sum(p * np.where(p > 0, log_p, 0)) * step**2)


def _draw(member: str, rng: np.random.RandomState, n: int, noise: float) -> dict[str, np.ndarray]:
  plane = _PLANES[member]
  if member == "checkerboard":
    column, row = rng.randint(0, 4, n), rng.randint(0, 2, n)
    corner = np.stack([column, 2 * row + column % 2], -1) * _SIDE - 2 * _SIDE
    return {"x": (corner + _SIDE * rng.uniform(size=(n, 2))), "y": column * 2 + row}
  if member == "pinwheel":
    arm = rng.randint(0, _ARMS, n)
    plain = rng.standard_normal((n, 2)) * [_REACH, noise] + [1.0, 0.0]
    return {"x": _turned(plain, arm, _RATE), "y": arm}
  if member == "sine":
    x = rng.uniform(-np.pi, np.pi, n)
    return {"x": np.stack([x, np.sin(2 * x) + noise * rng.standard_normal(n)], -1), "y": np.zeros(n)}
  count = len(plane.curves) if plane.modes is None else len(plane.modes)
  y, t = rng.randint(0, count, n), rng.uniform(size=n)
  if plane.modes is not None:
    centre = plane.modes[y]
  else:
    centre = np.stack([curve.at(t) for curve in plane.curves])[y, np.arange(n)]
  return {"x": centre + noise * rng.standard_normal((n, 2)), "y": y}


def load(
  member: str, noise: float | None = None, train_size: int = 100_000, valid_size: int = 10_000,
  test_size: int = 10_000, split_seed: int = 0,
) -> Splits:  # fmt: skip
  """x float32 [N, 2], y int32 [N]: the mode, curve, arm or square that the point belongs to.

  Args:
    member: ring (8 modes), grid (25 modes), eight_gaussians, moons, circles, checkerboard, pinwheel, spirals,
      swiss_roll or sine.
    noise: standard deviation of the normal noise; by default 0.01 of ring, 0.05 of grid, 0.35 of eight_gaussians, 0.1
      of moons, spirals and across the arms of pinwheel, 0.08 of circles, 0.15 of sine, along its second axis only, 0.2
      of swiss_roll.  checkerboard has none.
    train_size, valid_size, test_size: number of points; valid_size may be 0.
    split_seed: seed of the draws.

  about has entropy (nats) and noise, and modes [C, 2] where the set consists of normals.
  """
  errors.require(
    min(train_size, test_size) >= 1 and valid_size >= 0,
    f"data: train_size = {train_size} and test_size = {test_size} must be 1 or more, valid_size = {valid_size} 0 or "
    "more.",
  )
  deviation = _noise(member, noise)
  errors.require(deviation >= 0, f"data.noise = {noise}; it must be 0 or more.")
  errors.require(member != "checkerboard" or not noise, f"data.noise = {noise}; plane/checkerboard has no noise.")
  rng = np.random.RandomState(split_seed)
  typed = lambda found: {"x": found["x"].astype(np.float32), "y": found["y"].astype(np.int32)}
  train, test, valid = (typed(_draw(member, rng, n, deviation)) for n in (train_size, test_size, valid_size))
  about = {"columns": ("x1", "x2"), "noise": deviation, "entropy": entropy(member, noise)}
  if (modes := _PLANES[member].modes) is not None:
    about["modes"] = modes.tolist()
  return Splits(train, valid if valid_size else None, test, about)
