"""Training objectives and the estimators of their gradients: pure functions of log-weights, as in estimators.py.

An objective is a pair of targets, one for the model's parameters theta and one for the proposal's phi; mostly both are
the same function F of the log-weights of K samples.  Let f_k = dF / d log w_k, and for every sample

  path_k = dz_k/dphi  d/dz log w_k        (z moves, the parameters of log q are fixed)
  score_k = d/dphi log q(z_k | x)         (z is fixed).

Every estimator in this file has the form

  g_theta = sum_k a_k d/dtheta log p(x, z_k),      g_phi = sum_k b_k path_k + c_k score_k,

and is given by its Coefficients (a, b, c), each [K, B]:

  reparameterised  f_k, f_k, -f_k             the gradient of F itself (Kingma & Welling, 2014)
  stl              f_k, f_k, 0                sticking the landing (Roeder, Wu & Duvenaud, 2017)
  dreg             f_k, f_k - f_kk, 0         doubly reparameterised (Tucker et al., 2019), f_kk = d^2 F / (d log w_k)^2
  vimco            f_k, 0, F - F_-k - f_k     score function; in F_-k the mean of the other log-weights replaces the
                                              k-th (Mnih & Rezende, 2016; for the ELBO it is REINFORCE with a
                                              leave-one-out baseline)
  gdreg            f_k, f_k - f_kk, 0         dreg, also for the learned priors p(z_l | z_{l+1}) of a hierarchy (Bauer
                                              & Mnih, 2021): z_l is written as T(noise, theta), and
                                              f_k d/dtheta log p(z_l | z_{l+1}) becomes
                                              (f_kk dlog w_k/dz_l + f_k d/dz_l log (q / p(z_l | z_{l+1}))) dT/dtheta

dreg follows from E[f_k score_k] = E[f_kk path_k], a reparameterisation of the score's expectation; for IWAE f_k - f_kk
is the square of the normalised weight.  Parameters that p and q share receive g_theta + g_phi.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.inference import estimators

GRADIENTS = ("reparameterised", "stl", "dreg", "gdreg", "vimco", "gumbel_softmax")
_TVO_FIRST = 1e-2  # the smallest inverse temperature above 0; the integrand is most curved near 0


class Coefficients(NamedTuple):
  """Coefficients a (theta), b (path), c (score) of one estimator, each [K, B]; None where a term is absent."""

  theta: jax.Array
  path: jax.Array | None
  score: jax.Array | None
  curvature: jax.Array | None = None  # f_kk of theta's target, for gdreg


class Objective(NamedTuple):
  """A pair of targets.

  Attributes:
    theta: (log_w [K, B], options) -> [B], nats, the target that theta maximises.
    phi: the target that phi maximises; or "wake", E_{p(z|x)}[log q(z|x)] by self-normalised weights; or "sleep",
      E_{p(x, z)}[log q(z|x)] by draws of the model.
    smooth: whether f_k is continuous, which dreg needs.
    flat: whether f_kk = 0, so that stl is unbiased.
    grouped: whether the samples are M groups of K.
  """

  theta: Callable
  phi: Callable | str
  smooth: bool = True
  flat: bool = False
  grouped: bool = False


def _tvo(log_w: jax.Array, options: dict[str, Any]) -> jax.Array:
  rest = jnp.logspace(jnp.log10(_TVO_FIRST), 0, options["num_bins"])[:-1]
  return estimators.tvo(log_w, jnp.concatenate([jnp.zeros(1), rest]))


_elbo = lambda log_w, options: estimators.elbo(log_w)
_iwae = lambda log_w, options: estimators.iwae(log_w)
_miwae = lambda log_w, options: estimators.miwae(log_w, options["num_samples"])
_vr_max = lambda log_w, options: estimators.vr_max(log_w)
_same = lambda bound, **facts: Objective(bound, bound, **facts)

OBJECTIVES = {
  "elbo": _same(_elbo, flat=True),
  "iwae": _same(_iwae),
  "miwae": _same(_miwae, grouped=True),
  "piwae": Objective(_iwae, _miwae, grouped=True),  # Rainforth et al. (2018)
  "ciwae": _same(lambda log_w, options: estimators.ciwae(log_w, options["ciwae_beta"])),
  "renyi": _same(lambda log_w, options: estimators.renyi(log_w, options["alpha"])),
  "vr_max": _same(_vr_max, smooth=False),
  "jackknife": _same(lambda log_w, options: estimators.jackknife(log_w, options["order"])),
  "tvo": _same(_tvo),
  "rws": Objective(_iwae, "wake"),  # reweighted wake-sleep, Bornschein & Bengio (2015)
  "wake_sleep": Objective(_iwae, "sleep"),  # Hinton et al. (1995); K > 1 reweighs the wake phase
}


def verdict(objective: str, gradient: str) -> tuple[str, str]:
  """("unbiased" | "biased" | "refused", reason) for a name of OBJECTIVES and one of GRADIENTS.

  The estimated quantity is the gradient of the expected objective of K samples, in theta and in phi.
  """
  targets = OBJECTIVES[objective]
  if gradient == "gumbel_softmax":
    if targets.phi is not targets.theta:
      return "refused", f"theta and phi of {objective} have different targets, and relaxed draws need a common one"
    return "biased", "it is the gradient of an objective whose discrete draws are relaxed by the temperature"
  if targets.phi == "sleep":
    if gradient == "reparameterised":
      return "biased", "phi maximises E_p(x,z)[log q(z|x)], with x from the model and not from the data"
    return "refused", "phi maximises log q(z|x) at draws of the model, which have no weights"
  if targets.phi == "wake":
    if gradient in ("reparameterised", "dreg"):
      return "biased", "phi maximises E_p(z|x)[log q(z|x)] by self-normalised weights, whose bias is of order 1/K"
    return "refused", "phi maximises E_p(z|x)[log q(z|x)], whose gradient is the score of log q"
  if gradient == "stl" and not targets.flat:
    return "biased", "it drops -sum_k f_k score_k, whose expectation is 0 only for the ELBO"
  if gradient in ("dreg", "gdreg") and not targets.smooth:
    return "refused", f"the derivative of the greatest log-weight is discontinuous, and {gradient} needs it continuous"
  return "unbiased", "for the expected objective of K samples"


def derivatives(bound: Callable, log_w: jax.Array) -> jax.Array:
  """f_k = dF / d log w_k, [K, B], of bound: [K, B] -> [B]."""
  return jax.grad(lambda log_w: jnp.sum(bound(log_w)))(log_w)


def second_derivatives(bound: Callable, log_w: jax.Array) -> jax.Array:
  """f_kk = d^2 F / (d log w_k)^2, [K, B]."""

  def one(k):
    tangent = jnp.zeros_like(log_w).at[k].set(1.0)
    return jax.jvp(lambda log_w: derivatives(bound, log_w), (log_w,), (tangent,))[1][k]

  return jax.vmap(one)(jnp.arange(log_w.shape[0]))


def leave_one_out(bound: Callable, log_w: jax.Array) -> jax.Array:
  """F - F_-k, [K, B]: the gain over replacing the k-th log-weight by the mean of the others."""
  others = (jnp.sum(log_w, 0) - log_w) / (log_w.shape[0] - 1)
  without = jax.vmap(lambda k: bound(log_w.at[k].set(others[k])))(jnp.arange(log_w.shape[0]))
  return bound(log_w) - without


def coefficients(
  objective: str, gradient: str, log_w: jax.Array, options: dict[str, Any], beta: float | jax.Array = 1.0
) -> Coefficients:
  """(a, b, c) of the module's docstring.

  Args:
    objective: a name of OBJECTIVES.
    gradient: "reparameterised", "stl", "dreg", "gdreg" or "vimco"; see `verdict` for the valid pairs.
    log_w: log p(x|z) + beta (log p(z) - log q(z|x)), [K, B].
    options: num_samples, alpha, ciwae_beta, order, num_bins, as the objective needs them.
    beta: the weight of log q in log_w: -f_k in c becomes -beta f_k, and f_k - f_kk becomes f_k - beta f_kk.

  Returns:
    Coefficients through which no gradient flows.
  """
  log_w = jax.lax.stop_gradient(log_w)
  targets = OBJECTIVES[objective]
  theta = derivatives(lambda log_w: targets.theta(log_w, options), log_w)
  phi = targets.phi
  if phi == "sleep":
    return Coefficients(theta, None, None)
  if isinstance(phi, str):  # "wake"
    weights = jax.nn.softmax(log_w, 0)
    if gradient == "dreg":
      return Coefficients(theta, weights - jnp.square(weights), None)
    return Coefficients(theta, None, weights)
  bound = lambda log_w: phi(log_w, options)
  first = derivatives(bound, log_w)
  if gradient == "reparameterised":
    return Coefficients(theta, first, -beta * first)
  if gradient == "stl":
    return Coefficients(theta, first, None)
  if gradient == "dreg":
    return Coefficients(theta, first - beta * second_derivatives(bound, log_w), None)
  if gradient == "gdreg":
    curvature = second_derivatives(lambda log_w: targets.theta(log_w, options), log_w)
    return Coefficients(theta, first - beta * second_derivatives(bound, log_w), None, curvature)
  return Coefficients(theta, None, leave_one_out(bound, log_w) - beta * first)
