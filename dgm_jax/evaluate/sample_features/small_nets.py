"""Features that need no download: a fixed random net, and small classifiers that come with this package.

scripts/feature_nets.py trained and wrote the classifiers; nets.json has their accuracy and digest.
"""

import hashlib
import json
import math
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import errors, files
from dgm_jax.evaluate.sample_features.features import Features, with_last_input
from dgm_jax.networks.image_networks import ConvEncoder
from dgm_jax.networks.pooled import PooledConvolutions

FOLDER = pathlib.Path(__file__).parent
_NETS = json.loads((FOLDER / "nets.json").read_text(encoding="utf-8"))
NAMES = tuple(_NETS)
_SEED = 20141208  # of the random net


def nest(flat: dict[str, Any]) -> dict[str, Any]:
  """{"a/b": v} -> {"a": {"b": v}}."""
  tree: dict[str, Any] = {}
  for path, value in flat.items():
    *parents, last = path.split("/")
    inner = tree
    for name in parents:
      inner = inner.setdefault(name, {})
    inner[last] = value
  return tree


def random(shape: tuple[int, ...]) -> Features:
  """A convolutional net with fixed random weights, the same for everybody: they are a stream of NumPy's RandomState."""
  errors.require(
    len(shape) == 3, f"features = 'random' takes images [H, W, C]; x is of shape {list(shape)}: take 'pixels'."
  )
  net = PooledConvolutions()
  like = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, *shape)))
  rng = np.random.RandomState(_SEED)
  draw = lambda a: (rng.standard_normal(a.shape) * math.sqrt(2 / math.prod(a.shape[:-1]))).astype(np.float32)
  variables = jax.tree.map(draw, like)  # in the order of the layers' names
  return Features("random", lambda x: {"features": net.apply(variables, x.astype(jnp.float32))}, None, (0.0, 1.0))


def classifier(name: str, about: dict[str, Any], params: Any) -> Features:
  """The features of a ConvEncoder with these parameters, see scripts/feature_nets.py."""
  shape, hidden = tuple(about["image_shape"]), tuple(about["hidden"])
  net = ConvEncoder(shape, hidden, about["num_classes"], **about["net"])

  def embed(x):
    flat = x.reshape(x.shape[0], -1).astype(jnp.float32)
    logits, last = with_last_input(lambda: net.apply({"params": params}, flat))
    return {"features": last, "probs": jax.nn.softmax(logits)}

  return Features(name, embed, shape, (0.0, 1.0), about["num_classes"])


def shipped(name: str) -> Features:
  """A classifier that comes with this package.

  Raises:
    UserError: its file is not the one that nets.json describes.
  """
  about, path = _NETS[name], FOLDER / f"{name}.npz"
  digest = hashlib.sha256(path.read_bytes()).hexdigest()
  errors.require(
    digest == about["sha256"], f"{path} is damaged: its sha256 is {digest}, not {about['sha256']}; install again."
  )
  arrays = {k: np.asarray(a, np.float32) for k, a in files.load_arrays(path).items()}
  return classifier(name, about, nest(arrays))
