"""The eye of a world model has the paper's sizes, and its loss is the summed squared error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.configs import world_v
from dgm_jax.core import errors
from dgm_jax.distributions.likelihoods import families
from dgm_jax.models.vae import vae
from dgm_jax.networks import encoder_decoder


@pytest.mark.parametrize("env,number", [("car", 4_348_547), ("doom", 4_446_915)])
def test_numbers_of_parameters_are_those_of_the_paper(env, number):
  args = world_v.get_config(f"env={env}").model.args.to_dict()
  model = vae.Model(data_shape=(64, 64, 3), **args)
  found = jax.eval_shape(model.init, jax.random.key(0), {"x": jnp.zeros((1, 64, 64, 3))})
  assert sum(a.size for a in jax.tree.leaves(found)) == number


def test_minus_log_p_is_the_summed_squared_error():
  family = families.make("gaussian_fixed", scale=0.5**0.5, mean="sigmoid")
  h, x = jnp.asarray([[-1.0, 0.3, 2.0]]), jnp.asarray([[0.0, 0.5, 1.0]])
  error = np.square(np.asarray(x) - 1 / (1 + np.exp(-np.asarray(h)))).sum(1)
  found = -family.given(h).log_prob(x)
  np.testing.assert_allclose(found, error + 1.5 * np.log(np.pi), rtol=1e-5)
  with pytest.raises(errors.UserError, match="one of linear, sigmoid"):
    families.make("gaussian_fixed", mean="tanh")


def test_a_kernel_for_each_convolution():
  common = ((16, 16, 1), 1, (), (3, 256), jax.nn.initializers.constant(0.25))
  make = lambda **args: encoder_decoder.make("conv", *common, channels=(2, 4), stride=2, padding=0, **args)
  given = {"kernel_size": (5, 6), "linear_code": True, "shared_bias": True}
  encoder, decoder = make(kernel_size=(4, 3), decoder=given)
  x = jnp.ones((2, 256))
  params = encoder.init(jax.random.key(0), x)["params"]
  assert [params[f"Conv_{i}"]["kernel"].shape[:2] for i in range(2)] == [(4, 4), (3, 3)]
  z = jnp.ones((2, 3))
  params = jax.jit(decoder.init)(jax.random.key(0), z)
  assert [params["params"][f"ConvTranspose_{i}"]["kernel"].shape[:2] for i in range(2)] == [(5, 5), (6, 6)]
  assert params["params"]["bias"].shape == (1, 1) and float(params["params"]["bias"][0, 0]) == 0.25
  code = params["params"]["MLP_0"]["Dense_0"]["kernel"]
  # without an activation of the code, the first transposed convolution of 2 z minus its bias is twice that of z
  assert code.shape[0] == 3 and decoder.apply(params, z).shape == (2, 256)
  with pytest.raises(errors.UserError, match="or one for each of"):
    make(kernel_size=(4, 3, 3))
  with pytest.raises(errors.UserError, match="option of the decoder alone"):
    make(linear_code=True)
