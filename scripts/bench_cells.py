"""Measures memory and speed of training scVI from a backed .h5ad of made cells, streamed and resident.

  python scripts/bench_cells.py --cells=200000 --genes=2000 --folder=FOLDER        writes and reads FOLDER/made.h5ad

Prints a line for each kind of source: seconds of the first pass, cells per second, and the peak resident memory of the
process (in which mapped pages of the row cache count, too).  Each kind runs in its own process.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
_BLOCK = 5_000


def write(path: pathlib.Path, cells: int, genes: int) -> None:
  """Counts with nine zeros in ten as a CSR matrix, block by block."""
  import anndata
  import h5py
  import pandas as pd

  obs = pd.DataFrame({"batch": [f"b{i % 3}" for i in range(cells)]}, index=[f"c{i}" for i in range(cells)])
  var = pd.DataFrame(index=[f"g{j}" for j in range(genes)])
  anndata.AnnData(obs=obs, var=var).write_h5ad(path)
  rng, rate = np.random.default_rng(0), np.random.default_rng(1).gamma(0.5, 0.2, genes) + 0.01
  with h5py.File(path, "r+") as file:
    if "X" in file:
      del file["X"]
    group = file.create_group("X")
    group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [cells, genes]})
    data, indices = (
      group.create_dataset(n, (0,), "i4", maxshape=(None,), chunks=(2**18,)) for n in ("data", "indices")
    )
    indptr = [0]
    for start in range(0, cells, _BLOCK):
      x = rng.poisson(rate * rng.lognormal(0, 0.5, (min(_BLOCK, cells - start), 1)))
      x[:, 0] += 1
      rows, columns = np.nonzero(x)
      for target, values in ((data, x[rows, columns]), (indices, columns)):
        target.resize((len(target) + len(values),))
        target[-len(values) :] = values
      indptr += (indptr[-1] + np.cumsum((x > 0).sum(1))).tolist()
    group["indptr"] = np.array(indptr, np.int64)


def measure(path: pathlib.Path, kind: str, steps: int) -> dict[str, float]:
  """Trains for `steps` steps of 128 cells from one kind of source."""
  from dgm_jax.core import config_args
  from dgm_jax.training import train

  config = config_args.load("scvi_cells")
  with config.unlocked():
    config.data.update(path=str(path), batch="batch", data_dir=str(path.parent), source=kind, test_fraction=0.001)
    config.update(num_steps=steps, log_every=100, checkpoint_every=0, eval_every=steps, figures_every=steps)
    config.loggers, config.evaluate = (), type(config)({"means": {"batch_size": 100}})
  start = time.time()
  run = path.parent / f"run_{kind}_{os.getpid()}"
  train.train_and_evaluate(config, run)
  [record] = json.loads((run / "run.json").read_text())
  seconds = record["wall_s"]["train"]
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  return {"source": kind, "total_s": time.time() - start, "cells_per_s": 128 * steps / seconds, "peak_gb": peak}


def main() -> None:
  """Runs the command line."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--cells", type=int, default=200_000)
  parser.add_argument("--genes", type=int, default=2_000)
  parser.add_argument("--steps", type=int, default=1_000)
  parser.add_argument("--folder", type=pathlib.Path, required=True)
  parser.add_argument("--kind", help=argparse.SUPPRESS)  # a child process
  args = parser.parse_args()
  path = args.folder / "made.h5ad"
  if args.kind:
    print("RESULT" + json.dumps(measure(path, args.kind, args.steps)))
    return
  args.folder.mkdir(parents=True, exist_ok=True)
  if not path.exists():
    write(path, args.cells, args.genes)
  for kind in ("streaming", "resident", "streaming"):
    command = [sys.executable, __file__, f"--folder={args.folder}", f"--steps={args.steps}", f"--kind={kind}"]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    print(lines[-1].removeprefix("RESULT") if lines else done.stderr[-2000:], flush=True)


if __name__ == "__main__":
  main()
