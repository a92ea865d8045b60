"""The updates of two players: what the generator makes of an update's draws, how it is judged, and both gradients.

An update has the examples of `accumulate` batches, [k, B, ...].  Its random numbers are drawn for all k B examples
before they are divided, so that k batches have the gradient of one that is k times as large.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors, rng
from dgm_jax.core.options import words
from dgm_jax.core.system import TrainState
from dgm_jax.inference import adversarial_losses as losses
from dgm_jax.networks import augmentations, norms
from dgm_jax.principles.adversarial_options import Options

_FIXED = ("adversarial",)  # collections of the principle itself


def image_of(x: Any) -> jax.Array:
  """The x of a pair (x, z), or x."""
  return x[0] if isinstance(x, tuple) else x


def _with_image(pair: Any, x: jax.Array) -> Any:
  """A pair (x, z) with another x, or the x."""
  return (x, *pair[1:]) if isinstance(pair, tuple) else x


def packed(x: Any, m: int) -> Any:
  """[B, ...] -> [B / m, ...]: m examples side by side, along the last axis."""

  def pack(a):
    parts = a.reshape(-1, m, *a.shape[1:])
    return jnp.concatenate([parts[:, i] for i in range(m)], -1)

  return x if m == 1 else jax.tree.map(pack, x)


def _kernels(params: Any) -> list[jax.Array]:
  """The kernels of all linear maps; tables of embeddings are none."""
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return [leaf for path, leaf in leaves if leaf.ndim >= 2 and path[-1].key == "kernel"]


class Game(NamedTuple):
  """The functions of a game, for one model and its options.

  Attributes:
    model: see principles/adversarial.py.
    o: the options.
    has_encoder: whether the model makes what is judged as real, by `observed`.
  """

  model: nn.Module
  o: Options
  has_encoder: bool

  def number(self, state: TrainState, name: str) -> Any:
    """An option that lanes may differ in."""
    return state.hparams.get(f"objective.{name}", getattr(self.o, name))

  def call(self, method: str, params: Any, variables: Any, *args: Any, key: jax.Array, moving: str = "batch_stats"):
    """(a method of the model in training, the collection `moving` of the model afterwards)."""
    own = {k: v for k, v in variables.items() if k not in _FIXED}
    mutable = [name for name in sorted({"batch_stats", moving}) if name in own]
    found, changed = self.model.apply(
      {"params": params, **own}, *args, True, method=method, rngs={"dropout": key}, mutable=mutable
    )
    return found, variables | ({moving: changed[moving]} if moving in changed else {})

  def produced(self, params: Any, variables: Any, key: jax.Array, draw: dict, moving: str = "batch_stats"):
    """(what is judged as real, as samples; variables): by the generator, and its encoder, in training."""
    keys = jax.random.split(key)
    fake, variables = self.call("generate", params, variables, draw["z"], draw.get("y"), key=keys[0], moving=moving)
    if not self.has_encoder:
      return draw["x"], fake, variables
    real, variables = self.call("observed", params, variables, draw["x"], key=keys[1], moving=moving)
    return real, fake, variables

  def seen(self, fake: Any) -> Any:
    """What is judged of samples: a pair only where examples are pairs, too; else x alone."""
    return fake if self.has_encoder else image_of(fake)

  def judged(self, params: Any, variables: Any, key: jax.Array, real: Any, fake: Any, draw: dict):
    """(logits of the reals, of the samples; variables).

    One batch of both where the discriminator has no batch statistics, which is the same and faster; where it has, each
    is normalised by its own moments, or the discriminator could tell them apart by what they do to the others.
    """
    real, fake, y = packed(real, self.o.pack), packed(self.seen(fake), self.o.pack), draw.get("y")
    judge = functools.partial(self.call, "discriminate", params)
    if "discriminator" in variables.get("batch_stats", {}):
      keys = jax.random.split(key)
      d_real, variables = judge(variables, real, y, key=keys[0])
      d_fake, variables = judge(variables, fake, y, key=keys[1])
      return d_real, d_fake, variables
    both = jax.tree.map(lambda *a: jnp.concatenate(a), real, fake)
    d, variables = judge(variables, both, None if y is None else jnp.concatenate([y, y]), key=key)
    return *jnp.split(d, 2), variables

  def augmented(self, state: TrainState, x: Any, u: jax.Array | None) -> Any:
    """What is judged, [B, ...], with the changes of the option `augment`; z of pairs (x, z) stays."""
    if not self.o.policy:
      return x
    return self._changed(state, x, u, "augment", state.variables["adversarial"]["p"] if self.o.ada_target else 1.0)

  def _changed(self, state: TrainState, x: Any, u: jax.Array, option: str, p: Any = 1.0) -> Any:
    image, policy = image_of(x), words(getattr(self.o, option))
    errors.require(
      image.ndim == 4,
      f"objective.{option} = {','.join(policy)!r} changes images [H, W, C]; x is of shape {image.shape[1:]}.",
    )
    changed = augmentations.augment(u, image, policy, self.number(state, "augment_strength"), p)
    return _with_image(x, changed)

  def draws(self, key: jax.Array, batch: dict, k: int) -> dict:
    """What an update is made from, [k, B, ...]: x, y, z and the random numbers of the penalty; and keys [k]."""
    n, m = batch["x"].shape[0], self.o.pack
    errors.require(n // k % m == 0, f"objective.pack = {m} does not divide the batch of {n // k} examples.")
    of = functools.partial(rng.stream, key)
    found = {"x": batch["x"], "z": self.model.latent(of("latent"), n)} | ({"y": batch["y"]} if "y" in batch else {})
    if self.o.policy:
      for name in ("real", "fake"):
        found[f"{name}_changes"] = jax.random.uniform(of(f"{name} changes"), (n, augmentations.NUMBERS))
    if self.o.consistency or self.o.sample_consistency:
      for name in ("real", "fake"):
        found[f"{name}_again"] = jax.random.uniform(of(f"{name} again"), (n, augmentations.NUMBERS))
    if self.o.penalty == "gradient_penalty":
      found["u"] = jax.random.uniform(of("lines"), (n // m,))
    if self.o.penalty == "dragan":
      real = jax.eval_shape(lambda x: packed(x, m), batch["x"])
      found["noise"] = jax.random.uniform(of("noise"), real.shape)
    if self.o.latent_consistency or self.o.latent_diversity:
      keys = iter(jax.random.split(of("moves"), len(jax.tree.leaves(found["z"]))))
      found["moved"] = jax.tree.map(lambda z: jax.random.normal(next(keys), z.shape), found["z"])
    found = jax.tree.map(lambda a: a.reshape(k, -1, *a.shape[1:]), found)
    return found | {"key": jax.random.split(of("dropout"), k)}

  def penalty(self, state: TrainState, critic: Callable, real: Any, fake: Any, draw: dict, d: tuple) -> jax.Array:
    """The penalty of the option, without its weight; x is packed already."""
    of = {
      "gradient_penalty": lambda: losses.gradient_penalty(critic, draw["u"], real, fake),
      "r1": lambda: losses.zero_centred(critic, real),
      "r2": lambda: losses.zero_centred(critic, fake),
      "dragan": lambda: losses.dragan(lambda x: critic(_with_image(real, x)), draw["noise"], image_of(real)),
      "lecam": lambda: losses.lecam(*d, *(state.variables["adversarial"][k] for k in ("real", "fake"))),
    }
    return of[self.o.penalty]()

  def moved(self, draw: dict, noise: Any) -> Any:
    """The z of an update, moved a little."""
    return jax.tree.map(lambda z, move: z + noise * move, draw["z"], draw["moved"])

  def discriminator_loss(self, params_d: Any, state: TrainState, draw: dict, count: jax.Array, old: Any):
    """(what the discriminator lowers, (metrics, variables)) on a batch; `old` has the generator's parameters."""
    o, params = self.o, {"generator": old, "discriminator": params_d}
    key_g, key_d = jax.random.split(draw["key"])
    real, fake, _ = jax.lax.stop_gradient(self.produced(params, state.variables, key_g, draw))
    spread = losses.relative_spread(image_of(fake), draw["x"])
    real, fake = (self.augmented(state, x, draw.get(f"{name}_changes")) for name, x in (("real", real), ("fake", fake)))
    d_real, d_fake, variables = self.judged(params, state.variables, key_d, real, fake, draw)
    coding = tuple(self.number(state, name) for name in "abc")
    loss = losses.discriminator_loss(o.loss, d_real, d_fake, self.number(state, "smoothing"), coding)
    metrics = {"logit_real": jnp.mean(d_real), "logit_fake": jnp.mean(d_fake), "sign_real": jnp.mean(jnp.sign(d_real))}
    metrics["spread"] = spread
    if o.penalty not in ("none", "clip"):

      def critic(x):
        d = self.call("discriminate", params, state.variables, x, draw.get("y"), key=key_d)[0]
        return jnp.mean(d.reshape(d.shape[0], -1), 1)

      pair = packed(real, o.pack), packed(self.seen(fake), o.pack)
      of = lambda: self.penalty(state, critic, *pair, draw, (d_real, d_fake))
      value = of() if o.every == 1 else jax.lax.cond(count % o.every == 0, lambda: o.every * of(), lambda: 0.0 * loss)
      metrics["penalty"] = value
      loss += self.number(state, "weight") * value
    if o.consistency or o.sample_consistency:
      again = [
        self._changed(state, x, draw[f"{k}_again"], "consistency_changes") for k, x in (("real", real), ("fake", fake))
      ]
      c_real, c_fake, _ = self.judged(params, state.variables, key_d, *again, draw)
      loss += self.number(state, "consistency") * jnp.mean((c_real - d_real) ** 2)
      loss += self.number(state, "sample_consistency") * jnp.mean((c_fake - d_fake) ** 2)
    if o.latent_consistency:
      z = self.moved(draw, self.number(state, "latent_noise"))
      _, near, _ = jax.lax.stop_gradient(self.produced(params, state.variables, key_g, draw | {"z": z}))
      near = self.augmented(state, near, draw.get("fake_changes"))
      d_near = self.judged(params, state.variables, key_d, real, near, draw)[1]
      loss += self.number(state, "latent_consistency") * jnp.mean((d_near - d_fake) ** 2)
    return loss, (metrics, variables)

  def _of_logits(self, state: TrainState, d_real: jax.Array, d_fake: jax.Array) -> jax.Array:
    coding = tuple(self.number(state, name) for name in "abc")
    return losses.generator_loss(self.o.loss, d_real, d_fake, self.has_encoder, coding)

  def generator_loss(self, params_g: Any, state: TrainState, draw: dict, count: jax.Array, old: Any):
    """(what the generator lowers, (metrics, variables)) on a batch; `old` has the discriminator's parameters."""
    del count
    o, params = self.o, {"generator": params_g, "discriminator": old}
    key_g, key_d = jax.random.split(draw["key"])
    real, fake, variables = self.produced(params, state.variables, key_g, draw)
    made = fake
    real, fake = (self.augmented(state, x, draw.get(f"{name}_changes")) for name, x in (("real", real), ("fake", fake)))
    if o.adversarial_weight == 0:
      loss = jnp.zeros(())
    elif o.loss in losses.RELATIVISTIC or self.has_encoder:
      d_real, d_fake, _ = self.judged(params, state.variables, key_d, real, fake, draw)
      loss = self._of_logits(state, d_real, d_fake)
    else:  # nothing of the reals is needed
      seen = packed(self.seen(fake), o.pack)
      d_fake = self.call("discriminate", params, state.variables, seen, draw.get("y"), key=key_d)[0]
      loss = self._of_logits(state, d_fake, d_fake)
    metrics = {"loss_generator": loss, "spread": losses.relative_spread(image_of(made), draw["x"])}
    loss *= self.number(state, "adversarial_weight")
    if hasattr(self.model, "auxiliary"):
      own = {k: v for k, v in state.variables.items() if k not in _FIXED}
      batch = {k: v for k, v in draw.items() if k in ("x", "y")}
      more = self.model.apply({"params": params, **own}, key_d, batch, made, method="auxiliary")
      metrics["auxiliary"] = jnp.mean(more)
      loss += self.number(state, "auxiliary_weight") * metrics["auxiliary"]
    if o.latent_diversity:
      z = self.moved(draw, self.number(state, "latent_noise"))
      near = self.produced(params, state.variables, key_g, draw | {"z": z})[1]
      loss -= self.number(state, "latent_diversity") * jnp.mean((image_of(near) - image_of(made)) ** 2)
    if o.orthogonal:
      loss += self.number(state, "orthogonal") * norms.off_diagonal(_kernels(params_g))
    return loss, (metrics, variables)
