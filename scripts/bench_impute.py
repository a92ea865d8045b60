"""Times `dgm_jax impute` and other packages on one table, and compares their errors on the entries that were hidden.

  python scripts/bench_impute.py --data=white --rate=0.3 --masks=1
  python scripts/bench_impute.py --data=white --peer_python=PATH/bin/python --peers=hyperimpute,miceforest,midaspy

Prints one line for each method and mask: the mean squared error of standardised numbers, and seconds.  A peer runs in
the interpreter of --peer_python, an environment of its own in which it is installed; a table goes there as a .npy.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

# Each reads x [N, D] with NaN from argv[1] and writes the imputed array to argv[2]; columns are numbers.
_PEERS = {
  "hyperimpute": """
from hyperimpute.plugins.imputers import Imputers
import pandas
filled = Imputers().get("hyperimpute").fit_transform(pandas.DataFrame(x)).to_numpy()
""",
  "miceforest": """
import miceforest, pandas
frame = pandas.DataFrame(x, columns=[f"c{j}" for j in range(x.shape[1])])
kernel = miceforest.ImputationKernel(frame, num_datasets=5, random_state=0)
kernel.mice(5)
filled = numpy.mean([kernel.complete_data(i).to_numpy() for i in range(5)], 0)
""",
  "midaspy": """
import MIDASpy, pandas
model = MIDASpy.Midas(layer_structure=[256, 256], seed=0)
model.build_model(pandas.DataFrame(x))
model.train_model(training_epochs=20)
filled = numpy.mean([d.to_numpy() for d in model.generate_samples(m=10).output_list], 0)
""",
}


def peer(python: str, name: str, seen: np.ndarray) -> np.ndarray:
  """The table imputed by a peer.  Raises SystemExit with its last line if it fails."""
  with tempfile.TemporaryDirectory() as folder:
    given, made = pathlib.Path(folder, "x.npy"), pathlib.Path(folder, "filled.npy")
    np.save(given, seen)
    code = f"import numpy, sys\nx = numpy.load(sys.argv[1])\n{_PEERS[name]}\nnumpy.save(sys.argv[2], filled)"
    done = subprocess.run([python, "-c", code, given, made], capture_output=True, text=True)
    if done.returncode:
      sys.exit(f"{name}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return np.load(made)


def main() -> None:
  """Runs the command line."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--data", default="white", help="a table of experiments/papers/imputation/masked.py")
  parser.add_argument("--rate", type=float, default=0.3)
  parser.add_argument("--mechanism", default="mcar", choices=("mcar", "mar", "mnar"))
  parser.add_argument("--masks", type=int, default=1)
  parser.add_argument("--methods", default="auto,forest,mean")
  parser.add_argument("--models", type=int, default=3)
  parser.add_argument("--steps", type=int, default=2000)
  parser.add_argument("--width", type=int, default=256)
  parser.add_argument("--peer_python", help="the interpreter of an environment with the peers")
  parser.add_argument("--peers", default=",".join(_PEERS))
  args = parser.parse_args()
  from dgm_jax.core import compilation_cache
  from dgm_jax.experiments.papers.imputation import masked

  compilation_cache.use()
  table = masked.load(args.data)
  scale = table.x.std(0)
  for mask in range(args.masks):
    missing = masked.hidden(table.x, args.mechanism, args.rate, mask)
    for method in args.methods.split(","):
      found = masked.measure(table, method, missing, mask, steps=args.steps, models=args.models, width=args.width)
      coverage = "" if np.isnan(found["coverage"]) else f"  coverage {found['coverage']:.3f}"
      print(f"{args.data} {mask} {method:12} {found['mse']:.4f}  {found['seconds']:.0f} s{coverage}", flush=True)
    for name in args.peers.split(",") if args.peer_python else ():
      start = time.monotonic()
      filled = peer(args.peer_python, name, np.where(missing, np.nan, table.x))
      numbers = missing & (np.array(table.num_classes) == 0)
      error = np.square((filled - table.x) / scale)[numbers].mean()
      print(f"{args.data} {mask} {name:12} {error:.4f}  {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
  main()
