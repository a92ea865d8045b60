"""Batch normalisation: moments of the batch, moving and pooled ones, gains by class."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dgm_jax.networks.batch_norms import BatchNorm, ConditionalBatchNorm, pooled

X = 3 + 2 * jax.random.normal(jax.random.key(0), (6, 4, 5, 3))


def test_it_equals_that_of_flax_with_its_moving_moments():
  ours, theirs = BatchNorm(), nn.BatchNorm(momentum=0.9, use_running_average=False)
  given = ours.init(jax.random.key(1), X, True)
  assert jax.tree.map(jnp.shape, given) == jax.tree.map(jnp.shape, theirs.init(jax.random.key(1), X))
  given = jax.tree.map(lambda a: a + 0.3, given)
  (a, moved), (b, expected) = (
    layer.apply(given, X, *args, mutable=["batch_stats"]) for layer, args in ((ours, (True,)), (theirs, ()))
  )
  np.testing.assert_allclose(a, b, atol=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), moved, expected)
  own, other = ours.apply(given, X, False), theirs.clone(use_running_average=True).apply(given, X)
  np.testing.assert_allclose(own, other, atol=1e-5)
  loss = lambda layer, args: lambda x: jnp.sum(jnp.sin(layer.apply(given, x, *args, mutable=["batch_stats"])[0]))
  np.testing.assert_allclose(jax.grad(loss(ours, (True,)))(X), jax.grad(loss(theirs, ()))(X), atol=1e-4)


def test_each_class_has_its_gain_and_its_bias():
  layer, y = ConditionalBatchNorm(num_classes=3, kernel_init=nn.initializers.normal(1.0)), jnp.array([0, 1, 2, 0, 1, 2])
  given = layer.init(jax.random.key(1), X, y, True)
  found, _ = layer.apply(given, X, y, True, mutable=["batch_stats"])
  plain = (X - X.mean((0, 1, 2))) / np.sqrt(X.var((0, 1, 2)) + 1e-5)
  tables = given["params"]
  gain, bias = 1 + tables["gain"]["embedding"][y], tables["bias"]["embedding"][y]
  np.testing.assert_allclose(found, plain * gain[:, None, None] + bias[:, None, None], atol=1e-4)
  mixed, _ = layer.apply(given, X, jax.nn.one_hot(y, 3), True, mutable=["batch_stats"])
  np.testing.assert_allclose(mixed, found, atol=1e-5)


def test_outside_of_training_an_example_does_not_depend_on_its_neighbours():
  layer = BatchNorm()
  given = layer.init(jax.random.key(1), X, True)
  other = X.at[0].add(5.0)
  np.testing.assert_array_equal(layer.apply(given, X, False)[1:], layer.apply(given, other, False)[1:])
  inside = [layer.apply(given, x, True, mutable=["batch_stats"])[0][1:] for x in (X, other)]
  assert abs(inside[0] - inside[1]).max() > 0.1


def test_pooled_moments_are_those_of_one_batch_of_all():
  """Of one layer: the mean of E x and of E x^2 over batches of one size; only a collection that is asked for."""
  layer = BatchNorm()
  given = layer.init(jax.random.key(1), X, True)
  assert "moments" not in given
  parts = [layer.apply(given, X[i : i + 2], True, mutable=["moments"])[1]["moments"] for i in (0, 2, 4)]
  mean = jax.tree.map(lambda *a: sum(a) / 3, *parts)
  found = pooled({"inner": given["batch_stats"], "other": 1}, {"inner": mean})
  np.testing.assert_allclose(found["inner"]["mean"], X.mean((0, 1, 2)), rtol=1e-5)
  np.testing.assert_allclose(found["inner"]["var"], X.var((0, 1, 2)), rtol=1e-4)
  assert found["other"] == 1


def test_moments_are_float32_for_products_in_bfloat16():
  layer, x = BatchNorm(), (X + 100).astype(jnp.bfloat16)
  y, moved = layer.apply(layer.init(jax.random.key(1), x, True), x, True, mutable=["batch_stats"])
  assert y.dtype == jnp.bfloat16
  assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(moved))


def test_a_batch_of_equal_examples_is_finite():
  layer = BatchNorm()
  one = jnp.full((1, 1, 1, 3), 7.0)
  given = layer.init(jax.random.key(1), one, True)
  y, gradient = jax.value_and_grad(lambda x: layer.apply(given, x, True, mutable=["batch_stats"])[0].sum())(one)
  assert abs(y) < 1e-2
  assert jnp.isfinite(gradient).all()
