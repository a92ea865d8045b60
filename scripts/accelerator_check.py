"""Checks and measures dgm_jax on the device that JAX finds; started by scripts/accelerator_check.sh.

Each part runs in its own process.  If a part fails, the end of its log is recorded and the other parts still run:

  install  installs the wheels provided with --wheels, if any
  device   the devices JAX finds, and package versions
  peak     TFLOP/s of the product of two large matrices: float32 at highest and default precision, bfloat16
  tests    the tests marked `accelerator`
  bench    scripts/bench.py, one round
  curves   scripts/bench_curves.py
  recipe   configs/iwae_mnist.py with k = 50 for some minutes, then interrupted

`share_of_peak` is relative to the highest measured TFLOP/s of float32 at default precision, which all training uses.
Exit status: 0 all passed, 1 a part failed.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import run_progress

ROOT = pathlib.Path(__file__).parents[1]
PARTS = ("install", "device", "peak", "tests", "bench", "curves", "recipe")
_PART_SECONDS = 3600  # after which a part counts as failed
_LOG_LINES = 30


class Failed(Exception):
  """A part's process failed; arguments are a message and the last lines of its log."""


def _tail(log: pathlib.Path) -> list[str]:
  return log.read_text(errors="replace").splitlines()[-_LOG_LINES:] if log.exists() else []


def _run(args: argparse.Namespace, name: str, *command: str, **env: str) -> list[str]:
  """The lines printed by a Python command; its log is temp/NAME.log."""
  log = args.temp / f"{name}.log"
  with log.open("w") as file:
    try:
      done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=os.environ | env, stdout=file, stderr=file, timeout=_PART_SECONDS
      )
    except subprocess.TimeoutExpired as e:
      raise Failed(f"took more than {_PART_SECONDS} s", _tail(log)) from e
  if done.returncode:
    raise Failed(f"exit status {done.returncode}", _tail(log))
  return log.read_text().splitlines()


def _environment(args: argparse.Namespace) -> dict[str, str]:
  """Environment variables that make all processes write into the temporary folder only."""
  temp = str(args.temp)
  paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
  return {
    "PYTHONPATH": os.pathsep.join(p for p in paths if p),
    "PYTHONDONTWRITEBYTECODE": "1",
    "GIT_OPTIONAL_LOCKS": "0",  # `git status` would refresh its index
    "TMPDIR": temp,
    "XDG_CACHE_HOME": f"{temp}/cache",
    "MPLCONFIGDIR": f"{temp}/matplotlib",
    "JAX_COMPILATION_CACHE_DIR": f"{temp}/xla",
    "DGM_TEST_CACHE": f"{temp}/tests",
    "TFDS_DATA_DIR": f"{temp}/data",
  }


def install(args: argparse.Namespace, results: dict) -> dict:
  """Installs all wheels of the folder except JAX's own, without dependencies: the folder is taken to be complete."""
  del results
  if not args.wheels:
    return {"wheels": None}
  of_jax = lambda name: name.startswith(("jax", "nvidia")) and not name.startswith("jaxtyping")
  names = sorted({p.name.split("-")[0].lower() for p in pathlib.Path(args.wheels).glob("*.whl")})
  wanted = [name for name in names if not of_jax(name)]
  if not wanted:
    raise Failed(f"{args.wheels} holds no wheels", [])
  pip = ("-m", "pip", "install", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-compile")
  _run(args, "install", *pip, f"--find-links={args.wheels}", *wanted)
  return {"wheels": wanted}


def _measure_in_child(args: argparse.Namespace, part: str) -> dict:
  """Runs a measurement in a child process, so that the device is free again afterwards."""
  quick = ["--quick"] if args.quick else []
  return json.loads(_run(args, part, "scripts/accelerator_device.py", part, *quick)[-1])


def device(args: argparse.Namespace, results: dict) -> dict:
  """Devices and package versions."""
  del results
  return _measure_in_child(args, "device")


def peak(args: argparse.Namespace, results: dict) -> dict:
  """{"float32 highest 4096": TFLOP/s, ...}"""
  del results
  return _measure_in_child(args, "peak")


def tests(args: argparse.Namespace, results: dict) -> dict:
  """pytest's last line and the skipped tests."""
  # conftest.py defaults to the CPU; an empty JAX_PLATFORMS lets JAX choose the device
  platform = os.environ.get("JAX_PLATFORMS", "cpu" if results["device"].get("platform") == "cpu" else "")
  marked = [str(p) for p in sorted((ROOT / "tests").rglob("*_test.py")) if "mark.accelerator" in p.read_text()]
  options = ["-m", "accelerator", "-p", "no:cacheprovider", f"--basetemp={args.temp / 'pytest'}"]
  several = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2".strip()  # on a CPU
  lines = _run(args, "tests", "-m", "pytest", *options, *marked, JAX_PLATFORMS=platform, XLA_FLAGS=several)
  return {"summary": lines[-1].strip("= "), "skipped": [line for line in lines if line.startswith("SKIPPED")]}


def _with_share(row: dict, results: dict) -> dict:
  """The row with its TFLOP/s and their share of the measured peak added."""
  if "gflops" not in row:
    return row
  best = max((v for k, v in results["peak"].items() if k.startswith("float32 default")), default=None)
  tflops = row["gflops"] / 1e3
  return row | {"tflops": tflops, "share_of_peak": tflops / best if best else None}


def bench(args: argparse.Namespace, results: dict) -> dict:
  """{workload: measurements}."""
  path = args.temp / "bench.json"
  _run(
    args,
    "bench",
    "scripts/bench.py",
    f"--json={path}",
    "--repeats=1",
    *(["--quick", "--only=w1,w4"] if args.quick else []),
  )
  (measured,) = json.loads(path.read_text())["rounds"]
  return {name: _with_share(row, results) for name, row in measured.items()}


def curves(args: argparse.Namespace, results: dict) -> dict:
  """{curve: rows}."""
  path = args.temp / "curves.json"
  options = ["--quick", "--seconds=0.2", "--only=seeds"] if args.quick else []
  failed = None
  try:
    _run(args, "curves", "scripts/bench_curves.py", f"--json={path}", *options)
  except Failed as e:
    if not path.exists():
      raise
    failed = e
  found = {k: [_with_share(row, results) for row in rows] for k, rows in json.loads(path.read_text())["curves"].items()}
  return found | ({"failed": failed.args[0], "log": failed.args[1]} if failed else {})


def recipe(args: argparse.Namespace, results: dict) -> dict:
  """Throughput of the whole training loop, and the last row of its metrics."""
  data = "mnist" if args.manual_dir else "mnist5k"
  workdir, log = args.temp / "recipe", args.temp / "recipe.log"
  command = [f"--config=configs/iwae_mnist.py:k=50,data={data}", f"--workdir={workdir}"]
  command += [f"--config.data.manual_dir={pathlib.Path(args.manual_dir).absolute()}"] if args.manual_dir else []
  command += ["--config.log_every=10"] if args.quick else []
  with log.open("w") as file:
    process = subprocess.Popen(
      [sys.executable, "-m", "dgm_jax.main", *command], cwd=ROOT, stdout=file, stderr=file, start_new_session=True
    )
    try:
      seen = run_progress.watch(process, workdir, args.minutes * 60, _PART_SECONDS)
      process.send_signal(signal.SIGINT)
      status = process.wait(300)
    finally:
      process.kill()
  if status not in (0, 4) or len(seen) < 2:  # 4: stopped and saved
    raise Failed(f"exit status {status} after {len(seen)} chunks", _tail(log))
  import bench as workloads

  (first, step), (last, end) = seen[0], seen[-1]
  images_per_s = (end - step) * 20 / (last - first)
  row = {"config": command[0], "images_per_s": images_per_s, "seconds": last - first}
  row["gflops"] = images_per_s * workloads.mlp_train_flop(50) / 1e9
  return _with_share(row | {"last_metrics": run_progress.rows(workdir)[-1]}, results)


def _parse() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--quick", action="store_true", help="run a small part of each, to check that everything works")
  parser.add_argument("--only", default=",".join(PARTS), help="comma-separated parts; device and install always run")
  parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("accelerator_check.json"), help="result file")
  parser.add_argument("--minutes", type=float, default=5.0, help="duration of the recipe (5); with --quick, 0.05")
  parser.add_argument("--manual_dir", default="", help="folder of MNIST's four published files; else mnist5k is used")
  parser.add_argument("--wheels", default="", help="folder of wheels to install")
  parser.add_argument("--temp", type=pathlib.Path, help="folder for all files except the results")
  args = parser.parse_args()
  if unknown := [p for p in args.only.split(",") if p not in PARTS]:
    parser.error(f"unknown part {unknown[0]!r}; choose from {', '.join(PARTS)}")
  if args.temp is None:
    parser.error("--temp is missing; scripts/accelerator_check.sh sets it.")
  if args.quick:
    args.minutes = 0.05
  return args


def _part(name: str, args: argparse.Namespace, results: dict) -> dict:
  """The part's results, or why it failed."""
  start = time.monotonic()
  try:
    found = globals()[name](args, results)
  except Failed as e:
    found = {"failed": e.args[0], "log": e.args[1]}
  except Exception as e:  # no failure may prevent the other parts from running
    found = {"failed": f"{type(e).__name__}: {e}", "log": _tail(args.temp / f"{name}.log")}
  verdict = f"FAILED ({found['failed']})" if "failed" in found else "passed"
  print(f"{name}: {verdict} in {time.monotonic() - start:.0f} s", flush=True)
  return found


def main() -> int:
  """Runs the parts; writes the results after each of them, so that no measurement is lost."""
  args = _parse()
  os.environ.update(_environment(args))
  chosen = [p for p in PARTS if p in args.only.split(",") or p in ("install", "device")]
  results = {
    "quick": args.quick,
    "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    "device": {},
    "peak": {},
  }
  for name in chosen:
    results[name] = _part(name, args, results)
    args.output.write_text(json.dumps(results, indent=2) + "\n")
    if name == "device":
      print(json.dumps(results[name], indent=2), flush=True)
  failed = [p for p in chosen if "failed" in results[p]]
  where = f"{results['device'].get('kind', 'an unknown device')}; {args.output}"
  verdict = f"FAILED: {', '.join(failed)}" if failed else f"all {len(chosen)} parts passed"
  print(f"accelerator check: {verdict} on {where}")
  return int(bool(failed))


if __name__ == "__main__":
  sys.exit(main())
