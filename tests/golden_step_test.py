"""Numbers of one run, to the fourth digit: they hold on every supported JAX, and change only on purpose."""

import jax
import numpy as np
import pytest
import tables

from dgm_jax.training import programs

# Metrics of the third step of each system on the toy data, seed 0.
GOLDEN = {
  "vae": {"distortion": 17.37809, "elbo": -20.6742, "loss": 20.6742, "rate": 3.296115},
  "iwae": {"distortion": 17.48389, "elbo": -21.96536, "ess": 1.87266, "loss": 17.60659, "rate": 4.48147},
  "iwae_dreg": {"distortion": 17.4675, "elbo": -22.01927, "ess": 1.891859, "loss": 17.61069, "rate": 4.551743},
  "vae_analytic": {"distortion": 17.25065, "elbo": -20.79088, "loss": 17.65065, "rate": 3.540226},
  "dlgm": {"distortion": 16.82996, "elbo": -23.78771, "ess": 1.648768, "loss": 19.25073, "rate": 6.957745},
  "ladder_vae": {"distortion": 17.26387, "elbo": -18.90574, "ess": 2.222814, "loss": 17.59859, "rate": 1.64187},
  "mcem": {"acceptance": 0.9982524, "loss": 22.20607, "step_size": 0.1159895},
  "sigmoid_belief_net": {"distortion": 17.296, "elbo": -18.34327, "ess": 2.366559, "loss": 17.37207, "rate": 1.047273},
  "sigmoid_belief_net_relaxed": {
    "distortion": 17.08209,
    "elbo": -17.80144,
    "ess": 2.808477,
    "loss": 17.25684,
    "rate": 0.7193379,
  },
  "vae_planar_mixture": {"distortion": 17.16411, "elbo": -18.43763, "loss": 18.43763, "rate": 1.273524},
  "vae_conv": {"distortion": 16.86066, "elbo": -17.08307, "loss": 17.08307, "rate": 0.2224036},
  "vae_residual": {"distortion": 16.62769, "elbo": -16.6312, "loss": 16.6312, "rate": 0.003502198},
  "conditional_vae": {"distortion": 17.20942, "elbo": -21.19225, "loss": 21.19225, "rate": 3.982835},
  "vq_vae": {
    "commitment": 1.771197,
    "distortion": 16.82719,
    "elbo": -22.20248,
    "loss": 19.04119,
    "perplexity": 2.191809,
  },
  "diffusion": {"elbo": -14062.22, "loss": 14062.22, "square_error": 30.67208},
  "semi_supervised_vae": {"elbo": -18.97889, "labelled": 0.234375, "labelled_right": 0.078125, "loss": 19.72142},
  "bernoulli_product": {"log_px": -16.56331, "loss": 16.56331},
  "autoencoder": {"distortion": 16.36808, "loss": 16.36808},
  "classifier_dropout": {"log_py": -1.881021, "loss": 1.881021},
  "classifier_bayesian": {"elbo": -5.465156, "kl": 1822.699, "log_py": -1.905197, "loss": 5.465156},
  "bernoulli_mixture": {"log_px": -10.74555, "loss": 10.78757, "penalty": 0},
  "bernoulli_mixture_online": {"log_px": -7.880941, "loss": 7.976246, "penalty": 0},
  "gaussian_mixture": {"log_px": -4.859573, "loss": 4.85984, "penalty": 0.0002668239},
  "student_t_mixture": {"log_px": -1.177808, "loss": 1.178075, "penalty": 0.0002668914},
  "factor_analyser_mixture": {"log_px": -20.63451, "loss": 20.63451, "penalty": 0},
  "factor_analysis": {"log_px": -16.18347, "loss": 16.18347},
  "hidden_markov_model": {"log_px": -11.38619, "loss": 11.38639, "penalty": 0.0002051368},
  "kmeans": {"distortion": 2.21875, "loss": 2.21875},
  "lda": {"elbo": -49.95529, "loss": 50.08716},
  "lda_online": {"elbo": -39.79063, "loss": 40.27027},
  "nmf": {"distortion": 7.782698, "loss": 7.782698},
  "prodlda": {"distortion": 44.2753, "elbo": -48.76705, "loss": 49.16489, "rate": 4.491735},
  "nvlda": {"distortion": 39.78659, "elbo": -44.27633, "loss": 44.6176, "rate": 4.489732},
}
WHEN_TO_UPDATE = (
  "The numbers of a fixed run moved.  If you meant to change what is computed (initialisation, order of random draws, "
  "an estimator's definition), say so in the commit and paste the new numbers; if not, you have found a bug."
)


@pytest.mark.parametrize(
  "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in tables.SLOW)) for name in tables.SYSTEMS]
)
def test_third_step(name):
  system = tables.SYSTEMS[name]()
  chunk = jax.jit(programs.make_train_chunk(system, tables.identity, 64, 3))
  _, metrics = chunk(tables.init(system), jax.random.key(0), tables.TRAIN)
  found = {k: float(v[-1]) for k, v in metrics.items()}
  np.testing.assert_allclose(
    [found[k] for k in GOLDEN[name]], list(GOLDEN[name].values()), rtol=1e-4, err_msg=f"{WHEN_TO_UPDATE}\n{found}"
  )
  assert found.keys() == GOLDEN[name].keys(), found
