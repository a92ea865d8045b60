"""Flow matching: a velocity fitted by regression (Lipman et al., 2023; Liu et al., 2023; Tong et al., 2024)."""

import jax
import jax.numpy as jnp
import optax

from dgm_jax.core import errors
from dgm_jax.inference import gaussian_paths as paths
from dgm_jax.models.base import require_one_of
from dgm_jax.models.diffusion import denoiser

COUPLINGS, LOSSES = ("independent", "optimal_transport"), ("velocity", "prediction")


def matched(x: jax.Array, noise: jax.Array) -> jax.Array:
  """The rows of `noise` [B, D] in the order that minimises sum_i |x_i - e_i|^2, the optimal transport of a batch."""
  cost = jnp.sum(jnp.square(x), 1)[:, None] + jnp.sum(jnp.square(noise), 1) - 2 * x @ noise.T
  rows, columns = optax.assignment.hungarian_algorithm(jax.lax.stop_gradient(cost))
  return noise[jnp.zeros_like(columns).at[rows].set(columns)]


class Model(denoiser.Denoiser):
  """dx/dt = u(x, t), fitted to x_t = alpha(t) x + sigma(t) e by

    loss = E |u(x_t, t) - (alpha'(t) x + sigma'(t) e)|^2,   t ~ U(0, 1), e ~ N(0, I)

  whose minimum is the velocity that takes p(x) to N(0, I).  The loss bounds no likelihood: log p(x) is found by the
  differential equation.  Time runs from data (0) to noise (1).

  Attributes, in addition to those of Denoiser:
    path: optimal_transport or variance_preserving, see inference/gaussian_paths.py.
    prediction: what the network predicts: velocity, x or noise.
    loss: "velocity", the above for each prediction; "prediction", the squared error of what is predicted.
    coupling: of x and e in a batch: independent; or optimal_transport, the permutation of the e that is nearest to the
      x, which makes paths straighter (Tong et al., 2024; of time B^3, and a law that depends on the batch size B).
  """

  path: str = "optimal_transport"
  prediction: str = "velocity"
  loss: str = "velocity"
  coupling: str = "independent"

  def setup(self):
    self.check_options()
    require_one_of(LOSSES, loss=self.loss)
    require_one_of(COUPLINGS, coupling=self.coupling)
    require_one_of(paths.PATHS, path=self.path)
    require_one_of(paths.PREDICTIONS, prediction=self.prediction)
    errors.require(
      self.coupling == "independent" or not self.num_classes,
      "coupling = 'optimal_transport' would pair noise with the class of x: choose independent, or num_classes = 0",
    )
    self.f = self.make_net()

  def at(self, t: jax.Array) -> paths.Point:
    """The path at t."""
    return paths.point(self.path, t)

  def predict(self, x_t: jax.Array, t: jax.Array, context: jax.Array | None = None) -> jax.Array:
    """What the network predicts [B, D] from x_t [B, D], t [B]."""
    return self.f(x_t, t, context)

  def denoise(
    self, x_t: jax.Array, t: jax.Array, context: jax.Array | None, weight: float
  ) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """(E[x | x_t], E[e | x_t]) [B, D] by the network; t [B]."""
    predicted = denoiser.guided(lambda c: self.predict(x_t, t, c), context, weight)
    at = self.at(paths.away_from_ends(self.prediction, t)[:, None])
    return paths.parts(self.prediction, at, x_t, predicted)

  def velocity(
    self, x: jax.Array, t: jax.Array, context: jax.Array | None = None, weight: float = 1.0
  ) -> jax.Array:  # fmt: skip
    """u(x, t) [B, D] at a scalar t."""
    t = jnp.full(x.shape[:1], t, x.dtype)
    predicted = denoiser.guided(lambda c: self.predict(x, t, c), context, weight)
    at = self.at(paths.away_from_ends(self.prediction, t)[:, None])
    return paths.velocity(self.prediction, at, x, predicted)

  def errors_at(
    self, x: jax.Array, noise: jax.Array, t: jax.Array, context: jax.Array | None
  ) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """(|error of the prediction|^2, |error of the velocity|^2), [B] each; t [B]."""
    at = self.at(paths.away_from_ends(self.prediction, t)[:, None])
    x_t = at.alpha * x + at.sigma * noise
    error = self.predict(x_t, t, context) - paths.target(self.prediction, at, x, noise)
    square = jnp.sum(jnp.square(error), -1)
    return square, square * paths.velocity_weight(self.prediction, at)[:, 0]

  def objective(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(minus the loss [B], {"square_error": |error of the velocity|^2 [B]}), each from one t and one e.

    The t of a batch are evenly spaced from one uniform draw, so that each is uniform.
    """
    key_t, key_e, key_c = jax.random.split(key, 3)
    x, context = self.scaled(batch["x"]), self.context(batch)
    t = (jax.random.uniform(key_t) + jnp.arange(len(x)) / len(x)) % 1
    noise = jax.random.normal(key_e, x.shape)
    if self.coupling == "optimal_transport":
      noise = matched(x, noise)
    context = denoiser.without_some(key_c, context, self.drop_label)
    of_prediction, of_velocity = self.errors_at(x, noise, t, context)
    return -(of_prediction if self.loss == "prediction" else of_velocity), {"square_error": of_velocity}

  def bound(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """`objective`, for the principle own_bound, whose evaluations during training then cost one pass each."""
    return self.objective(key, batch)

  def evaluate(self, key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """{square_error [B]} of the velocity, with independent x and e."""
    key_t, key_e = jax.random.split(key)
    x = self.scaled(batch["x"])
    t = (jax.random.uniform(key_t) + jnp.arange(len(x)) / len(x)) % 1
    return {"square_error": self.errors_at(x, jax.random.normal(key_e, x.shape), t, self.context(batch))[1]}

  def __call__(self, batch: dict[str, jax.Array]) -> jax.Array:
    """Uses every parameter, for `init`."""
    x = self.scaled(batch["x"])
    return self.predict(x, jnp.full(len(x), 0.5), self.context(batch))
