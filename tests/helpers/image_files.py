"""Files of published image sets that a test makes, and what is checked of all of them."""

import io
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from dgm_jax.core import errors
from dgm_jax.data.published.prepare import prepared
from helpers.made import made

RNG = np.random.default_rng(0)


def random_bytes(*shape):
  return RNG.integers(0, 256, shape).astype(np.uint8)


def png(pixels, mode=None):
  out = io.BytesIO()
  picture = Image.fromarray(pixels)
  (picture.convert(mode) if mode else picture).save(out, "png")
  return out.getvalue()


def jpeg(pixels):
  out = io.BytesIO()
  Image.fromarray(pixels).save(out, "jpeg", quality=100, subsampling=0)
  return out.getvalue()


def prepare_set(spec, folder, **sizes):
  return prepared(made(spec, **sizes), str(folder / "data"), str(folder))


def check_raises(spec, folder, *patterns, **sizes):
  """Checks that a damaged file raises one sentence, which matches all patterns."""
  with pytest.raises(errors.UserError) as caught:
    prepare_set(spec, folder, **(sizes or dict.fromkeys(spec.sizes, 1)))
  sentence = str(caught.value)
  assert "\n" not in sentence
  for pattern in patterns:
    assert re.search(pattern, sentence), sentence


def corner(n):
  """Images [N, 28, 28] with ink in the top right corner only, so that a transpose or a mirror image is detected."""
  x = np.zeros((n, 28, 28))
  x[:, 2:5, 20:27] = 1
  return x


def zip_of(path, files):
  with zipfile.ZipFile(path, "w") as archive:
    for name, content in files.items():
      archive.writestr(name, content)
