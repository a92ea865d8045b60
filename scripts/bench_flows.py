"""Measures a training step of normalising flows, and draws of a masked autoregressive flow.

  python scripts/bench_flows.py                        CPU-milliseconds of a step (D = 8, 5 layers, 64 x 2, batch 512)
  python scripts/bench_flows.py --dims=43 --draws      also draws by Jacobi's iteration and by D passes
  python scripts/bench_flows.py --peer_python=PYTHON --json=FILE     beside flowjax, distrax and TensorFlow Probability
  python scripts/bench_flows.py --peer_python=PYTHON --peers=flowjax,zuko,nflows     and PyTorch

With --peer_python, the Python of an environment with `pip install flowjax distrax tfp-nightly "jax[cpu]"`, or, for
PyTorch, `pip install torch zuko nflows`, rounds of ours and of the other libraries (bench_flow_peers.py,
bench_flow_torch_peers.py) take turns.

A step is the gradient of the mean of -log p and Adam's update.  CPU time is that of all threads of the process: pin it
to a core (taskset -c 0) to compare with programs that use one.  Times on a shared machine drift: the minimum over
`--repeats` rounds is printed beside the median.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from dgm_jax.models.flows import flow
from dgm_jax.principles import maximum_likelihood

NET = {"hidden": (64, 64), "activation": "relu"}
SPLINE = NET | {"transform": "spline", "transform_args": {"num_bins": 8}}
FLOWS = {
  "affine coupling": ("coupling", NET),
  "MAF": ("autoregressive", NET),
  "spline coupling": ("coupling", SPLINE),
  "spline autoregressive": ("autoregressive", SPLINE),
}


OF_TORCH = ("zuko", "nflows")


def _timed(function: Callable, repeats: int, calls: int) -> tuple[list[float], list[float]]:
  """(CPU-milliseconds, milliseconds) of a call in each round, after a first one."""
  jax.block_until_ready(function())
  cpu, wall = [], []
  for _ in range(repeats):
    start = time.process_time(), time.perf_counter()
    for _ in range(calls):
      found = function()
    jax.block_until_ready(found)
    cpu.append(1e3 * (time.process_time() - start[0]) / calls)
    wall.append(1e3 * (time.perf_counter() - start[1]) / calls)
  return cpu, wall


def step_of(name: str, dim: int, batch_size: int, length: int = 50) -> Callable:
  """A compiled function that takes `length` training steps."""
  layer, args = FLOWS[name]
  system = maximum_likelihood.make(flow.Model((dim,), layer, 5, args), optax.adam(1e-3))
  data = jax.random.normal(jax.random.key(0), (length, batch_size, dim))
  state = jax.jit(system.init)(jax.random.key(1), {"x": data[0]}, {})
  one = lambda state, x: (system.train_step(state, jax.random.key(0), {"x": x})[0], None)
  run = jax.jit(lambda state: jax.lax.scan(one, state, data)[0])
  return lambda: run(state)


def draws_of(inverse: str, dim: int, n: int = 1000) -> tuple[Callable, Callable]:
  """Compiled functions: n draws of a MAF with random weights, and the passes that each of its layers takes."""
  model = flow.Model((dim,), "autoregressive", 5, NET | {"inverse": inverse})
  variables = model.init(jax.random.key(0), {"x": jnp.zeros((2, dim))})
  keys = iter(jax.random.split(jax.random.key(2), 1000))
  fill = lambda a: a + jax.random.normal(next(keys), a.shape) / (2 * max(1, a.shape[0]) ** 0.5)
  variables = {**variables, "params": jax.tree.map(fill, variables["params"])}
  run = jax.jit(lambda variables: model.apply(variables, jax.random.key(1), n, method="generate"))

  def passes(variables):
    x, found = jax.random.normal(jax.random.key(1), (n, dim)), []
    for _, bijector in model.bind(variables).bijectors()[::-1]:
      x, count = bijector.inverse_and_passes(x)
      found.append(count)
    return found

  return lambda: run(variables), lambda: [int(count) for count in jax.jit(passes)(variables)]


class Peer:
  """Another library in a process of its own, which measures a round of a flow whenever it is asked.

  Args:
    python: of the environment in which it is installed.
    library: a name that bench_flow_peers.py knows, or one of OF_TORCH.
    dim, batch_size: of the data.
  """

  def __init__(self, python: str, library: str, dim: int, batch_size: int):
    of_torch = library in OF_TORCH
    script = pathlib.Path(__file__).with_name("bench_flow_torch_peers.py" if of_torch else "bench_flow_peers.py")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, str(script), library, str(dim), str(batch_size)]
    self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
    self.library, about = library, self._answer()
    self.flows, self.versions = about.get("flows", []), about.get("versions", {})

  def _answer(self):
    line = self._process.stdout.readline()
    return json.loads(line) if line else {}

  def round(self, name: str) -> dict[str, float]:
    """{"cpu_ms", "ms"} of a step."""
    self._process.stdin.write(f"{name}\n")
    self._process.stdin.flush()
    return self._answer()

  def close(self) -> None:
    """Ends the process."""
    self._process.stdin.close()
    self._process.wait()


def _rounds(names: list[str], peers: list[Peer], dim: int, batch_size: int, repeats: int) -> dict[str, dict]:
  """{flow: {program: {"cpu_ms": [...], "ms": [...]}}}, in rounds in which the programs take turns."""
  steps = {name: step_of(name, dim, batch_size) for name in names}
  for step in steps.values():
    jax.block_until_ready(step())
  found: dict[str, dict] = {name: {} for name in names}

  def add(name, program, cpu, wall):
    kept = found[name].setdefault(program, {"cpu_ms": [], "ms": []})
    kept["cpu_ms"].append(cpu)
    kept["ms"].append(wall)

  for _ in range(repeats):
    for name in names:
      start = time.process_time(), time.perf_counter()
      jax.block_until_ready(steps[name]())
      add(name, "dgm_jax", 20 * (time.process_time() - start[0]), 20 * (time.perf_counter() - start[1]))
      for peer in peers:
        if name in peer.flows:
          measured = peer.round(name)
          add(name, peer.library, measured["cpu_ms"], measured["ms"])
  return found


def _print(rounds: dict[str, dict]) -> None:
  for name, programs in rounds.items():
    ours = statistics.median(programs["dgm_jax"]["cpu_ms"])
    for program, kept in programs.items():
      cpu, wall = (statistics.median(kept[unit]) for unit in ("cpu_ms", "ms"))
      beside = "" if program == "dgm_jax" else f", ours takes {ours / cpu:.2f} of it"
      least = min(kept["cpu_ms"])
      print(f"{name:22} {program:8} {cpu:7.2f} CPU-ms a step (least {least:.2f}), {wall:.2f} ms{beside}", flush=True)


def main() -> None:
  """Runs the rounds and prints the medians."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--only", default=",".join(FLOWS), help=f"comma-separated flows, out of {', '.join(FLOWS)}")
  parser.add_argument("--dims", type=int, default=8, help="D (8)")
  parser.add_argument("--batch_size", type=int, default=512)
  parser.add_argument("--repeats", type=int, default=5, help="rounds of 50 steps (5)")
  parser.add_argument("--draws", action="store_true", help="also measure 1,000 draws of a MAF")
  parser.add_argument("--json", type=pathlib.Path, help="also write all numbers to this file")
  parser.add_argument("--peer_python", default="", help="a Python with other libraries, to measure them in turn")
  parser.add_argument("--peers", default="flowjax,distrax,tfp", help="of them, also zuko, nflows (flowjax,distrax,tfp)")
  args = parser.parse_args()
  names = [name for name in args.only.split(",") if name]
  for name in names:
    if name not in FLOWS:
      parser.error(f"unknown flow {name!r}; choose from {', '.join(FLOWS)}")
  asked = [p for p in args.peers.split(",") if p] if args.peer_python else []
  peers = [Peer(args.peer_python, library, args.dims, args.batch_size) for library in asked]
  rounds = _rounds(names, peers, args.dims, args.batch_size, args.repeats)
  for peer in peers:
    peer.close()
    print(f"{peer.library}: {peer.versions or 'could not be run'}")
  _print(rounds)
  for inverse in ("jacobi", "sequential") if args.draws else ():
    draw, passes = draws_of(inverse, args.dims)
    cpu, wall = _timed(draw, args.repeats, 1)
    rounds[f"draws, {inverse}"] = {"cpu_ms": cpu, "ms": wall, "passes": passes()}
    print(
      f"1,000 draws, {inverse:12} {statistics.median(cpu):9.1f} CPU-ms, passes of the layers {passes()}", flush=True
    )
  if args.json:
    own = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax", "distrax")}
    versions = {"dgm_jax": own} | {peer.library: peer.versions for peer in peers}
    about = {"device": jax.devices()[0].device_kind, "cores": os.cpu_count(), "command": " ".join(sys.argv)}
    about |= {"dims": args.dims, "batch_size": args.batch_size, "versions": versions}
    args.json.write_text(json.dumps({**about, "rounds": rounds}, indent=2) + "\n")


if __name__ == "__main__":
  main()
