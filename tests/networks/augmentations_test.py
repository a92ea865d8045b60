"""DiffAugment: ranges, identity at strength 0, gradients, and the same law for every image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.networks import augmentations
from dgm_jax.networks.augmentations import NUMBERS, POLICIES, augment

X = jax.random.uniform(jax.random.key(0), (16, 8, 12, 3), minval=0.2, maxval=0.8)
U = jax.random.uniform(jax.random.key(1), (16, NUMBERS))


@pytest.mark.parametrize("policy", [(name,) for name in POLICIES] + [POLICIES], ids=str)
def test_strength_and_probability_of_zero_leave_the_image(policy):
  changed = augment(U, X, policy)
  assert changed.shape == X.shape
  assert abs(changed - X).max() > 0.05
  np.testing.assert_allclose(augment(U, X, policy, strength=0.0), X, atol=1e-6)
  np.testing.assert_array_equal(augment(U, X, policy, p=0.0), X)
  gradient = jax.grad(lambda x: jnp.sum(jnp.sin(augment(U, x, policy))))(X)
  assert jnp.isfinite(gradient).all()
  assert (abs(gradient).max((1, 2, 3)) > 1e-3).all()


def test_the_gradient_is_that_of_finite_differences():
  one, direction = (
    lambda x: jnp.sum(jnp.sin(3 * augment(U, x, POLICIES))),
    jax.random.normal(jax.random.key(2), X.shape),
  )
  step = 1e-2
  numeric = (one(X + step * direction) - one(X - step * direction)) / (2 * step)
  np.testing.assert_allclose(jnp.sum(jax.grad(one)(X) * direction), numeric, rtol=1e-2)


def test_colour_keeps_to_the_published_ranges():
  ends = lambda i, v: jnp.full((16, 3), 0.5).at[:, i].set(v)
  for v, move, saturation, contrast in ((0.0, -0.25, 0.0, 0.5), (1.0, 0.25, 2.0, 1.5)):
    np.testing.assert_allclose(augmentations.color(ends(0, v), X, 1.0), X + move, atol=1e-6)
    grey = X.mean(-1, keepdims=True)
    np.testing.assert_allclose(augmentations.color(ends(1, v), X, 1.0), grey + saturation * (X - grey), atol=1e-6)
    mean = X.mean((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(augmentations.color(ends(2, v), X, 1.0), mean + contrast * (X - mean), atol=1e-6)
  np.testing.assert_allclose(augmentations.color(ends(0, 0.5), X, 1.0), X, atol=1e-6)


def test_every_move_is_equally_likely_and_leaves_grey():
  """Up to 1 of 8 rows and 2 of 12 columns (an eighth, rounded): 15 moves of a lone bright pixel."""
  n = 6000
  u = jax.random.uniform(jax.random.key(3), (n, 2))
  x = jnp.full((1, 8, 12, 1), 0.5).at[0, 3, 5].set(1.0)
  found = augmentations.translation(u, jnp.broadcast_to(x, (n, 8, 12, 1)), 1.0)
  counts = (found > 0.75).sum(0)[..., 0]
  assert (counts > 0).sum() == 15
  assert counts.sum() == n
  assert (counts[2:5, 3:8] > 0).all()
  expected = n / 15
  assert (abs(counts[2:5, 3:8] - expected) < 5 * np.sqrt(expected)).all()
  edge = augmentations.translation(jnp.array([[0.99, 0.5]]), X[:1], 1.0)
  assert (abs(edge - 0.5) < 1e-6).all((0, 2, 3)).any()  # a row without a source


def test_a_cut_is_half_of_the_sides_where_it_fits():
  x = jnp.ones((2000, 8, 12, 3))
  found = augmentations.cutout(jax.random.uniform(jax.random.key(4), (2000, 2)), x, 1.0) == 0.5
  rows, columns = (found.any(axes).sum(-1) for axes in ((2, 3), (1, 3)))
  assert rows.max() == 4
  assert columns.max() == 6
  assert rows.min() >= 1
  assert (found.all(-1).sum((1, 2)) == rows * columns).all()
  middle = augmentations.cutout(jnp.full((1, 2), 0.5), x[:1], 1.0) == 0.5
  assert middle[0, 2:6, 3:9].all()
