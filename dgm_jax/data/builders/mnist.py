"""MNIST from its four published files."""

import gzip
import pathlib

import numpy as np
import tensorflow_datasets as tfds

_URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"


def read_idx(path: pathlib.Path) -> np.ndarray:
  """An array from a gzipped idx file: two zero bytes, type (8: uint8), rank, big-endian shape, data."""
  with gzip.open(path) as f:
    raw = f.read()
  rank = raw[3]
  shape = np.frombuffer(raw, ">i4", rank, 4)
  return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


class DgmMnist(tfds.core.GeneratorBasedBuilder):
  """MNIST as arrays: no PNG to encode or decode, hence no TensorFlow."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      description="The MNIST database of handwritten digits.",
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Tensor(shape=(28, 28, 1), dtype=np.uint8),
          "label": tfds.features.ClassLabel(num_classes=10),
        }
      ),
      disable_shuffling=True,  # keeps the published order, which `valid_size` counts from
      homepage="http://yann.lecun.com/exdb/mnist/",
      license="CC BY-SA 3.0, (c) Yann LeCun and Corinna Cortes",
      citation="LeCun, Cortes and Burges: The MNIST database of handwritten digits, 1998.",
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    files = dl_manager.download(
      {
        f"{part}-{kind}": f"{_URL}{part}-{kind}-ubyte.gz"
        for part in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
      }
    )
    return {
      split: self._generate_examples(files[f"{part}-images-idx3"], files[f"{part}-labels-idx1"])
      for split, part in (("train", "train"), ("test", "t10k"))
    }

  def _generate_examples(self, images: pathlib.Path, labels: pathlib.Path):
    for i, (image, label) in enumerate(zip(read_idx(images), read_idx(labels), strict=True)):
      yield i, {"image": image[..., None], "label": int(label)}
