"""Measures scVI beside scvi-tools: time of an epoch, or held-out log p and clusters on the same split.

  python scripts/bench_scvi.py --peer_python=PEER/bin/python --out=speed.json         CPU-seconds of an epoch
  python scripts/bench_scvi.py --peer_python=PEER/bin/python --data=smfish --out=smfish.json

PEER is an environment with scvi-tools 1.4 or newer.  Epochs of both are timed in turns, each in its own process, on one
thread (taskset -c 0 pins it).  With --data, the first n // 10 cells of numpy's default_rng(0).permutation(n) are held
out, 60 epochs with a warm-up of 30, an observed library and the batches where there are some.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
_PEER = """
import json, logging, sys, time, warnings
warnings.filterwarnings("ignore"); logging.disable(logging.WARNING)
import numpy as np, torch, anndata, scvi, lightning.pytorch as pl
torch.set_num_threads(1); scvi.settings.verbosity = 40
given = json.loads(sys.argv[1]); arrays = np.load(given["file"]); scvi.settings.seed = given["seed"]
cells = anndata.AnnData(arrays["x"].astype(np.float32))
key = None
if "batch" in arrays:
  cells.obs["batch"] = arrays["batch"].astype(str); key = "batch"
train, test = arrays["train"], arrays["test"]
scvi.model.SCVI.setup_anndata(cells, batch_key=key)
class Clock(pl.Callback):
  def __init__(self): self.cpu, self.wall = [], []
  def on_train_epoch_start(self, *a): self.start = time.process_time(), time.perf_counter()
  def on_train_epoch_end(self, *a):
    self.cpu.append(time.process_time() - self.start[0]); self.wall.append(time.perf_counter() - self.start[1])
model = scvi.model.SCVI(cells, gene_likelihood=given["likelihood"])
clock = Clock()
split = {"external_indexing": [train, np.array([], int), test]} if len(test) else {"train_size": 1.0}
model.train(max_epochs=given["epochs"], accelerator="cpu", callbacks=[clock], enable_progress_bar=False,
            datasplitter_kwargs=split if len(test) else {}, train_size=None if len(test) else 1.0,
            plan_kwargs={"n_epochs_kl_warmup": max(1, given["epochs"] // 2)})
found = {"cpu": clock.cpu, "wall": clock.wall, "version": scvi.__version__}
if given["score"]:
  found["log_px"] = float(np.mean([model.get_marginal_ll(indices=test, n_mc_samples=500)]))
  found["latent"] = model.get_latent_representation().tolist()
print("RESULT" + json.dumps(found))
"""


def made(cells: int = 3_000, genes: int = 1_000) -> dict[str, np.ndarray]:
  """Overdispersed counts of made cells."""
  rng = np.random.default_rng(0)
  z, w = rng.normal(size=(cells, 10)), rng.normal(size=(10, genes)) * 0.5
  mean = np.exp(z @ w * 0.4 + rng.normal(size=genes) - 1) * rng.lognormal(0, 0.4, size=(cells, 1))
  x = rng.poisson(rng.gamma(2.0, mean / 2.0)).astype(np.uint16)
  return {"x": x, "train": np.arange(cells), "test": np.zeros(0, int)}


def published(member: str, manual_dir: str | None) -> dict[str, np.ndarray]:
  """A data set of `scrna` in the order of its file, divided as said above."""
  from dgm_jax.data.published.prepare import prepared
  from dgm_jax.data.sets import scrna

  spec = next(s for s in scrna.DATA_SETS if s.name == f"scrna/{member}")
  arrays = {k: np.asarray(a) for k, a in prepared(spec, None, manual_dir)["cells"].items() if k in ("x", "y", "batch")}
  order = np.random.default_rng(0).permutation(len(arrays["x"]))
  return arrays | {"test": order[: len(order) // 10], "train": order[len(order) // 10 :]}


def ours(arrays: dict, likelihood: str, epochs: int, seed: int, score: bool) -> dict:
  """Times of epochs of our step, and with `score` log p of the test cells and the latent space."""
  import jax
  import optax

  from dgm_jax.data import cells
  from dgm_jax.inference import estimators, log_terms
  from dgm_jax.models.vae import scvi
  from dgm_jax.principles.latent import latent
  from dgm_jax.training import programs

  names = {"zinb": scvi.ZERO_INFLATED, "nb": scvi.NEGATIVE_BINOMIAL}
  batches = int(arrays["batch"].max()) + 1 if "batch" in arrays else 1
  x = arrays["x"][arrays["train"]]
  model = scvi.Model(
    x.shape[1:], tuple(x.mean(0).tolist()), likelihood=names[likelihood], num_batches=batches, library="observed"
  )
  per_epoch = len(x) // 128
  tx = optax.chain(optax.add_decayed_weights(1e-6), optax.adam(1e-3, eps=0.01))
  steps = max(1, epochs // 2) * per_epoch
  system = latent.make(model, tx, kl="analytic", beta_steps=steps)
  take = lambda rows: (
    {k: arrays[k][rows] for k in ("x", "batch") if k in arrays}
    | {"log_factorials": cells.small_log_factorials(arrays["x"][rows])}
  )
  train, key = jax.device_put(take(arrays["train"])), jax.random.key(seed)
  state = jax.jit(system.init)(key, jax.tree.map(lambda a: a[:128], train), {})
  chunk = jax.jit(programs.make_train_chunk(system, lambda key, batch: batch, 128, per_epoch), donate_argnums=0)
  chunk = chunk.lower(state, key, train).compile()
  cpu, wall = [], []
  for _ in range(epochs):
    start = time.process_time(), time.perf_counter()
    state, values = chunk(state, key, train)
    jax.block_until_ready(values)
    cpu.append(time.process_time() - start[0])
    wall.append(time.perf_counter() - start[1])
  found: dict = {"cpu": cpu, "wall": wall}
  if score:
    variables, test = {"params": state.params, **state.variables}, take(arrays["test"])
    run = jax.jit(lambda b: estimators.iwae(log_terms.log_terms(model, variables, key, b, 500, 100).w))
    parts = [jax.tree.map(lambda a, i=i: a[i : i + 64], test) for i in range(0, len(test["x"]), 64)]
    found["log_px"] = float(np.concatenate([np.asarray(run(p)) for p in parts]).mean())
    everything = take(np.arange(len(arrays["x"])))
    found["latent"] = jax.jit(lambda b: model.apply(variables, b, method="infer").mean())(everything).tolist()
  return found


def _one_thread() -> dict[str, str]:
  flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
  return os.environ | {"OMP_NUM_THREADS": "1", "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}"}


def _result(command: list[str]) -> dict:
  done = subprocess.run(command, capture_output=True, text=True, env=_one_thread())
  lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
  if not lines:
    raise SystemExit(f"{command[0]} failed:\n{done.stderr[-2000:]}")
  return json.loads(lines[-1].removeprefix("RESULT"))


def _scores(latent: list, y: np.ndarray) -> dict[str, float]:
  from dgm_jax.evaluate.cells.cell_clusters import cluster_scores

  return cluster_scores(np.asarray(latent), y, 200, 0)


def main() -> None:
  """Runs the command line."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--peer_python", help="a Python with scvi-tools; without it only ours is measured")
  parser.add_argument("--data", choices=("smfish", "starmap"), help="score on these cells, instead of timing made ones")
  parser.add_argument("--manual_dir", help="a folder with the published file, if it is not prepared yet")
  parser.add_argument("--likelihoods", default="zinb,nb", help="zinb,nb")
  parser.add_argument("--seeds", type=int, default=3)
  parser.add_argument("--epochs", type=int, help="60 with --data, else 8")
  parser.add_argument("--rounds", type=int, default=3, help="of both in turns, when timing")
  parser.add_argument("--out", help="JSON file; printed if not given")
  parser.add_argument("--ours", help=argparse.SUPPRESS)  # a child process
  args = parser.parse_args()
  if args.ours:
    given = json.loads(args.ours)
    arrays = dict(np.load(given["file"]))
    print("RESULT" + json.dumps(ours(arrays, given["likelihood"], given["epochs"], given["seed"], given["score"])))
    return
  arrays, found = published(args.data, args.manual_dir) if args.data else made(), []
  epochs, rounds = args.epochs or (60 if args.data else 8), args.seeds if args.data else args.rounds
  with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder, "cells.npz")
    np.savez(file, **arrays)
    for likelihood in args.likelihoods.split(",") if args.data else ["zinb"]:
      for seed in range(rounds):
        given = {"file": str(file), "likelihood": likelihood, "epochs": epochs, "seed": seed, "score": bool(args.data)}
        children: dict[str, Callable[[], dict]] = {
          "dgm_jax": lambda g=given: _result([sys.executable, __file__, f"--ours={json.dumps(g)}"])
        }
        if args.peer_python:
          children["scvi-tools"] = lambda g=given: _result([args.peer_python, "-c", _PEER, json.dumps(g)])
        for who, run in children.items():
          row = run()
          latent = row.pop("latent", None)
          row |= _scores(latent, arrays["y"]) if latent and "y" in arrays else {}
          row |= {name: statistics.median(row.pop(name)[1:]) for name in ("cpu", "wall")}
          found.append({"who": who, "likelihood": likelihood, "seed": seed, "epochs": epochs} | row)
          print(found[-1], file=sys.stderr, flush=True)
  text = json.dumps({"data": args.data or "made, 3000 x 1000", "rows": found}, indent=2)
  print(text) if not args.out else pathlib.Path(args.out).write_text(text + "\n")


if __name__ == "__main__":
  main()
