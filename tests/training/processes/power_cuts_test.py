"""A power cut at any instant: the run resumes from what was on the disk, and ends bit for bit as it would have."""

import random
import time

import jax
import numpy as np
import pytest

from dgm_jax.configs import cubic_toy
from dgm_jax.training import train
from dgm_jax.training.restore import restore
from dgm_jax.training.workdir import checkpoint, manifest
from helpers.power import Disk


def config():
  found = cubic_toy.get_config("method=net,test")
  with found.unlocked():
    found.num_steps, found.num_epochs = 40, None
    found.log_every, found.checkpoint_every, found.eval_every, found.figures_every = 4, 8, 20, 40
  return found


def ended(workdir):
  """What must not change: the rows, the results, and the arrays of the last state."""
  state = jax.device_get(restore(config(), workdir, averaged=False)[1])
  return [(workdir / name).read_text() for name in ("metrics.jsonl", "results.json")], state


def assert_same(a, b):
  assert a[0] == b[0]
  jax.tree.map(np.testing.assert_array_equal, a[1], b[1])


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
  """(the folder of a run, copies of it as power cuts would have left it)."""
  place = tmp_path_factory.mktemp("disk")
  (place / "side").mkdir()
  disk = Disk(place / "run", place / "side", seed=1, every=4)
  with disk.recorded():
    train.train_and_evaluate(config(), place / "run")
  assert len(disk.copies) >= 50
  assert disk.lost > 50  # the disk was never quite up to date
  return place / "run", disk.copies


def resumes(cut, count):
  """Resumes `count` copies, spread over the run; returns the seconds that this took."""
  workdir, copies = cut
  whole, seconds, begun = ended(workdir), 0.0, set()
  for i in range(count):
    copy = random.Random(i).choice(copies[len(copies) * i // count : len(copies) * (i + 1) // count])
    begun.add(max(checkpoint.steps(copy), default=0))
    start = time.monotonic()
    train.train_and_evaluate(config(), copy)
    seconds += time.monotonic() - start
    assert_same(ended(copy), whole)
  assert len(begun) > 1
  return seconds


def test_three_power_cuts_change_nothing_and_digests_take_at_most_two_percent_of_the_time(cut, monkeypatch):
  """The digests are computed in orbax's thread, beside the training; the files are read back from memory."""
  spent, entry = [], manifest._entry

  def timed(path):
    start = time.thread_time()
    found = entry(path)
    spent.append(time.thread_time() - start)
    return found

  monkeypatch.setattr(manifest, "_entry", timed)
  seconds = resumes(cut, 3)
  assert len(spent) > 20
  assert sum(spent) < 0.02 * seconds


@pytest.mark.slow
def test_fifty_power_cuts_change_nothing(cut):
  resumes(cut, 50)
