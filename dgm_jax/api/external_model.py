"""Models made elsewhere: JAX functions, or weights that PyTorch wrote, in the form that the evaluations take."""

import functools
import math
import pathlib
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp

from dgm_jax.api.trained_model import LatentModel, identity
from dgm_jax.core import errors, files
from dgm_jax.core.system import TrainState
from dgm_jax.distributions.likelihoods import families
from dgm_jax.distributions.normals import diagonal_normal, standard_normal


class FunctionModel:
  """encode and decode as a model: what bind(...) of a Flax module gives; see principles.latent."""

  def __init__(self, encode, decode, latent_dim, data_shape, family, prior):
    self._encode, self._decode, self._family, self._prior = encode, decode, family, prior
    self.latent_dim, self.data_shape, self.support = latent_dim, tuple(data_shape), (-jnp.inf, jnp.inf)
    shapes = []  # traced, not run: a wrong shape is told before anything compiles

    def trace(x, z):
      h = decode(z)
      shapes.append(not isinstance(h, distrax.Distribution))
      q = self.infer({"x": x})
      errors.require(
        len(q.event_shape) == 1,
        f"encode gives a distribution whose event has shape {list(q.event_shape)}; [{latent_dim}] is expected: put "
        "distrax.Independent(q, 1) around it.",
      )
      return q.sample(seed=jax.random.key(0)), self.log_joint({"x": x}, z)

    x, z = jnp.zeros((2, *self.data_shape)), jnp.zeros((2, latent_dim))
    drawn, (log_px_z, log_pz) = jax.eval_shape(trace, x, z)
    errors.require(
      drawn.shape == z.shape, f"encode gives z of shape {list(drawn.shape[1:])}; [{latent_dim}] is expected."
    )
    errors.require(log_px_z.shape == log_pz.shape == (2,), "decode and prior must give one log-probability an example.")
    self.takes_mask = shapes[0]
    self.support = family.support if self.takes_mask else self.support

  def bind(self, variables: Any) -> "FunctionModel":
    """The functions hold their parameters."""
    del variables
    return self

  def infer(self, batch: dict) -> Any:
    q = self._encode(batch["x"] if "mask" not in batch else jnp.where(batch["mask"] > 0, batch["x"], 0.0))
    return diagonal_normal(jnp.concatenate(q, -1)) if isinstance(q, tuple) else q

  def decode(self, z: jax.Array) -> Any:
    h = self._decode(z)
    if isinstance(h, distrax.Distribution):
      return h
    h, width = h.reshape(z.shape[0], -1), self._family.width(math.prod(self.data_shape))
    errors.require(h.shape[1] == width, f"decode gives {h.shape[1]} outputs; {width} are expected of this likelihood.")
    return self._family.distribution(h)

  def log_joint(self, batch: dict, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    p, mask = self.decode(z), batch.get("mask")
    x = batch["x"].reshape(z.shape[0], *(p.batch_shape + p.event_shape)[1:])
    masks = () if mask is None else (mask.reshape(x.shape),)
    return p.log_prob(x, *masks).reshape(z.shape[0], -1).sum(1), self._prior.log_prob(z)

  def reconstruct(self, z: jax.Array) -> jax.Array:
    return self.decode(z).mean().reshape(-1, *self.data_shape)

  def sample(self, state: Any, key: jax.Array, n: int) -> jax.Array:
    del state
    key_z, key_x = jax.random.split(key)
    z = self._prior.sample(seed=key_z, sample_shape=(n,))
    return self.decode(z).sample(seed=key_x).reshape(n, *self.data_shape)


class MLPs(NamedTuple):
  """What from_functions takes of two multilayer perceptrons."""

  encode: Callable
  decode: Callable
  latent_dim: int
  data_shape: tuple[int, ...]


ACTIVATIONS = {  # as torch.nn defines them
  "tanh": jnp.tanh,
  "relu": jax.nn.relu,
  "leaky_relu": jax.nn.leaky_relu,
  "elu": jax.nn.elu,
  "silu": jax.nn.silu,
  "gelu": functools.partial(jax.nn.gelu, approximate=False),
  "softplus": jax.nn.softplus,
  "sigmoid": jax.nn.sigmoid,
}


def _layers(arrays: dict, path: Any, name: str) -> list[tuple[jax.Array, jax.Array]]:
  """[(weight [out, in], bias [out])] of NAME.0, NAME.2, ... by their numbers, or of NAME alone."""
  found = [k.removesuffix(".weight") for k in arrays if k.endswith(".weight")]
  numbers = sorted(int(k[len(name) + 1 :]) for k in found if k.startswith(f"{name}.") and k[len(name) + 1 :].isdigit())
  names = [f"{name}.{i}" for i in numbers] or [name]
  errors.require(
    names[0] in found, f"{path} has no {name}.0.weight or {name}.weight; layers: {', '.join(found) or 'none'}."
  )
  return [(jnp.asarray(arrays[f"{n}.weight"]), jnp.asarray(arrays[f"{n}.bias"])) for n in names]


def _apply(layers: list, x: jax.Array, activation: Callable) -> jax.Array:
  for i, (weight, bias) in enumerate(layers):
    x = (x if i == 0 else activation(x)) @ weight.T + bias
  return x


def mlp_from_npz(
  path: str | pathlib.Path,
  *,
  activation: str = "tanh",
  encoder: str = "encoder",
  decoder: str = "decoder",
  heads: tuple[str, str] | None = None,
  log_variance: bool = False,
) -> MLPs:
  """encode and decode from the weights of two torch.nn.Sequential's of Linear layers with an activation between.

  In PyTorch: np.savez(path, **{k: v.numpy() for k, v in model.state_dict().items()}).  The layers are
  "encoder.0.weight" [out, in], "encoder.0.bias" [out], "encoder.2.weight" ... ; an activation's number is skipped.

  Args:
    path: the .npz.
    activation: a name of ACTIVATIONS, after each layer but the last.
    encoder, decoder: prefixes of the names, or the name of a single layer.
    heads: the names of two layers behind the encoder (and one more activation) that give loc and log_scale; None: the
      encoder's last layer gives both, [2L].
    log_variance: whether the second half is the log of the variance, not of the scale.

  Raises:
    UserError: no such file, layer or activation.
  """
  errors.require(pathlib.Path(path).exists(), f"{path} does not exist.")
  act, arrays = ACTIVATIONS[errors.choose("activation", activation, ACTIVATIONS)], files.load_arrays(path)
  body, generator = _layers(arrays, path, encoder), _layers(arrays, path, decoder)
  ends = [_layers(arrays, path, head) for head in heads or ()]

  def encode(x):
    h = _apply(body, x.reshape(x.shape[0], -1), act)
    loc, log_scale = (_apply(end, act(h), act) for end in ends) if ends else jnp.split(h, 2, -1)
    return loc, 0.5 * log_scale if log_variance else log_scale

  return MLPs(encode, lambda z: _apply(generator, z, act), generator[0][0].shape[1], (body[0][0].shape[1],))


def from_functions(
  *,
  encode: Callable,
  decode: Callable,
  latent_dim: int,
  data_shape: tuple[int, ...],
  likelihood: str = "bernoulli",
  likelihood_args: dict[str, Any] | None = None,
  prior: Any = "standard_normal",
) -> LatentModel:
  """A model with one stochastic layer from JAX functions, for all that a trained run can be asked.

  Args:
    encode: x [B, *data_shape] -> (loc, log_scale), [B, L] each, or a distrax distribution, batch [B], event [L].
    decode: z [B, L] -> what the likelihood takes (logits [B, D], flat or of the data's shape; for several outputs an
      entry blocks of D), or a distrax distribution of x.
    latent_dim: L.
    data_shape: the shape of one x.
    likelihood, likelihood_args: a name of likelihoods.FAMILIES and its options, where decode gives arrays.
    prior: "standard_normal", or an object with log_prob(z [B, L]) -> [B] and sample(seed=, sample_shape=).

  Raises:
    UserError: a name or shape that cannot be.
  """
  try:
    family = families.make(likelihood, **(likelihood_args or {}))
  except (TypeError, ValueError) as e:
    raise errors.UserError(str(e)) from e
  errors.require(not family.shares_scale, "likelihood = 'gaussian_shared' learns its scale; choose 'gaussian_fixed'.")
  if isinstance(prior, str):
    errors.choose("prior", prior, ["standard_normal"])
    prior = standard_normal(latent_dim)
  model = FunctionModel(encode, decode, latent_dim, data_shape, family, prior)
  experiment = types.SimpleNamespace(
    model=model, transforms=types.SimpleNamespace(evaluate=identity), system=types.SimpleNamespace(sample=model.sample)
  )
  return LatentModel(experiment, TrainState(jnp.zeros((), jnp.int32), {}, (), {}, {}))
