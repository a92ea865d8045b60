"""The equations of the Grammar VAE: the published file by its checksum, and derivations that are their own inverse."""

import hashlib

import numpy as np
import pytest

from dgm_jax import data
from dgm_jax.core import errors
from dgm_jax.data.files import tokens
from dgm_jax.data.sets import equations

_SHA256 = "ae9850311e884f888491f56dca57ef3c2f9880899e63d26b5da3b71840591ca2"


def test_the_lines_are_those_of_the_published_file():
  text = "".join(f"{' '.join(line)}\n" for line in equations.lines())
  assert hashlib.sha256(text.encode()).hexdigest() == _SHA256


@pytest.mark.parametrize("kind,width", [("rule", 14), ("character", 20)])
def test_encode_then_decode_is_the_identity(kind, width):
  splits = data.load("equations", tokens=kind, num=1500, held_out="last")
  found = [text for part in splits.parts().values() for text in tokens.decode(part["x"], splits.about)]
  given = {"".join(line) for line in equations.lines()}
  assert len(set(found)) == 1500 and set(found) <= given
  assert splits.train["x"].shape[1] <= width and "reading" not in splits.about
  np.testing.assert_array_equal((splits.train["x"] != 0).sum(1), splits.train["length"])


@pytest.mark.slow
def test_encode_then_decode_is_the_identity_on_all():
  splits = data.load("equations", held_out="last")
  found = [text for part in splits.parts().values() for text in tokens.decode(part["x"], splits.about)]
  assert sorted(found) == sorted("".join(line) for line in equations.lines())


def test_the_last_part_is_the_published_validation_set():
  lines = ["".join(line) for line in equations.lines()]
  train, last = lines[:90_000], lines[90_000:]
  assert {line[:2] for line in last} == {"x/", "1/"} and not any(line.startswith("1/") for line in train)
  of_x = [line for line in lines if line.startswith("x/3")]
  assert [line for line in last if line.startswith("x/")] == of_x[400:]


def test_invalid_options_are_named():
  for options, named in (
    ({"tokens": "word"}, "character, rule"),
    ({"held_out": "first"}, "last, random"),
    ({"num": 5}, "10 to"),
  ):
    with pytest.raises(errors.UserError, match=named):
      data.load("equations", **options)
