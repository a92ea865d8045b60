"""Clusters far apart relative to their width, in single precision: the same results as in double precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.experiments.papers.mattei2018 import npmle
from dgm_jax.models.mixtures import (
  base,
  covariances,
  factor_analyser_mixture,
  gaussian_mixture,
  kmeans,
  student_t_mixture,
)
from dgm_jax.models.sequences import emissions

N, D, C = 400, 3, 4
MODELS = {k: gaussian_mixture.Model((D,), num_components=C, covariance=k, floor=0.0) for k in covariances.KINDS}
MODELS["student_t"] = student_t_mixture.Model((D,), num_components=C, covariance="tied", floor=0.0)
MODELS["factor_analysers"] = factor_analyser_mixture.Model((D,), num_components=C, latent_dim=1)
MODELS["kmeans"] = kmeans.Model((D,), num_components=C)
MODELS["hmm"] = emissions.Gaussian(D, "tied", 0.0, "kmeans")
every_model = pytest.mark.parametrize(
  "name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in ("tied", "kmeans"))) for n in MODELS]
)


@functools.cache
def data(gap):
  """(x [N, D], means [C, D]), float32: two pairs of clusters, `gap` apart; the members of a pair overlap."""
  means = np.array([[0.0] * D, [3.0] * D, [gap] * D, [gap + 3] + [gap] * (D - 1)]).astype("f")
  x = means[np.arange(N) % C] + np.random.default_rng(0).normal(size=(N, D))
  return x.astype("f"), means


def parameters(name, means):
  params = {"means": means, "log_weights": jnp.zeros(C), "scales": jnp.ones(C), "log_dof": jnp.full(C, 2.0)}
  kind = covariances.KINDS[name if name in covariances.KINDS else "tied"]
  params["roots"] = kind.start(jnp.ones(D), C)
  if name == "factor_analysers":
    return {
      "log_weights": params["log_weights"],
      "loc": means,
      "loadings": jnp.full((C, D, 1), 0.5),
      "log_variance": jnp.zeros((C, D)),
    }
  return params if name in ("kmeans", "hmm") else {k: params[k] for k in ("log_weights", *MODELS[name].names)}


def step(name, x, means):
  """(log p(x) or the distance to the nearest centre [N], the parameters after an M-step)."""
  model, params = MODELS[name], parameters(name, means)
  if name == "hmm":
    log_px = model.log_prob(params, x)
    return log_px, model.update(params, model.sums(params, x, jax.nn.softmax(log_px, 1).T))
  s, _ = model.e_step(params, {"x": x}, jnp.ones(N, x.dtype))
  if name == "kmeans":
    value = jnp.min(base.distances(x, means), 1)
  else:
    value = jax.scipy.special.logsumexp(model.log_joint(params, x), 1)
  return value, model.m_step(jax.random.key(0), params, s)


def in_both_precisions(f, *args):
  single = jax.jit(f)(*args)
  with jax.enable_x64(True):
    return single, jax.jit(f)(*(np.asarray(a, np.float64) for a in args))


@pytest.mark.parametrize("gap", [1e3, 1e4])
@every_model
def test_an_em_step_is_that_of_double_precision(name, gap):
  """Values to 1e-2, variances to 1e-3; means to the spacing of float32 at `gap`, as the data themselves."""
  (value, new), (right, best) = in_both_precisions(functools.partial(step, name), *data(gap))
  np.testing.assert_allclose(value, right, atol=1e-2, rtol=2e-7)
  for key, leaf in new.items():
    atol = {"means": 2e-7 * gap, "loc": 2e-7 * gap}.get(key, 2e-3)
    np.testing.assert_allclose(leaf, best[key], atol=atol, rtol=1e-4, err_msg=key)


def test_near_clusters_take_the_same_values_either_way():
  """The faster sums about a common centre and those for clusters far apart are the same quantities."""
  rng = np.random.default_rng(1)
  y, v, w = rng.normal(size=(50, D)), rng.normal(size=(C, D)), rng.dirichlet(np.ones(C), 50).T * rng.random(50)
  with jax.enable_x64(True):
    args = [jnp.asarray(a) for a in (y, v, w)]
    a, b = (jax.jit(f)(*args) for f in (covariances._moments_about_center, covariances._moments_about_expected_mean))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10), a, b)
    direct = ((y[:, None] - v) ** 2).sum(-1)
    for f in (base.distances, lambda y, v: base.distances_by_nearest(y, v, jnp.zeros(50, int))):
      np.testing.assert_allclose(jax.jit(f)(*args[:2]), direct, atol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1e2, 1e3])
def test_the_nonparametric_mixture_s_densities_hold_for_any_location(offset):
  """To 1e-2 nats with a variance of 1e-3, for pairs of points near each other and `offset` from the other pairs."""
  rng = np.random.default_rng(2)
  centre = offset * rng.choice([-1, 1], (30, 5)) + offset
  x, mean = ((centre + 0.1 * rng.normal(size=(30, 5))).astype("f") for _ in range(2))
  variance = np.full((30, 5), 1e-3, "f")
  diagonal = lambda *args: jnp.diagonal(npmle.log_normal(*args))
  found, right = in_both_precisions(diagonal, x, mean, variance)
  np.testing.assert_allclose(found, right, atol=1e-2)
  peak = jax.jit(lambda x: npmle.certificate(x, jnp.zeros(30, x.dtype), 1e-3))
  np.testing.assert_allclose(*in_both_precisions(peak, x), atol=1e-2)
