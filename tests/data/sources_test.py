"""Resident and streaming sources: the same batches and the same run, from any step on."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.configs import vae_mnist
from dgm_jax.core import errors, rng
from dgm_jax.data import sources
from dgm_jax.training import feed, train
from dgm_jax.training.processes import devices
from helpers import tables

ARRAYS = {"x": np.arange(103 * 6, dtype=np.float32).reshape(103, 6), "index": np.arange(103, dtype=np.int32)}
KEY = jax.random.key(3)


def order(start, length):
  return rng.epoch_indices(rng.stream(KEY, "data"), start, length, 103, 8)


def run(kind, start, num_steps, chunk, system, monkeypatch=None):
  """The indices that a system sees, and its state."""
  seen = []

  def step(state, key, batch):
    jax.debug.callback(
      lambda i, e: seen.append((np.asarray(i), np.asarray(e))), batch["index"], batch["epoch"], ordered=True
    )
    return system.train_step(state, key, batch)

  watched = system._replace(train_step=step)
  replicated, sharded = devices.shardings(8)
  layout = feed.Layout(replicated, sharded, replicated, replicated)
  arrays = {"x": tables.TRAIN["x"][:103], "index": ARRAYS["index"]}
  fed = feed.make_feed(watched, lambda key, batch: batch, arrays, kind, KEY, (8, chunk, num_steps), layout)
  state = jax.device_put(tables.init(system), replicated)
  state = state.replace(step=jnp.int32(start))
  fed.start(state, start)
  losses = []
  for at in range(start, num_steps, chunk):
    state, metrics = fed.train(state, min(chunk, num_steps - at))
    losses.append(metrics["loss"])
  jax.effects_barrier()
  return np.array([i for i, _ in seen]), np.array([e[0] for _, e in seen]), state, np.concatenate(losses)


@pytest.mark.parametrize(
  "piece_bytes", [pytest.param(1, marks=pytest.mark.slow), 10**4, pytest.param(10**9, marks=pytest.mark.slow)]
)
def test_both_sources_give_the_same_batches_and_the_same_run(piece_bytes, monkeypatch):
  monkeypatch.setattr(sources, "_PIECE_BYTES", piece_bytes)
  system = tables.SYSTEMS["vae"]()
  batches, epochs, state, losses = run("resident", 0, 30, 12, system)
  np.testing.assert_array_equal(batches, order(0, 30))
  np.testing.assert_array_equal(epochs, np.arange(30) // 12)
  streamed = run("streaming", 0, 30, 12, system)
  np.testing.assert_array_equal(streamed[0], batches)
  np.testing.assert_array_equal(streamed[1], epochs)
  np.testing.assert_allclose(streamed[3], losses, rtol=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), streamed[2].params, state.params)


def test_streaming_resumes_from_any_chunk():
  system = tables.SYSTEMS["vae"]()
  np.testing.assert_array_equal(run("streaming", 24, 30, 12, system)[0], order(24, 6))


def test_the_hosts_together_read_the_whole_batch():
  parts = [list(sources.stream(ARRAYS, order, 5, 10, 23, slice(2 * host, 2 * host + 2))) for host in range(4)]
  for i, pieces in enumerate(zip(*parts, strict=True)):
    start = 10 + 5 * i
    whole = np.concatenate([piece["x"] for piece in pieces], 1)
    np.testing.assert_array_equal(whole, ARRAYS["x"][np.asarray(order(start, min(5, 23 - start)))])
    assert all(piece["x"].shape[1] == 2 for piece in pieces)
  assert i == 2


@pytest.mark.parametrize("batch_bytes,expected", [(2**10, 500), (2**20, 50), (2**24, 4), (2**30, 1)])
def test_pieces_are_divisors_that_fit(batch_bytes, expected):
  arrays = {"x": np.broadcast_to(np.uint8(0), (100, batch_bytes))}
  assert sources.piece_length(arrays, 1, 500) == expected


def test_the_source_is_chosen_by_size(monkeypatch):
  assert sources.choose("auto", ARRAYS) == "resident"
  assert sources.choose("streaming", ARRAYS) == "streaming"
  monkeypatch.setattr(sources.os, "sysconf", lambda name: 50)  # 2,500 bytes of memory
  assert sources.choose("auto", ARRAYS) == "streaming"
  assert sources.choose("resident", ARRAYS) == "resident"
  with pytest.raises(errors.UserError, match="Did you mean 'streaming'"):
    sources.choose("streamin", ARRAYS)


@pytest.mark.slow
def test_a_streaming_run_is_the_resident_run_bit_for_bit(tmp_path):
  """The whole training loop, and a run that is resumed with the other source."""
  rows = {}
  for kind in ("resident", "streaming", "both"):
    config = vae_mnist.get_config("test")
    with config.unlocked():
      config.data.source = "streaming" if kind == "both" else kind
    results = train.train_and_evaluate(config, tmp_path / kind)
    if kind == "both":  # as if it had been interrupted at step 20
      shutil.rmtree(tmp_path / kind / "checkpoints" / "40")
      (tmp_path / kind / "results.json").unlink()
      config.data.source = "resident"
      train.train_and_evaluate(config, tmp_path / kind)
      assert json.loads((tmp_path / kind / "run.json").read_text())[1]["from_step"] == 20
    rows[kind] = (tmp_path / kind / "metrics.jsonl").read_text()
  assert json.loads(rows["resident"].splitlines()[0])["transforms"] == results["transforms"] == ["binarize:dynamic"]
  assert rows["resident"] == rows["streaming"] == rows["both"]
