"""The commands as a user starts them: processes of their own."""

import os
import subprocess
import sys

from helpers import tables

CONFIG = "configs/iwae_mnist.py:test"


def command(*flags):
  return [sys.executable, "-m", "dgm_jax.main", *flags]


def main(*flags, **env):
  return subprocess.run(command(*flags), cwd=tables.ROOT, capture_output=True, text=True, env={**os.environ, **env})
