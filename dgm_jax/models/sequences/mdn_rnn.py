"""The memory M of a world model: an LSTM with a mixture density output (Ha & Schmidhuber, 2018; Graves, 2013)."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.models.base import require_at_least
from dgm_jax.models.sequences import mdn
from dgm_jax.networks.mlp import Dense
from dgm_jax.networks.recurrent import Recurrent, State

EXTRA = 4  # columns of x beside (mu, log variance, action): reward, done, restart, valid
_CLIP = 20.0  # of log variances that are data


class Steps(NamedTuple):
  """The columns of x [..., W] = (mu, log variance, action, reward, done, restart, valid).

  Attributes:
    mean, log_variance: of q(z_t | frame t), [..., L].
    action: a_t, [..., A].
    reward, done: of the step from t to t + 1, [...]; done is 1 if it ends the episode.
    restart: 1 at the first step of an episode, which resets the state.
    valid: 1 where there is a step, 0 behind the end of a sequence.
  """

  mean: jax.Array
  log_variance: jax.Array
  action: jax.Array
  reward: jax.Array
  done: jax.Array
  restart: jax.Array
  valid: jax.Array


class Prediction(NamedTuple):
  """What M says of the next step: a mixture for z, the logit of done (or None), the mean of the reward (or None)."""

  z: mdn.Mixture
  done: jax.Array | None
  reward: jax.Array | None


def num_columns(latent_dim: int, action_dim: int) -> int:
  """W, the columns of x."""
  return 2 * latent_dim + action_dim + EXTRA


def steps_of(x: jax.Array, latent_dim: int, action_dim: int) -> Steps:
  """The columns of x [..., W]."""
  at = 2 * latent_dim + action_dim
  singles = (x[..., at + i] for i in range(EXTRA))
  mean, log_variance = x[..., :latent_dim], x[..., latent_dim : 2 * latent_dim]
  return Steps(mean, log_variance, x[..., 2 * latent_dim : at], *singles)


class Model(nn.Module):
  """p(z_{t+1}, done_t, r_t | z_1:t, a_1:t) = prod_l sum_k pi_lk N(z_l; m_lk, s_lk^2) p(done) N(r; ., 1),

  pi, m, s and the others a linear map of h_t, and h_t of an LSTM that reads (z_t, a_t).  One x is a sequence of T steps
  of one episode, or of several with restarts between; z_t is drawn anew from N(mu_t, sigma_t^2) at every use.

  Training maximises the mean over steps and latents of log p(z), plus the means over steps of log p(done), weighted by
  `done_weight` where done = 1, and of log N(r).  https://arxiv.org/abs/1803.10122, appendix A.2 and A.3.

  Attributes:
    data_shape: (T, W); W = 2 L + A + 4, see Steps.
    latent_dim: L.
    action_dim: A.
    hidden: width of the LSTM.
    num_components: K, normals for each latent.
    done: whether M predicts the end of an episode.
    reward: whether M predicts the reward.
    restart_input: whether the LSTM reads the restart flag, too, as the authors' code of Doom does.
    done_weight: weight of log p(done) where done = 1 (10 in the authors' code).
  """

  inference_parameters: ClassVar[tuple[str, ...]] = ()

  data_shape: Sequence[int]
  latent_dim: int = 32
  action_dim: int = 3
  hidden: int = 256
  num_components: int = 5
  done: bool = False
  reward: bool = False
  restart_input: bool = False
  done_weight: float = 10.0
  support: ClassVar[tuple[float, float]] = (-float("inf"), float("inf"))

  def setup(self):
    sizes = {name: getattr(self, name) for name in ("latent_dim", "action_dim", "hidden", "num_components")}
    require_at_least(1, **sizes)
    require_at_least(0, done_weight=self.done_weight)
    width = num_columns(self.latent_dim, self.action_dim)
    errors.require(
      len(self.data_shape) == 2 and self.data_shape[1] == width and self.data_shape[0] >= 2,
      f"x must be [T, {width}] with T >= 2, for latent_dim = {self.latent_dim} and action_dim = {self.action_dim}, but "
      f"it is {list(self.data_shape)}",
    )
    self.network = Recurrent((self.hidden,))
    outputs = 3 * self.latent_dim * self.num_components + self.done + self.reward
    self.head = Dense(outputs, jnp.float32, jnp.float32)

  def steps(self, x: jax.Array) -> Steps:
    """The columns of x [..., W]."""
    return steps_of(x, self.latent_dim, self.action_dim)

  def start(self, n: int) -> State:
    """(h, c), zeros, [n, H] each."""
    return self.network.start(n)[0]

  def _inputs(self, z: jax.Array, action: jax.Array, restart: jax.Array) -> jax.Array:
    return jnp.concatenate([z, action] + [restart[..., None]] * self.restart_input, -1)

  def following(self, h: jax.Array) -> Prediction:
    """What follows, given h [..., H]."""
    y = self.head(h)
    size = 3 * self.latent_dim * self.num_components
    mixture = mdn.of_outputs(y[..., :size], self.latent_dim, self.num_components)
    done = y[..., size] if self.done else None
    return Prediction(mixture, done, y[..., -1] if self.reward else None)

  def step(self, state: State, z: jax.Array, action: jax.Array, restart: jax.Array) -> State:
    """The state after (z, action), [n, .] each; restart [n] is 1 where an episode begins."""
    state = tuple(jnp.where(restart[:, None] > 0, 0.0, a) for a in state)
    return self.network.step((state,), self._inputs(z, action, restart))[0][0]

  def read(self, steps: Steps, z: jax.Array) -> jax.Array:
    """h_t of all steps, [B, T, H]."""
    return self.network(self._inputs(z, steps.action, steps.restart), reset=steps.restart)[0]

  def _terms(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[dict[str, jax.Array], Steps]:
    """({log p of z, [B, T - 1, L], done and reward, [B, T]; 0 where there is no step}, the steps)."""
    s = self.steps(batch["x"].astype(jnp.float32))
    noise = jax.random.normal(key, s.mean.shape)
    z = s.mean + jnp.exp(0.5 * jnp.clip(s.log_variance, -_CLIP, _CLIP)) * noise
    p = self.following(self.read(s, z))
    # z_{t+1} is of the same episode: no sequence crosses an end
    follows = s.valid[:, 1:] * (1 - s.restart[:, 1:])
    before = jax.tree.map(lambda a: a[:, :-1], p.z)
    found = {"z": mdn.log_prob(before, z[:, 1:]) * follows[..., None]}
    if p.done is not None:
      found["done"] = s.valid * jnp.where(s.done > 0, jax.nn.log_sigmoid(p.done), jax.nn.log_sigmoid(-p.done))
    if p.reward is not None:
      found["reward"] = s.valid * -0.5 * (jnp.square(s.reward - p.reward) + jnp.log(2 * jnp.pi))
    return found, s

  def bound(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(the objective [B], {nats_per_latent, ... [B]}); nats."""
    found, s = self._terms(key, batch)
    objective = jnp.mean(found["z"], (1, 2))
    metrics = {"log_pz": objective}
    if "done" in found:
      weight = jnp.where(s.done > 0, self.done_weight, 1.0)
      metrics["log_pdone"] = jnp.mean(found["done"] * weight, 1)
    if "reward" in found:
      metrics["log_preward"] = jnp.mean(found["reward"], 1)
    return sum(metrics.values()), metrics

  def evaluate(self, key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Nats of each sequence, [B], at one draw of z.

    log_px is log p(z_2:T, done, r | z_1, actions); nats_per_latent is -log p(z_2:T | ...) per latent and step, and
    nats_per_step_done that of done for each step.
    """
    found, s = self._terms(key, batch)
    total = {name: jnp.sum(a, range(1, a.ndim)) for name, a in found.items()}
    follows = jnp.sum(s.valid[:, 1:] * (1 - s.restart[:, 1:]), 1)
    values = {"log_px": sum(total.values())}
    values["nats_per_latent"] = -total["z"] / (jnp.maximum(follows, 1) * self.latent_dim)
    if "done" in total:
      values["nats_per_step_done"] = -total["done"] / jnp.maximum(jnp.sum(s.valid, 1), 1)
    return values

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x of n dreams from z_1 ~ N(0, I) with actions drawn uniformly from [-1, 1], [n, T, W]; sigma is 0 there.

    With `mean`, each z is the mean of its mixture.
    """
    keys = jax.random.split(key, 2)
    length, bare = self.data_shape[0], self.unbind()
    step = lambda *args: bare[0].apply(bare[1], *args, method="step")
    predict = lambda h: bare[0].apply(bare[1], h, method="following")
    actions = jax.random.uniform(keys[0], (length, n, self.action_dim), minval=-1.0)
    z = jax.random.normal(keys[1], (n, self.latent_dim))

    def one(carry, now):
      state, z, over = carry
      t, action = now
      first = jnp.full(n, t == 0, jnp.float32)
      state = step(state, z, action, first)
      p, draws = predict(state[0]), jax.random.split(jax.random.fold_in(keys[1], t))
      uniform, normal = jax.random.uniform(draws[0], z.shape), jax.random.normal(draws[1], z.shape)
      of_mean = jnp.sum(jax.nn.softmax(p.z.logits, -1) * p.z.mean, -1)
      new = of_mean if mean else mdn.sample(p.z, uniform, normal)
      done = jnp.zeros(n) if p.done is None else (p.done > 0).astype(jnp.float32)
      reward = jnp.ones(n) if p.reward is None else p.reward
      valid = 1.0 - over
      columns = [z, jnp.full_like(z, -_CLIP), action, *(a[:, None] for a in (reward, done, first, valid))]
      x = jnp.concatenate(columns, -1)
      return (state, new, jnp.maximum(over, done)), x * valid[:, None]

    _, x = jax.lax.scan(one, (self.start(n), z, jnp.zeros(n)), (jnp.arange(length), actions))
    return x.swapaxes(0, 1)

  def __call__(self, batch: dict[str, jax.Array]) -> jax.Array:
    """Uses every parameter, for `init`."""
    return self.bound(jax.random.key(0), batch)[0]
