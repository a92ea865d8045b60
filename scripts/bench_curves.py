"""Measures how the IWAE's training throughput and peak memory scale, with one curve for each of five settings.

  python scripts/bench_curves.py                                  all curves
  python scripts/bench_curves.py --only=batch,k --json=curves.json --figure=curves.png
  python scripts/bench_curves.py --quick                          the first two points of each curve

Curves, around batch 100, K = 5 and two hidden layers of 200 on random images of MNIST's size, in float32:

  batch     examples per step
  k         importance samples
  width     units per hidden layer
  devices   number of devices over which a batch of 480 is split; a CPU is made to appear as two
  seeds     runs that one program trains in parallel

Throughput covers compiled chunks of training steps only, and counts the images of all seeds.  Each point is measured in
its own process, to obtain its own peak memory: on an accelerator the arrays of the fullest device, on the CPU the whole
process with Python, JAX and the compiler (an idle one takes about 300 MB).  If a point fails, the last line of its
output is printed and the exit status is 1.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import bench

from dgm_jax.training import build, programs
from dgm_jax.training.experiment import make_init

BASE = {"batch": 100, "k": 5, "width": 200, "devices": 1, "seeds": 1}
CURVES = {
  "batch": (20, 100, 500, 2000),
  "k": (1, 5, 50, 500),
  "width": (100, 200, 400, 800, 1600),
  "devices": (1, 2, 4, 8, 16),  # up to the number of available devices
  "seeds": (1, 2, 4, 8),
}
_SPLIT_BATCH = 480  # of the curve over devices; divisible by all of its device counts
_CHUNK_FLOP = 2e11  # approximate work of one timed call: two seconds on a CPU
_POINT_SECONDS = 1800  # after which a point counts as failed


def config(point: dict[str, int]):
  """bench.py's IWAE with the settings of a point."""
  c = bench.config("w2_k50")
  with c.unlocked():
    c.objective.num_samples, c.batch_size = point["k"], point["batch"]
    c.objective.bound = "elbo" if point["k"] == 1 else "iwae"
    c.model.args.hidden = (point["width"],) * 2
  return c


def _programs(point: dict[str, int], num_steps: int) -> tuple:
  """The compiled (state, keys, data) -> (state, metrics), followed by its initial state, keys and data."""
  experiment, seeds = build.build(config(point)), jnp.arange(point["seeds"])
  auto = (jax.sharding.AxisType.Auto,)
  mesh = jax.make_mesh((point["devices"],), ("data",), axis_types=auto, devices=jax.devices()[: point["devices"]])
  replicated, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
  chunk = programs.make_train_chunk(experiment.system, experiment.transforms.train, point["batch"], num_steps, split)
  init, keys = lambda seed: make_init(experiment, seed)(), jax.vmap(jax.random.key)(seeds)
  if point["seeds"] == 1:
    seeds, keys = seeds[0], keys[0]
  else:
    init, chunk = jax.vmap(init), jax.vmap(chunk, in_axes=(0, 0, None))
  keys, data = jax.device_put((keys, experiment.splits.train), replicated)
  state = jax.jit(init, out_shardings=replicated)(seeds)
  return (
    jax.jit(chunk, donate_argnums=0, out_shardings=replicated).lower(state, keys, data).compile(),
    state,
    keys,
    data,
  )


def _peak_megabytes() -> float:
  """Peak memory of the fullest device, or of this process where devices do not report theirs."""
  peaks = [(d.memory_stats() or {}).get("peak_bytes_in_use", 0) for d in jax.local_devices()]
  process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
  return (max(peaks) or process) / 1e6


def measure(point: dict[str, int], seconds: float) -> dict[str, float]:
  """Throughput, over at least `seconds`, and peak memory of one point, in this process."""
  flop = bench.mlp_train_flop(point["k"], point["width"]) * point["batch"] * point["seeds"]
  num_steps = int(min(max(_CHUNK_FLOP // flop, 2), 100))
  start = time.perf_counter()
  program, state, keys, data = _programs(point, num_steps)
  set_up, calls = time.perf_counter() - start, 1
  state, _ = jax.block_until_ready(program(state, keys, data))
  while True:  # calls are queued, so that an accelerator does not wait for the host
    start = time.perf_counter()
    for _ in range(calls):
      state, _ = program(state, keys, data)
    jax.block_until_ready(state)
    taken = time.perf_counter() - start
    if taken >= seconds:
      break
    calls = max(2 * calls, int(1.2 * seconds / taken * calls))
  images = calls * num_steps * point["batch"] * point["seeds"]
  return {
    "images_per_s": images / taken,
    "gflops": calls * num_steps * flop / taken / 1e9,
    "peak_mb": _peak_megabytes(),
    "set_up_s": set_up,
  }


def _child(*arguments: str, devices: int = 1) -> subprocess.CompletedProcess:
  """Runs this script in a child process; a CPU is made to appear as `devices` devices."""
  forced = f"--xla_force_host_platform_device_count={devices}"
  env = os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {forced}".strip()}
  command = [sys.executable, __file__, *arguments]
  return subprocess.run(command, env=env, capture_output=True, text=True, timeout=_POINT_SECONDS)


def _run(point: dict[str, int], seconds: float) -> dict[str, float | int | str]:
  """The point with its measurements or an error added."""
  try:
    done = _child(f"--point={json.dumps(point)}", f"--seconds={seconds}", devices=point["devices"])
  except subprocess.TimeoutExpired:
    return point | {"error": f"took more than {_POINT_SECONDS} s"}
  lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or ["no output"]
  return point | (json.loads(lines[-1]) if done.returncode == 0 else {"error": lines[-1][:300]})


def points(curve: str, num_devices: int, quick: bool) -> list[dict[str, int]]:
  """The points of a curve on a machine with `num_devices` devices."""
  base = BASE | ({"batch": _SPLIT_BATCH} if curve == "devices" else {})
  values = [v for v in CURVES[curve] if curve != "devices" or v <= num_devices]
  return [base | {curve: value} for value in values[: 2 if quick else None]]


def _print(curve: str, rows: list[dict]) -> None:
  print(f"\n{curve:>8}{'images/s':>12}{'GFLOP/s':>12}{'peak MB':>12}{'set-up s':>12}")
  for row in rows:
    numbers = [f"{row[k]:12,.{digits}f}" for k, digits in _COLUMNS.items()] if "error" not in row else [row["error"]]
    print(f"{row[curve]:8}{''.join(numbers) if len(numbers) > 1 else '  failed: ' + numbers[0]}", flush=True)


_COLUMNS = {"images_per_s": 0, "gflops": 1, "peak_mb": 0, "set_up_s": 1}


def draw(curves: dict[str, list[dict]], path: pathlib.Path) -> None:
  """Draws one panel per curve: images/s (left axis) and peak memory (right axis)."""
  from dgm_jax.core import figure_style, figures

  figure = figures.new(figure_style.COLUMN * len(curves), 2.6)
  looks = figure_style.methods(("images_per_s", "peak_mb"))
  for i, (curve, rows) in enumerate(curves.items()):
    rows = [row for row in rows if "error" not in row]
    left = figure.add_subplot(1, len(curves), i + 1)
    right = left.twinx()
    for axes, key, label in ((left, "images_per_s", "images/s"), (right, "peak_mb", "peak MB")):
      look = looks[key]
      shown = {"color": look.colour, "linestyle": look.line, "marker": look.marker, "markersize": 3}
      axes.plot([row[curve] for row in rows], [row[key] for row in rows], **shown)
      axes.set_ylabel(label, color=look.colour)
      axes.set_ylim(bottom=0)
    left.set_xscale("log")
    left.set_xlabel(curve)
    left.set_xticks([row[curve] for row in rows], [str(row[curve]) for row in rows], rotation=45)
    left.minorticks_off()
  figures.save(path, figure)


def _parse() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--only", default=",".join(CURVES), help=f"comma-separated curves, out of {', '.join(CURVES)}")
  parser.add_argument("--quick", action="store_true", help="the first two points of each curve")
  parser.add_argument("--seconds", type=float, default=2.0, help="minimum time over which a point is measured")
  parser.add_argument("--json", type=pathlib.Path, help="also write all numbers to this file")
  parser.add_argument("--figure", type=pathlib.Path, help="also draw the curves, if matplotlib is installed")
  parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
  parser.add_argument("--device", action="store_true", help=argparse.SUPPRESS)
  args = parser.parse_args()
  if unknown := [c for c in args.only.split(",") if c not in CURVES]:
    parser.error(f"unknown curve {unknown[0]!r}; choose from {', '.join(CURVES)}")
  return args


def main() -> int:
  """Measures the points one after another; returns 1 if one failed, else 0."""
  args = _parse()
  if args.device:
    print(json.dumps({"jax": jax.__version__, "device": jax.devices()[0].device_kind, "devices": jax.device_count()}))
    return 0
  if args.point:
    print(json.dumps(measure(args.point, args.seconds)))
    return 0
  # this process does not initialise the devices, so that its children can use them
  about = json.loads(_child("--device", devices=2).stdout.splitlines()[-1])
  print(f"jax {about['jax']}, {about['device']}, {about['devices']} devices")
  curves = {}
  for curve in args.only.split(","):
    curves[curve] = [_run(point, args.seconds) for point in points(curve, about["devices"], args.quick)]
    _print(curve, curves[curve])
    if args.json:
      args.json.write_text(json.dumps({**about, "command": " ".join(sys.argv), "curves": curves}, indent=2) + "\n")
  if args.figure:
    try:
      draw(curves, args.figure)
    except ImportError:
      print("matplotlib is not installed; no figure was drawn.")
  return int(any("error" in row for rows in curves.values() for row in rows))


if __name__ == "__main__":
  sys.exit(main())
