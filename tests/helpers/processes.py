"""Runs the commands as a user does, each in its own process."""

import os
import subprocess
import sys

from helpers import fork_server, tables

CONFIG = "configs/iwae_mnist.py:test,k=5"
_SERVER = fork_server.Server()


def command(*flags):
  """The arguments of the command `python -m dgm_jax.main FLAGS`."""
  return [sys.executable, "-m", "dgm_jax.main", *flags]


def main(*flags, meanwhile=None, **env):
  """The finished process of `python -m dgm_jax.main FLAGS`; a newly started Python if `env` is given.

  meanwhile(process id) is called while it runs.
  """
  if env:
    return subprocess.run(command(*flags), cwd=tables.ROOT, capture_output=True, text=True, env={**os.environ, **env})
  return _SERVER.run(["main", *map(str, flags)], tables.ROOT, meanwhile)


def dgm_jax(*words, cwd=tables.ROOT):
  """The finished process of `python -m dgm_jax WORDS`, in a folder."""
  return _SERVER.run(list(map(str, words)), cwd)
