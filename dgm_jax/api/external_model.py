"""External models, given as JAX functions or as weights exported from PyTorch, in the form the evaluations expect."""

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
from dgm_jax.data.stored import NoData
from dgm_jax.distributions.likelihoods import families
from dgm_jax.distributions.normals import diagonal_normal, standard_normal


class FunctionModel:
  """Wraps encode and decode in the interface of a bound Flax model; see principles.latent."""

  def __init__(self, encode, decode, latent_dim, data_shape, family, prior):
    self._encode, self._decode, self._family, self._prior = encode, decode, family, prior
    self.latent_dim, self.data_shape, self.support = latent_dim, tuple(data_shape), (-jnp.inf, jnp.inf)
    takes_arrays = []  # filled by tracing only, so that a wrong shape is reported before anything compiles

    def trace(x, z):
      h = decode(z)
      takes_arrays.append(not isinstance(h, distrax.Distribution))
      q = self.infer({"x": x})
      errors.require(
        len(q.event_shape) == 1,
        f"encode returns a distribution whose event has shape {list(q.event_shape)}; [{latent_dim}] is expected: wrap "
        "it in distrax.Independent(q, 1).",
      )
      return q.sample(seed=jax.random.key(0)), self.log_joint({"x": x}, z)

    x, z = jnp.zeros((2, *self.data_shape)), jnp.zeros((2, latent_dim))
    drawn, (log_px_z, log_pz) = jax.eval_shape(trace, x, z)
    errors.require(
      drawn.shape == z.shape, f"encode returns z of shape {list(drawn.shape[1:])}; [{latent_dim}] is expected."
    )
    errors.require(
      log_px_z.shape == log_pz.shape == (2,), "decode and prior must return one log-probability per example."
    )
    self.takes_mask = takes_arrays[0]
    self.support = family.support if self.takes_mask else self.support

  def bind(self, variables: Any) -> "FunctionModel":
    """Returns self: the functions already contain their parameters."""
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
    errors.require(h.shape[1] == width, f"decode returns {h.shape[1]} outputs; this likelihood needs {width}.")
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
  """Two multilayer perceptrons as arguments of from_functions."""

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
  """[(weight [out, in], bias [out])] of layers NAME.0, NAME.2, ... in numerical order, or of a single layer NAME."""
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
  """encode and decode from the weights of two torch.nn.Sequential modules: Linear layers with activations in between.

  In PyTorch: np.savez(path, **{k: v.numpy() for k, v in model.state_dict().items()}).  The layers are
  "encoder.0.weight" [out, in], "encoder.0.bias" [out], "encoder.2.weight" ... ; activations take the numbers between.

  Args:
    path: the .npz file.
    activation: a key of ACTIVATIONS, applied after each layer except the last.
    encoder, decoder: prefix of the layer names, or the name of a single layer.
    heads: names of two layers that compute loc and log_scale from the encoder's output after one more activation; None:
      the encoder's last layer computes both, [2L].
    log_variance: whether the second output is the log of the variance instead of the log of the scale.

  Raises:
    UserError: the file, a layer or the activation does not exist.
  """
  errors.require(pathlib.Path(path).exists(), f"{path} does not exist.")
  act, arrays = ACTIVATIONS[errors.choose("activation", activation, ACTIVATIONS)], files.load_arrays(pathlib.Path(path))
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
  """A model with one stochastic layer from JAX functions; supports everything that a trained run supports.

  Args:
    encode: x [B, *data_shape] -> (loc, log_scale), [B, L] each, or a distrax distribution, batch [B], event [L].
    decode: z [B, L] -> the likelihood's parameters (for instance logits [B, D], flat or in the data's shape; with
      several parameters per entry, blocks of D), or a distrax distribution over x.
    latent_dim: L.
    data_shape: shape of one example x.
    likelihood, likelihood_args: a name of families.FAMILIES and its options, used where decode returns arrays.
    prior: "standard_normal", or an object with log_prob(z [B, L]) -> [B] and sample(seed=, sample_shape=).

  Raises:
    UserError: an unknown name, an invalid option or a wrong shape.
  """
  family = families.make(likelihood, **(likelihood_args or {}))
  errors.require(not family.shares_scale, "likelihood = 'gaussian_shared' learns its scale; choose 'gaussian_fixed'.")
  if isinstance(prior, str):
    errors.choose("prior", prior, ["standard_normal"])
    prior = standard_normal(latent_dim)
  model = FunctionModel(encode, decode, latent_dim, data_shape, family, prior)
  experiment = types.SimpleNamespace(
    model=model,
    transforms=types.SimpleNamespace(evaluate=identity),
    system=types.SimpleNamespace(sample=model.sample),
    splits=NoData("A model made by from_functions"),
  )
  return LatentModel(experiment, TrainState(jnp.zeros((), jnp.int32), {}, (), {}, {}))
