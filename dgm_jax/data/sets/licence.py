"""licence: the lines of this package's licence (Apache 2.0), a small text that needs no download; see `text`."""

import functools
import pathlib

from dgm_jax.data.sets import text

load = functools.partial(text.load, str(pathlib.Path(__file__).with_suffix(".txt")))  # with the other options of `text`
