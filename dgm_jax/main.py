"""Trains, evaluates or samples a deep generative model from a config.

  python -m dgm_jax.main --config=configs/iwae_mnist.py:quick --workdir=runs/first
  python -m dgm_jax.main --config=configs/iwae_mnist.py:k=5,layers=1 --workdir=runs/x --config.optim.lr=3e-4
  python -m dgm_jax.main --config=configs/iwae_mnist.py:quick --workdir=runs/y --profile
  python -m dgm_jax.main --mode=evaluate --workdir=runs/x
  python -m dgm_jax.main --mode=sample --workdir=runs/x --num_samples=64

Every value of a config can be set with --config.PATH=VALUE; the config's docstring says what its argument (after the
colon) may be.  The same command resumes an interrupted run, and prints the results of a finished one.  Compiled
programs are kept in ~/.cache/dgm_jax/xla, up to 2 GB (JAX_COMPILATION_CACHE_DIR is another place).

Several processes, as a rule one a host, train one run together when SLURM's srun, or a slice of TPU hosts, starts
them, or with --distributed in each of them:

  python -m dgm_jax.main --config=FILE --workdir=FOLDER --distributed --coordinator=HOST:1234 --num_processes=2
    --process_id=0

The folder of the run must be the same for all; the first process writes.

Exit status: 0 done, 2 a mistake in the command or a full disk, 3 NaN or Inf, 4 stopped by SIGTERM or Ctrl-C (the chunk
of steps is ended and saved; at a second one, a second later or more, at once), 5 another process of the run is gone.
"""

import os
import pathlib
import shlex
import sys

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from dgm_jax.core import compilation_cache, config_args, errors, figures, files, rng, text_tables
from dgm_jax.training import train
from dgm_jax.training.diagnostics import nan_debug
from dgm_jax.training.processes import hosts, supervisor
from dgm_jax.training.restore import restore
from dgm_jax.training.results import evaluate_finally
from dgm_jax.training.workdir.folder import check, disk_errors
from dgm_jax.training.workdir.legacy_configs import read_config

sys.path.append(str(pathlib.Path(__file__).parents[1]))  # configs/ lies beside the package, and imports itself

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "File[:argument] of the config, e.g. configs/iwae_mnist.py:k=5,layers=2.", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: new, interrupted or finished.")
_MODE = flags.DEFINE_enum(
  "mode",
  "train",
  ["train", "evaluate", "sample", "debug"],
  "train: train (or resume) and evaluate; evaluate: the newest checkpoint on the test set, into results.json, or "
  "evaluation.json while the run is not finished, evaluation_STEP.json for another --checkpoint; "
  "sample: draws from the newest checkpoint, into samples.npz and figures/; "
  "debug: replays a run that met NaN or Inf and names the operation.",
)
_CHECKPOINT = flags.DEFINE_string(
  "checkpoint", "latest", "Of --mode=evaluate and sample: latest, best (by config.keep_best) or a step."
)
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 64, "How many to draw with --mode=sample.", lower_bound=1)
_PROFILE = flags.DEFINE_bool(
  "profile",
  False,
  "While training, record one chunk of log_every steps: a trace for TensorBoard or Perfetto, and a table of the "
  "costliest operations, which is printed, too, into WORKDIR/profile/.",
)
_DISTRIBUTED = flags.DEFINE_bool(
  "distributed",
  None,
  "Train together with other processes; by default if srun, or a slice of TPU hosts, started this one as one of many.",
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator", None, "Of --distributed: HOST:PORT of process 0, where JAX does not find it out by itself."
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Of --distributed: how many processes there are.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Of --distributed: which of them this is, from 0 on.")


def _read_config() -> ConfigDict:
  """The config of the command line, else that of the workdir."""
  if _CONFIG.value is not None:
    return _CONFIG.value
  errors.require(
    _MODE.value != "train", "--config is missing, e.g. --config=configs/iwae_mnist.py:quick --workdir=runs/first."
  )
  config = read_config(pathlib.Path(_WORKDIR.value))
  errors.require(config is not None, f"--workdir {_WORKDIR.value} holds no run (it has no config.json).")
  return ConfigDict(config)


def _print_results(workdir: pathlib.Path, results: dict, names: tuple[str, ...]) -> None:
  paths = [workdir / name for name in names]
  newest = {p.stem.rstrip("0123456789"): p for p in sorted((workdir / "figures").glob("*.png"))}
  paths += newest.values()
  print(f"\n{text_tables.results_table(results)}\n\nFiles")
  print("\n".join(f"  {p}" for p in paths if p.exists()), flush=True)


def _train(config: ConfigDict, workdir: pathlib.Path) -> None:
  if (workdir / "results.json").exists() and check(workdir, config.to_dict()):
    nothing = "nothing is left to train" + (" or to profile" if _PROFILE.value else "")
    print(f"{workdir} holds a finished run of this config; {nothing}.")
  results = train.train_and_evaluate(config, workdir, profile=_PROFILE.value)
  names = ("results.json", "values.npz", "metrics.jsonl", "run.json", "tensorboard", "profile", "checkpoints")
  if hosts.is_first():
    _print_results(workdir, results, names)


def _evaluate(config: ConfigDict, workdir: pathlib.Path) -> None:
  experiment, state = restore(config, workdir, _CHECKPOINT.value)
  finished = files.read_json(workdir / "results.json")  # its presence marks a finished run
  if finished is not None and finished["step"] != int(state.step):  # those stay the results of the whole run
    names, finished = (f"evaluation_{int(state.step)}.json", f"values_{int(state.step)}.npz"), None
  else:
    names = "evaluation.json" if finished is None else "results.json", "values.npz"
  results = evaluate_finally(config, experiment, state, workdir, finished is not None, names[1])
  files.write_json(workdir / names[0], (finished or {}) | results)
  _print_results(workdir, results, names)


def _sample(config: ConfigDict, workdir: pathlib.Path) -> None:
  experiment, state = restore(config, workdir, _CHECKPOINT.value)
  errors.require(
    experiment.system.sample is not None, f"Model {config.model.name!r} is of y given x: it generates no x."
  )
  key = rng.stream(jax.random.key(config.seed), "sample")
  draw = jax.jit(experiment.system.sample, static_argnums=2)
  x = jax.device_get(draw(state, key, _NUM_SAMPLES.value))
  files.save_arrays(workdir / "samples.npz", x=x)
  if x.ndim == 4 and x.shape[-1] in (1, 3):
    figures.save_image(workdir / "figures" / f"drawn_{int(state.step):08d}.png", figures.image_grid(x))
  print(f"{len(x)} samples of shape {x.shape[1:]} from step {int(state.step)}.")
  _print_results(workdir, {"step": int(state.step)}, ("samples.npz",))


def _debug(config: ConfigDict, workdir: pathlib.Path) -> None:
  print(nan_debug.replay(config, workdir), flush=True)


def main(argv: list[str]) -> None:
  """Runs the mode."""
  errors.require(len(argv) == 1, f"Unexpected argument {argv[-1]!r}: every option starts with --; see --help.")
  errors.require(_WORKDIR.value is not None, "--workdir is missing; name the folder of the run, e.g. runs/first.")
  errors.require(_MODE.value == "train" or not _PROFILE.value, "--profile is of --mode=train.")
  run = {"train": _train, "evaluate": _evaluate, "sample": _sample, "debug": _debug}[_MODE.value]
  errors.require(
    _MODE.value in ("evaluate", "sample") or _CHECKPOINT.value == "latest",
    "--checkpoint is of --mode=evaluate and sample.",
  )
  errors.require(_DISTRIBUTED.value is None or _MODE.value == "train", "--distributed is of --mode=train.")
  workdir = pathlib.Path(_WORKDIR.value)
  if _MODE.value == "train" and (hosts.expected() if _DISTRIBUTED.value is None else _DISTRIBUTED.value):
    if not supervisor.is_child():
      sys.exit(supervisor.run_as_child(shlex.join(sys.orig_argv)))
    supervisor.end_with_parent()
    hosts.connect(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
  with disk_errors(workdir):
    run(_read_config(), workdir)
  hosts.depart(0)


def _with_data_set(config: str, argv: list[str]) -> str:
  """FILE:ARGUMENT with data=NAME added for --config.data.name=NAME: another data set has other options."""
  for override, following in zip(argv, [*argv[1:], ""], strict=True):
    flag, equals, name = override.lstrip("-").partition("=")
    if override.startswith("-") and flag == "config.data.name":
      config += f"{',' if config.partition(':')[2] else ':' * (':' not in config)}data={name if equals else following}"
  return config


def _parse_flags(argv: list[str]) -> list[str]:
  """Loads the config alone first, so that a wrong file or key is answered with the choices."""
  for i, arg in enumerate(argv[1:], 1):
    name, equals, value = arg.lstrip("-").partition("=")
    if arg.startswith("-") and name == "config" and (equals or i + 1 < len(argv)):
      value = _with_data_set(value if equals else argv[i + 1], argv)
      argv = [*argv[:i], f"--config={value}", *argv[i + (1 if equals else 2) :]]
      config = config_args.load(value)
      for override in argv[1:]:
        key = override.lstrip("-").partition("=")[0]
        if override.startswith("-") and key.startswith("config."):
          config_args.check_path(config, key.removeprefix("config."))
  return flags.FLAGS(argv)


def _stop(sentence: object, status: int) -> None:
  print(f"error: {sentence}", file=sys.stderr, flush=True)
  if jax.distributed.is_initialized():
    hosts.depart(status, orderly=status != supervisor.LOST)
  sys.exit(status)


def _guarded(function, *args):
  """Calls a function, with a user's mistake told in one sentence instead of a traceback."""
  try:
    return function(*args)
  except errors.UserError as e:
    if os.environ.get("DGM_TRACEBACK"):
      raise
    _stop(e, 2)
  except errors.DivergenceError as e:
    _stop(e, 3)
  except errors.PrunedError as e:
    _stop(e, 4)
  except errors.StoppedError as e:
    _stop(f"{e} The same command resumes:\n  {shlex.join(sys.orig_argv)}", 4)
  except jax.errors.JaxRuntimeError as e:
    if not jax.distributed.is_initialized():
      raise
    reason = str(e).strip().splitlines()[0][:200]
    _stop(
      f"Another process of the run is gone, or cannot be reached ({reason}). What was saved is kept; the same command, "
      f"in all processes, resumes:\n  {shlex.join(sys.orig_argv)}",
      supervisor.LOST,
    )
  except flags.Error as e:
    _stop(f"{e} See --help.", 2)
  except (AttributeError, KeyError, TypeError, OSError) as e:
    if function is not _parse_flags:
      raise
    _stop(" ".join(str(e.args[0] if e.args else e).split()), 2)  # a wrong --config.PATH
  except KeyboardInterrupt:
    _stop(f"interrupted; the same command resumes from the newest checkpoint in {_WORKDIR.value}.", 130)


def run() -> None:
  """Entry point: `python -m dgm_jax.main` and the command `dgm_jax`."""
  logging.set_verbosity(logging.WARNING)  # orbax reports every save; --verbosity=0 shows it
  compilation_cache.use()
  app.run(lambda argv: _guarded(main, argv), flags_parser=lambda argv: _guarded(_parse_flags, argv))


if __name__ == "__main__":
  run()
