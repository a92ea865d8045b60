"""CarRacing-v3 without what nobody sees: the rows 0 to 83 of its frames are the same, bit for bit, in 40 % of the time.

gymnasium turns and draws some 800 polygons a frame in Python, of which a dozen are in the window, then a panel and a
number, which the crop of world models removes.  Here one product transforms all polygons, those outside the window are
left out, the field is a fill where it covers the window, and there is no panel.
"""

import hashlib
import inspect
import warnings
from typing import Any

import numpy as np

# of the source of CarRacing's drawing, of gymnasium versions with the same pixels
_KNOWN = {"1.4.0": "a35e7b75ee626df3"}
_DRAWN = ("_render", "_render_road", "_draw_colored_polygon", "_create_image_array", "_create_track", "step", "reset")


def fingerprint() -> str:
  """Sixteen hexadecimal digits of the source of CarRacing's drawing."""
  from gymnasium.envs.box2d import car_racing

  source = "".join(inspect.getsource(getattr(car_racing.CarRacing, name)) for name in _DRAWN)
  return hashlib.sha256(source.encode()).hexdigest()[:16]


def is_known() -> bool:
  """Whether the installed gymnasium draws as one that this file was tested with."""
  return fingerprint() in _KNOWN.values()


def _visible(at: np.ndarray, window: np.ndarray, margin: float) -> np.ndarray:
  """Indices of the polygons with corners at [P, C, 2] that may touch the window of this width and height."""
  inside = (at >= -margin) & (at <= window + margin)
  # a pixel more than the original's own test, which decides for those near its border
  touches = (at.max(1) >= -2).all(1) & (at.min(1) <= window + 2).all(1)
  return np.flatnonzero(inside.all(2).any(1) & touches)


def _class() -> type:
  import pygame
  from gymnasium.envs.box2d import car_racing as original
  from pygame import gfxdraw

  margin, width, height = original.MAX_SHAPE_DIM, original.WINDOW_W, original.WINDOW_H

  class FastCarRacing(original.CarRacing):
    """See the module."""

    def reset(self, **options: Any) -> Any:
      self._polygons = None
      return super().reset(**options)

    def _prepared(self) -> None:
      """The corners and colours of all grass patches and tiles, in the order in which they are drawn."""
      size, steps = original.GRASS_DIM, range(-20, 20, 2)
      corners = [(1, 0), (0, 0), (0, 1), (1, 1)]
      grass = [[(size * x + size * a, size * y + size * b) for a, b in corners] for x in steps for y in steps]
      road = [[(p[0], p[1]) for p in polygon] for polygon, _ in self.road_poly]
      self._polygons = np.array(grass + road, np.float64)
      # arrays, which change where a tile has been visited
      self._colours = [self.grass_color] * len(grass) + [color for _, color in self.road_poly]

    def _render(self, mode: str) -> Any:
      if mode != "state_pixels":
        return super()._render(mode)
      if "t" not in self.__dict__:
        return None
      if self._polygons is None:
        self._prepared()
      self.surf = pygame.Surface((width, height))
      angle = -self.car.hull.angle
      zoom = 0.1 * original.SCALE * max(1 - self.t, 0) + original.ZOOM * original.SCALE * min(self.t, 1)
      scroll = (-(self.car.hull.position[0]) * zoom, -(self.car.hull.position[1]) * zoom)
      moved = pygame.math.Vector2(scroll).rotate_rad(angle)
      translation = (width / 2 + moved[0], height / 4 + moved[1])
      self._render_road(zoom, translation, angle)
      self.car.draw(self.surf, zoom, translation, angle, False)
      self.surf = pygame.transform.flip(self.surf, False, True)
      return self._create_image_array(self.surf, (original.STATE_W, original.STATE_H))

    def _render_road(self, zoom: float, translation: tuple[float, float], angle: float) -> None:
      bounds = original.PLAYFIELD
      field = [(bounds, bounds), (bounds, -bounds), (-bounds, -bounds), (-bounds, bounds)]
      # how far the window's corners are from the car, in the field's units; one more for rounding
      reach = (np.hypot(width, height) + 2) / zoom
      if max(map(abs, self.car.hull.position)) + reach < bounds:
        self.surf.fill(tuple(map(int, self.bg_color)))
      else:
        self._draw_colored_polygon(self.surf, field, self.bg_color, zoom, translation, angle, clip=False)
      turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
      at = self._polygons @ (zoom * turn) + np.array(translation)
      for i in _visible(at, np.array([width, height]), margin):
        corners = [pygame.math.Vector2(c).rotate_rad(angle) for c in self._polygons[i].tolist()]
        corners = [(c[0] * zoom + translation[0], c[1] * zoom + translation[1]) for c in corners]
        for draw in (gfxdraw.aapolygon, gfxdraw.filled_polygon):
          draw(self.surf, corners, tuple(map(int, self._colours[i])))

  return FastCarRacing


def make() -> Any:
  """CarRacing-v3 with continuous actions; the fast one where it is known to draw the same, else the original."""
  if is_known():
    return _class()(continuous=True)
  import gymnasium
  from gymnasium.envs.box2d import car_racing

  warnings.warn(
    f"gymnasium {gymnasium.__version__} draws CarRacing otherwise than the versions that the fast car was tested with "
    f"({', '.join(_KNOWN)}): the original is used, at less than half of the speed.",
    stacklevel=2,
  )
  return car_racing.CarRacing(continuous=True)
