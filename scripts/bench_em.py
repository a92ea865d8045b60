"""Measures the time of one EM pass and compares it with scikit-learn's in the same run.

  python scripts/bench_em.py                      full covariances, 100,000 examples, 32 dimensions, 20 components
  python scripts/bench_em.py --covariance=diagonal --rounds=5
  python scripts/bench_em.py --rows=10000 --quick
  python scripts/bench_em.py --stream=1000000     also passes over a million examples that stay on the host
  python scripts/bench_em.py --lda --manual_dir=FOLDER   LDA of 20,000 verses of the Bible (kjv.txt), 20 topics

Our pass is the training step of a run (single precision: a shuffled batch of all examples, E-step, M-step), run in
chunks of three.  scikit-learn's pass is the cost of one more iteration of `fit` from the same start, in double and in
single precision.  For LDA both use the same priors, tolerance (1e-3) and maximum number of iterations per document
(100); scikit-learn takes sparse rows, and `jobs` uses --jobs processes.  A ratio above 1 means that ours is faster.
Rounds are interleaved; medians and all ratios are printed.
"""

import argparse
import json
import pathlib
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import jax
import numpy as np
import scipy.sparse
from flax import linen as nn
from sklearn import decomposition, mixture

import dgm_jax  # noqa: F401, sets what jaxlib needs before JAX is first used
from dgm_jax import data as data_sets
from dgm_jax.models.mixtures import gaussian_mixture
from dgm_jax.models.topics import latent_dirichlet_allocation
from dgm_jax.principles import em
from dgm_jax.training import feed, programs
from dgm_jax.training.processes import devices

_KINDS = {"full": "full", "tied": "tied", "diagonal": "diag", "spherical": "spherical"}
_PASSES = 3


def data(rows: int, dim: int, components: int) -> np.ndarray:
  """Clusters whose covariances differ, [N, D]."""
  rng = np.random.default_rng(0)
  turn = rng.normal(size=(components, dim, dim)) / np.sqrt(dim)
  x = np.empty((rows, dim), np.float32)
  for i in range(components):
    n = len(x[i::components])
    x[i::components] = rng.normal(size=(n, dim)) @ turn[i] + 2 * rng.normal(size=dim)
  return x


class Ours:
  """Runs and times passes of the principle `em`."""

  def __init__(self, x: np.ndarray, model: nn.Module, block: int):
    self.system = em.make(model, None, num_examples=len(x), block=block)
    self._key, self._x = jax.random.key(0), jax.device_put({"x": x})
    chunk = programs.make_train_chunk(self.system, lambda key, batch: batch, len(x), _PASSES)
    self._chunk = jax.jit(chunk)
    self.state = jax.jit(lambda: self.system.init(self._key, {"x": x[:2]}, {}))()
    for _ in range(2):  # initialisation and compilation; the chunk is compiled again for the state that a step returns
      self.state, _ = jax.block_until_ready(self._chunk(self.state, self._key, self._x))

  def seconds(self) -> float:
    """Seconds per pass."""
    start = time.perf_counter()
    self.state, metrics = jax.block_until_ready(self._chunk(self.state, self._key, self._x))
    self.loss = float(metrics["loss"][-1])
    return (time.perf_counter() - start) / _PASSES


def theirs(x: Any, make: Callable[[int], Any]) -> float:
  """Seconds per pass of the scikit-learn estimator make(iterations), from the cost of _PASSES further iterations."""

  def fit(iterations):
    start = time.perf_counter()
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      make(iterations).fit(x)
    return time.perf_counter() - start

  return (fit(1 + _PASSES) - fit(1)) / _PASSES


def their_mixture(x: np.ndarray, components: int, covariance: str) -> Callable[[int], Any]:
  """scikit-learn's Gaussian mixture, with means initialised at the first examples."""
  return lambda iterations: mixture.GaussianMixture(
    components, covariance_type=_KINDS[covariance], max_iter=iterations, tol=0, means_init=x[:components],
    weights_init=np.full(components, 1 / components), init_params="random_from_data", random_state=0,
  )  # fmt: skip


def lda(args: argparse.Namespace) -> tuple[Ours, dict[str, Callable[[], float]], str]:
  """LDA on verses: (our passes, functions that time a pass of scikit-learn, by name, and a description)."""
  options = {"documents": "verse", "max_share": 1.0, "valid_fraction": 0.0}
  x = data_sets.load("kjv", manual_dir=args.manual_dir, **options).train["x"][:20_000]
  most = int((x > 0).sum(1).max())
  model = latent_dirichlet_allocation.Model(x.shape[1:], num_topics=args.components, max_words=most)
  rows = scipy.sparse.csr_matrix(x)
  make = lambda jobs: (
    lambda iterations: decomposition.LatentDirichletAllocation(
      args.components, max_iter=iterations, mean_change_tol=1e-3, max_doc_update_iter=100, random_state=0, n_jobs=jobs
    )
  )
  others = {
    "double": lambda: theirs(rows.astype(np.float64), make(None)),
    "single": lambda: theirs(rows.astype(np.float32), make(None)),
    "jobs": lambda: theirs(rows.astype(np.float32), make(args.jobs)),
  }
  what = f"LDA, {x.shape}, at most {most} words, {args.components} topics, {args.jobs} jobs"
  return Ours(x, model, args.block), others, what


def mixtures(args: argparse.Namespace) -> tuple[Ours, dict[str, Callable[[], float]], str]:
  """Gaussian mixtures on artificial data; returns what `lda` does."""
  x = data(args.rows, args.dim, args.components)
  model = gaussian_mixture.Model(x.shape[1:], num_components=args.components, covariance=args.covariance)

  def other(dtype):
    rows = x.astype(dtype)
    return theirs(rows, their_mixture(rows, args.components, args.covariance))

  others = {"double": lambda: other(np.float64), "single": lambda: other(np.float32)}
  return Ours(x, model, args.block), others, f"{args.covariance}, {x.shape}, {args.components}"


def streamed(rows: int, dim: int, components: int, covariance: str, block: int) -> dict[str, float]:
  """Two passes over examples on the host, in batches of 10,000: seconds of the second pass, and memory use."""
  x, batch_size = data(rows, dim, components), 10_000
  model = gaussian_mixture.Model((dim,), num_components=components, covariance=covariance)
  system, key, steps = em.make(model, None, num_examples=rows, block=block), jax.random.key(0), rows // batch_size
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  replicated, batch = devices.shardings(batch_size)
  state = jax.jit(lambda: system.init(key, {"x": x[:2]}, {}), out_shardings=replicated)()
  layout = feed.Layout(replicated, batch, replicated, replicated)
  identity = lambda key, batch: batch
  source = feed.make_feed(system, identity, {"x": x}, "streaming", key, (batch_size, steps, 2 * steps), layout)
  source.start(state, 0)
  for _ in range(2):
    start = time.perf_counter()
    state, metrics = jax.block_until_ready(source.train(state, steps))
  seconds = time.perf_counter() - start
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  added = (peak - before) / 1024  # valid because nothing with a higher peak has run before in this process
  found = {"seconds": seconds, "added_megabytes": added, "peak_megabytes": peak / 1024}
  return found | {"data_megabytes": x.nbytes / 2**20, "log_px": float(np.mean(metrics["log_px"]))}


def main() -> None:
  """Runs the rounds and prints the medians."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--covariance", default="full", choices=_KINDS)
  parser.add_argument("--rows", type=int, default=100_000)
  parser.add_argument("--dim", type=int, default=32)
  parser.add_argument("--components", type=int, default=20)
  parser.add_argument("--block", type=int, default=0, help="examples at once in our E-step; 0: 1000, or 64 for LDA")
  parser.add_argument("--lda", action="store_true", help="LDA on verses instead of Gaussian mixtures")
  parser.add_argument("--manual_dir", default="", help="folder of kjv.txt")
  parser.add_argument("--jobs", type=int, default=2, help="processes of scikit-learn's LDA in the measurement `jobs`")
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--quick", action="store_true", help="one round")
  parser.add_argument("--stream", type=int, default=0, help="also two passes over this many examples")
  parser.add_argument("--json", type=pathlib.Path, help="also write all numbers to this file")
  args = parser.parse_args()
  args.block = args.block or (64 if args.lda else 1000)
  found = {"arguments": {k: str(v) for k, v in vars(args).items()}, "jax": jax.__version__}
  if args.stream:
    found["stream"] = streamed(args.stream, args.dim, args.components, args.covariance, args.block)
    print(
      "streamed: {seconds:.1f} s per pass over {data_megabytes:.0f} MB; {added_megabytes:.0f} MB were allocated in "
      "addition to the data; the process's peak memory is {peak_megabytes:.0f} MB".format(**found["stream"])
    )
  ours, others, what = (lda if args.lda else mixtures)(args)
  rounds = []
  for _ in range(1 if args.quick else args.rounds):
    rounds.append({"ours": ours.seconds()} | {name: seconds() for name, seconds in others.items()})
    print(", ".join(f"{n} {seconds:.3f} s" for n, seconds in rounds[-1].items()), file=sys.stderr, flush=True)
  print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}; {what}")
  for name in rounds[0]:
    ratios = [r[name] / r["ours"] for r in rounds]
    shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    median = statistics.median(r[name] for r in rounds)
    print(f"{name:8}{median:8.3f} s per pass, {statistics.median(ratios):6.2f} x ours ({shown})")
  found["rounds"] = rounds
  if args.json:
    args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
  main()
