"""Densities of images in closed form."""

import jax
import numpy as np
import scipy.stats

from dgm_jax.experiments.shared import closed_form_images as closed_form

COLOURS = np.random.default_rng(0).integers(0, 256, (80, 2, 2, 1)).astype(np.uint8)


def test_the_closed_forms_are_those_of_scipy_and_of_the_whole_covariance():
  g = np.random.default_rng(1)
  y, test = closed_form.dequantised(COLOURS, g), closed_form.dequantised(COLOURS[:9], g)
  assert (np.floor(256 * y) == COLOURS.reshape(80, 4)).all()
  covariance = np.cov(y.T, bias=True)
  with jax.enable_x64(True):
    found, ridged = closed_form.normals(y, test, (0.0, 1e-2))
    of_ppca, most = (closed_form.ppca(y, test, latent_dim) for latent_dim in (2, 3))
  np.testing.assert_allclose(most, found, rtol=1e-9)  # with D - 1 dimensions it is the normal
  normal = lambda covariance: scipy.stats.multivariate_normal(y.mean(0), covariance).logpdf(test)
  np.testing.assert_allclose(found, normal(covariance), rtol=1e-9)
  np.testing.assert_allclose(ridged, normal(covariance + 1e-2 * np.eye(4)), rtol=1e-9)
  values, vectors = np.linalg.eigh(covariance)
  values[:2] = values[:2].mean()
  np.testing.assert_allclose(of_ppca, normal(vectors * values @ vectors.T), rtol=1e-9)
  of_ridges, of_dimensions = closed_form.scores(y, test, (0.0, 1e-2), (2, 3))
  np.testing.assert_allclose(of_ridges, [found.mean(), ridged.mean()], rtol=1e-9)
  np.testing.assert_allclose(of_dimensions, [of_ppca.mean(), most.mean()], rtol=1e-9)
