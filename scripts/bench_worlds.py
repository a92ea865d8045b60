"""Steps of dreams per CPU second: a population of 64 x 16 dreams in an M of 512 units, as one program on one core.

  taskset -c 0 python scripts/bench_worlds.py

The authors' 64 processes dreamt about 9,600 steps a second (their log: 78 s for a generation of 64 x 16 dreams).
"""

import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.applications.world_models import controllers, dreams
from dgm_jax.models.sequences import mdn_rnn

AUTHORS = 9600


def measure(hidden: int, population: int, episodes: int, segments: int) -> float:
  """Steps per CPU second of `segments` segments, after the first, which compiles."""
  latents, size = 64, mdn_rnn.num_columns(64, 1)
  model = mdn_rnn.Model((2, size), latent_dim=latents, action_dim=1, hidden=hidden, done=True, restart_input=True)
  params = jax.jit(model.init)(jax.random.key(0), {"x": jnp.zeros((1, 2, size))})
  controller = controllers.make("zch", latents, hidden, 1)
  dreamer = dreams.Dreamer(dreams.of_memory(model), controller, jnp.tanh, 10**6, compacts=False)
  n = population * episodes
  weights = jnp.asarray(np.random.default_rng(0).normal(size=(population, controller.num_params)), jnp.float32)
  keys = np.asarray(jax.random.key_data(jax.random.split(jax.random.key(0), n)))
  candidate = np.repeat(np.arange(population, dtype=np.int32), episodes)
  moments = jnp.zeros((8, 2 * latents))
  rows = dreamer._start(moments, candidate, keys, np.ones(n, np.float32), np.zeros(n, np.int64))
  rows = jax.block_until_ready(dreamer._segment(params, weights, rows))
  start = time.process_time()
  for _ in range(segments):
    rows = jax.block_until_ready(dreamer._segment(params, weights, rows))
  return segments * dreams.SEGMENT * n / (time.process_time() - start)


def main() -> None:
  """Prints a line for each width."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--segments", type=int, default=1, help="of 100 steps (1)")
  parser.add_argument("--population", type=int, default=64)
  parser.add_argument("--episodes", type=int, default=16)
  args = parser.parse_args()
  for hidden in (256, 512):
    found = measure(hidden, args.population, args.episodes, args.segments)
    print(
      f"LSTM {hidden}: {found:,.0f} steps per CPU second; the authors' 64 processes together: {AUTHORS:,}", flush=True
    )


if __name__ == "__main__":
  main()
