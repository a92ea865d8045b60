"""Weights of Inception by a rule, and what PyTorch's network computes with them: tests/evaluate/.../inception.npz.

  python tests/helpers/inception_rule.py tests/evaluate/sample_features

writes the features of two images, and two small files of arrays in the formats of PyTorch; it needs the packages torch
(2.13.0 was used) and torch-fidelity (0.4.0), whose network is the original; the tests need neither.
"""

import pathlib
import sys
import zlib

import numpy as np


def weight(name, shape):
  """The array of this name, float32: a function of its name and shape alone."""
  rng = np.random.RandomState(zlib.crc32(name.encode()))
  if name.endswith(("running_var", "bn.weight")):
    return (0.5 + rng.uniform(size=shape)).astype(np.float32)
  if len(shape) == 1:
    return (0.1 * rng.standard_normal(shape)).astype(np.float32)
  return (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)


def images():
  """Two images, uint8 [2, 40, 24, 3]: smooth ones with noise."""
  rng = np.random.RandomState(0)
  i, j = np.meshgrid(np.arange(40), np.arange(24), indexing="ij")
  waves = np.stack([np.sin(i / 5 + c) * np.cos(j / 4 - c) for c in range(6)], -1).reshape(40, 24, 2, 3)
  noisy = 128 + 90 * waves.transpose(2, 0, 1, 3) + 20 * rng.standard_normal((2, 40, 24, 3))
  return np.clip(noisy, 0, 255).astype(np.uint8)


def main(folder):
  """Writes the files."""
  import torch
  from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as Original

  load = torch.load
  torch.load = lambda *args, **kwargs: {}
  Original.load_state_dict = lambda self, *args, **kwargs: None
  net = Original("inception", ["2048", "logits_unbiased"], feature_extractor_weights_path="none")
  torch.load = load
  state = {k: torch.from_numpy(weight(k, tuple(v.shape))) for k, v in net.state_dict().items() if v.dim()}
  torch.nn.Module.load_state_dict(net, state, strict=False)
  with torch.no_grad():
    features, logits = net.eval()(torch.from_numpy(images().transpose(0, 3, 1, 2)))
  shapes = np.array([f"{k} {' '.join(map(str, v.shape))}" for k, v in state.items()])
  np.savez_compressed(folder / "inception.npz", features=features.numpy(), logits=logits.numpy(), shapes=shapes)
  small = {"a.weight": torch.arange(12.0).reshape(3, 4).T, "a.bias": torch.arange(10.0)[3:7], "n": torch.tensor([7, 8])}
  torch.save(small, folder / "zip.pth")
  torch.save(small, folder / "stream.pth", _use_new_zipfile_serialization=False)
  print(features.mean(), features.std(), logits.std())


if __name__ == "__main__":
  main(pathlib.Path(sys.argv[1]))
