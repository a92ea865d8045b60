"""A table with four kinds of columns, and an untrained MIWAE for it."""

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.applications.imputation import columns, fit, fitted

COLUMNS = (
  columns.Column("r", "real", loc=3.0, scale=2.0),
  columns.Column("b", "binary", ("n", "y"), low=0, high=1),
  columns.Column("i", "integer", loc=10.0, scale=4.0),
  columns.Column("c", "categorical", ("p", "q", "s"), low=0, high=2),
)
SMALL = {"latent_dim": 2, "hidden": (8,), "num_samples": 5}
DRAWS = {"num_samples": 1000, "num_draws": 999}
SPEC = fit.Spec(tuple(c.likelihood for c in COLUMNS), 2, (8,), 5)


def untrained(num_models=1):
  """A model of COLUMNS with q(z|x) = p(z) and a decoder for which z matters."""
  params = fit._programs(SPEC).start(jax.random.split(jax.random.key(5), num_models)).params
  leaves, tree = jax.tree.flatten(params["decoder"])
  keys = jax.random.split(jax.random.key(6), len(leaves))
  leaves = [a + 0.7 * jax.random.normal(k, a.shape) for k, a in zip(keys, leaves, strict=True)]
  params = {"encoder": jax.tree.map(jnp.zeros_like, params["encoder"]), "decoder": tree.unflatten(leaves)}
  return fitted.Fitted(SPEC, COLUMNS, fit.Fit({"params": params}, 0, None, ""))


def rows(n, seed=0, rate=0.3):
  """(rows with missing entries, complete rows), whose four columns all depend on one normal variable."""
  g = np.random.default_rng(seed)
  z = g.normal(size=n)
  r = 3 + 2 * z + 0.3 * g.normal(size=n)
  x = np.stack([r, z > 0, np.round(10 + 4 * z), np.digitize(z, [-0.5, 0.5])], 1).astype(float)
  return np.where(g.random(x.shape) < rate, np.nan, x), x


MISSING, COMPLETE = rows(100)
