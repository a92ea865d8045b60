"""Flows fitted to energies: Z by importance weights of every layer, the bound by quadrature, and that training fits."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax.core import config_args, errors
from dgm_jax.distributions import energies
from dgm_jax.distributions.bijectors import flows
from dgm_jax.experiments.papers.rezende2015 import planar_energies
from dgm_jax.models.flows import energy_flow
from dgm_jax.principles import own_bound

KEY, N = jax.random.key(0), 20_000
BATCH = {"x": jnp.zeros((N, 2)), "index": jnp.arange(N)}
EVERY = [name for name in flows.LAYERS if name != "residual"]  # its log-determinant is of one's own choice of estimate


def made(layer, energy="U1", **options):
  args = {"hidden": (8,)} if layer in ("coupling", "autoregressive", "residual") else {}
  model = energy_flow.Model((2,), energy=energy, layer=layer, num_layers=2, layer_args=args, **options)
  variables = model.init(KEY, KEY, {"x": jnp.zeros((3, 2))}, method="bound")
  noise = np.random.default_rng(1)
  return model, jax.tree.map(lambda a: a + jnp.asarray(0.2 * noise.normal(size=a.shape), a.dtype), variables)


@pytest.mark.parametrize("name", energies.ENERGIES)
def test_log_z_is_that_of_a_quadrature(name):
  assert energy_flow.LOG_Z[name] == pytest.approx(planar_energies.log_normaliser(name, 801), abs=1e-5)


@pytest.mark.parametrize("layer", EVERY)
def test_log_q_is_that_of_the_draws(layer):
  """E_q[r(z) / q(z)] = 1 for a normal r, narrower than q."""
  model, variables = made(layer)
  z, log_q = jax.jit(lambda v: model.apply(v, KEY, N, method="sample_and_log_prob"))(variables)
  r = jax.scipy.stats.norm.logpdf(z, jnp.median(z, 0), 0.3 * z.std(0)).sum(-1)
  weights = np.exp(np.asarray(r - log_q, np.float64))
  assert abs(weights.mean() - 1) < 5 * weights.std() / N**0.5


def test_the_bound_is_log_z_minus_the_divergence():
  model, variables = made("coupling", "U2")
  found = jax.jit(lambda v: model.apply(v, KEY, BATCH, method="evaluate"))(variables)
  side = np.linspace(-9, 9, 401)
  z = jnp.asarray(np.stack(np.meshgrid(side, side, indexing="ij"), -1).reshape(-1, 2), jnp.float32)

  def by_inverse(model, z):
    total = 0.0
    for _, bijector in model.flow.bijectors()[::-1]:
      z, log_det = bijector.inverse_and_log_det(z)
      total = total + log_det
    return model.p_e().log_prob(z) + total

  log_q = np.asarray(jax.jit(lambda v: model.apply(v, z, method=by_inverse))(variables), np.float64)
  q, cell = np.exp(log_q), (side[1] - side[0]) ** 2
  assert q.sum() * cell == pytest.approx(1, abs=1e-3)
  kl = (q * (log_q + np.asarray(energies.energy("U2", z)) + energy_flow.LOG_Z["U2"])).sum() * cell
  values = np.asarray(found["kl"], np.float64)
  assert abs(values.mean() - kl) < 4 * values.std() / N**0.5 + 1e-3
  np.testing.assert_allclose(found["log_z"] + found["kl"], energy_flow.LOG_Z["U2"], rtol=1e-4, atol=1e-4)


def test_training_lowers_the_divergence():
  model = energy_flow.Model((2,), energy="U2", layer="coupling", num_layers=4, layer_args={"hidden": (16,)})
  system = own_bound.make(model, optax.adam(1e-2))
  batch = {"x": jnp.zeros((256, 2)), "index": jnp.arange(256)}
  state = jax.jit(lambda key: system.init(key, batch, {}))(KEY)
  first = float(jnp.mean(jax.jit(system.eval_step)(state, KEY, batch)["kl"]))
  run = jax.jit(
    lambda s: jax.lax.scan(lambda s, key: (system.train_step(s, key, batch)[0], None), s, jax.random.split(KEY, 600))[0]
  )
  last = float(jnp.mean(jax.jit(system.eval_step)(run(state), KEY, batch)["kl"]))
  assert last < 0.6 and first > 3 * last, (first, last)


@pytest.mark.parametrize("arg,named", [
  ("net=planar", r"net=planar has no log p of data: add energy=U1"),
  ("net=made,energy=U1", "net=made is not fitted to an energy"),
])  # fmt: skip
def test_mistakes_are_one_sentence(arg, named):
  with pytest.raises(errors.UserError, match=named):
    config_args.load(f"flow_plane:{arg}")
  with pytest.raises(errors.UserError, match="The energies are of the plane; x has 3 entries"):
    energy_flow.Model((3,)).init(KEY, KEY, {"x": jnp.zeros((2, 3))}, method="bound")
  with pytest.raises(errors.UserError, match="energy = 'U5'; it must be one of U1, U2, U3, U4"):
    energy_flow.Model((2,), energy="U5").init(KEY, KEY, {"x": jnp.zeros((2, 2))}, method="bound")
