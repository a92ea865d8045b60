"""Terms of the objectives of latent-variable models, with models that return known numbers."""

import types

import jax
import jax.numpy as jnp
import pytest

from dgm_jax.principles.latent import latent, paired


class Known:
  """KL of two units for two examples, and a q(z|x) whose log-density is the number of observed entries."""

  def bind(self, variables):
    return self

  def kl(self, batch):
    return jnp.array([[0.0, 4.0], [2.0, 0.0]])

  def simulate(self, key, n):
    return {"x": jnp.ones((n, 3))}, jnp.zeros((n, 1))

  def infer(self, batch):
    assert set(batch) == {"x", "mask"}
    return types.SimpleNamespace(log_prob=lambda z: jnp.sum(batch["mask"] * batch["x"], 1))


@pytest.mark.parametrize("floor,total", [(0.0, 3.0), (1.5, 3.5), (5.0, 10.0)])
def test_free_bits_are_a_floor_of_the_batch_s_mean_kl_of_each_unit(floor, total):
  """Means 1 and 2; a floor of each example's KL would give 4.5 for 1.5."""
  terms, values = types.SimpleNamespace(px_z=jnp.array([-1.0, -3.0])), {"beta": 0.5, "free_bits": floor}
  assert float(latent._analytic(Known(), {}, {}, terms, values)) == pytest.approx(-2 - 0.5 * total)


@pytest.mark.parametrize("floor,total", [(0.5, 3.0), (1.5, 3.5), (5.0, 10.0)])
def test_kl_floor_is_a_floor_of_each_example_s_total_kl(floor, total):
  """KL 4 and 2 in total, of two units: floors 1, 3 and 10; a floor of the batch's mean would give 3 for 1.5."""
  terms, values = types.SimpleNamespace(px_z=jnp.array([-1.0, -3.0])), {"beta": 0.5, "kl_floor": floor}
  assert float(latent._analytic(Known(), {}, {}, terms, values, True)) == pytest.approx(-2 - 0.5 * total)


def test_the_sleep_phase_hides_from_q_what_is_missing_in_the_data():
  mask = jnp.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
  found = paired.sleep_log_q(Known(), {}, jax.random.key(0), {"x": jnp.zeros((2, 3)), "mask": mask}, 2)
  assert found.tolist() == [2.0, 1.0]
