"""The features of the Frechet inception distance, from a local file of weights.

DGM_INCEPTION names the file pt_inception-2015-12-05-6726825d.pth of github.com/mseitzer/pytorch-fid (release
fid_weights), or the same bytes as torch-fidelity has them: the weights of TensorFlow's classify_image_graph_def of
2015-12-05.  PyTorch is not needed.
"""

import hashlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dgm_jax.core import errors
from dgm_jax.evaluate.sample_features import torch_file
from dgm_jax.evaluate.sample_features.features import Features
from dgm_jax.networks import inception

VARIABLE = "DGM_INCEPTION"
SHA256 = ("6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",)
_TORCHVISION = "the Inception of torchvision is another network, with other features"
_EPSILON = 1e-3  # of batch norm


def _convolution(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
  """{kernel, bias} of the unit `name`, with batch norm folded in, in float64."""
  scale, shift, mean, variance = (
    arrays[f"{name}.bn.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
  )
  gain = scale / np.sqrt(variance + _EPSILON)
  kernel = arrays[f"{name}.conv.weight"].astype(np.float64) * gain[:, None, None, None]
  return {"kernel": kernel.transpose(2, 3, 1, 0), "bias": shift - mean * gain}


def converted(arrays: Mapping[str, np.ndarray]) -> Any:
  """The parameters of networks.inception.Inception, from those of PyTorch by name: conv.weight [O, I, k, k], bn.*.

  Raises:
    UserError: a weight is missing or of another shape, as those of torchvision are.
  """
  net = inception.Inception()
  like = jax.eval_shape(net.init, jax.random.key(0), np.zeros((1, inception.SIDE, inception.SIDE, 3), np.float32))

  def fill(tree, path):
    if "kernel" not in tree:
      return {name: fill(inner, (*path, name)) for name, inner in tree.items()}
    name = ".".join(path)
    try:
      found = {"kernel": arrays["fc.weight"].T} if name == "fc" else _convolution(arrays, name)
    except KeyError as e:
      raise errors.UserError(f"The weights of Inception lack {e.args[0]}; {_TORCHVISION}.") from e
    for part, shape in tree.items():
      errors.require(
        found[part].shape == shape.shape,
        f"The weights of Inception have {name} of shape {list(found[part].shape)}, not {list(shape.shape)}; "
        f"{_TORCHVISION}.",
      )
    return {part: np.asarray(found[part], np.float32) for part in tree}

  return {"params": fill(like["params"], ())}


def load(known: tuple[str, ...] = SHA256) -> Any:
  """The parameters of the file that DGM_INCEPTION names.

  Raises:
    UserError: the variable is not set, there is no such file, or its digest is not that of the known file.
  """
  place = os.environ.get(VARIABLE, "")
  how = "set it to pt_inception-2015-12-05-6726825d.pth of github.com/mseitzer/pytorch-fid/releases/tag/fid_weights"
  errors.require(place != "", f"features = 'inception_...' need the file that {VARIABLE} names: {how}.")
  path = pathlib.Path(place)
  errors.require(path.is_file(), f"{VARIABLE} = {place!r} is no file: {how}.")
  digest = hashlib.sha256(path.read_bytes()).hexdigest()
  errors.require(digest in known, f"{path} is not the Inception of FID: its sha256 is {digest}; {_TORCHVISION}: {how}.")
  return converted(torch_file.read(path))


def make(clean: bool, variables: Any = None) -> Features:
  """The features inception_legacy, as TensorFlow 1 resized, or inception_clean; images in [0, 1] of any size.

  Args:
    clean: see networks.inception.resized.
    variables: of the network; None to load them.
  """
  variables = load() if variables is None else variables
  net = inception.Inception()

  def embed(x):
    x = x if x.shape[-1] == 3 else x.repeat(3, -1)
    pooled, logits = net.apply(variables, inception.resized(x, clean))
    return {"features": pooled, "probs": jax.nn.softmax(logits)}

  name = "inception_clean" if clean else "inception_legacy"
  return Features(name, embed, None, (0.0, 1.0), inception.NUM_CLASSES, True)
