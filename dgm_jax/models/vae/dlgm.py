"""Deep latent Gaussian model: any number of stochastic layers (Rezende et al., 2014; Burda et al., 2016)."""

from collections.abc import Mapping, Sequence
from typing import Any

from flax.core import FrozenDict

from dgm_jax.models.vae.base import GaussianLayers


class Model(GaussianLayers):
  """p(x, z) = N(z_L; 0, I) prod_l N(z_l; mu_l(z_{l+1}), diag sigma_l^2(z_{l+1})) prod_d p(x_d; f_d(z_1)),

  q(z|x) = q(z_1|x) prod_l q(z_{l+1}|z_l), all of them diagonal normals.  The defaults are the model and the network of
  Burda et al. (2016) with two stochastic layers: Bernoulli(x_d; sigmoid(f_d(z_1))) and x -> 200 -> 200 -> z_1 (100)
  -> 100 -> 100 -> z_2 (50), and the same widths downwards.

  Attributes, in addition to those of base.LayeredModel:
    latent_dims: dimensions of z_1 (next to x) ... z_L.
    hidden: for each stochastic layer the widths of the hidden layers between it and the one below.
    likelihood: p(x_d | .), a name of families.FAMILIES, and its options.
  """

  latent_dims: Sequence[int] = (100, 50)
  hidden: Sequence[Sequence[int]] = ((200, 200), (100, 100))
  likelihood: str = "bernoulli"
  likelihood_args: Mapping[str, Any] = FrozenDict()

  def setup(self):
    self._check_layers(self.hidden)
    self.px_z = self._make_likelihood()
    self.encoders = [self.mlp((*hidden, 2 * dim)) for hidden, dim in zip(self.hidden, self.latent_dims, strict=True)]
    self.decoder = self._make_decoder(self.px_z, self.hidden[0])
    self.priors = self._make_priors(self.hidden, 2)
