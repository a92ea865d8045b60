"""Trains, evaluates or samples a deep generative model from a config.

  python -m dgm_jax.main --config=configs/iwae_mnist.py:quick --workdir=runs/first
  python -m dgm_jax.main --config=configs/iwae_mnist.py:k=5,layers=1 --workdir=runs/x --config.optim.lr=3e-4
  python -m dgm_jax.main --config=configs/iwae_mnist.py:quick --workdir=runs/y --profile
  python -m dgm_jax.main --mode=evaluate --workdir=runs/x
  python -m dgm_jax.main --mode=sample --workdir=runs/x --num_samples=64
  python -m dgm_jax.main --mode=sample --workdir=runs/x --prompt="ROMEO:" --temperature=0.8 --top_p=0.9
  python -m dgm_jax.main --mode=sample --workdir=runs/x --complete=halves.npz

`python -m dgm_jax train|evaluate|sample|debug` is the same with that --mode.  Any value of a config can be set with
--config.PATH=VALUE; the docstring of the config file describes its argument (after the colon).  The same command
resumes an interrupted run, and prints the results of a finished one.  Compiled programs are cached in
~/.cache/dgm_jax/xla (at most 2 GB), or in JAX_COMPILATION_CACHE_DIR.

Several processes, usually one per host, train one run together if SLURM's srun or a TPU slice starts them, or with
--distributed in each of them:

  python -m dgm_jax.main --config=FILE --workdir=FOLDER --distributed --coordinator=HOST:1234 --num_processes=2
    --process_id=0

They must share the folder of the run; the first process writes to it.

Exit status: 0 success, 2 a mistake in the command or a full disk, 3 NaN or Inf, 4 stopped by SIGTERM or Ctrl-C (the
current chunk of steps is completed and saved; a second signal, a second later or more, or --config.grace_seconds end
the process at once), 5 another process of the run was lost.
"""

import pathlib
import shlex
import sys
from collections.abc import Sequence

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from dgm_jax.core import (
  compilation_cache,
  config_args,
  errors,
  figures,
  files,
  paths,
  rng,
  streams,
  text_tables,
  writable,
)
from dgm_jax.training import sampling, train, usage
from dgm_jax.training.build import with_evaluations
from dgm_jax.training.diagnostics import nan_debug
from dgm_jax.training.processes import exit_status, hosts, supervisor
from dgm_jax.training.restore import restore
from dgm_jax.training.results import evaluate_finally
from dgm_jax.training.workdir import recovery
from dgm_jax.training.workdir.folder import check, disk_errors
from dgm_jax.training.workdir.legacy_configs import read_config

_MODULE = sys.argv[0] if __name__ == "__main__" else __name__  # by which absl knows these flags
_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "File[:argument] of the config, e.g. configs/iwae_mnist.py:k=5,layers=2.", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run, new, interrupted or finished.")
_MODE = flags.DEFINE_enum(
  "mode",
  "train",
  ["train", "evaluate", "sample", "debug"],
  "train: train (or resume) and evaluate; evaluate: evaluate the latest checkpoint on the test set and write "
  "results.json (evaluation.json if the run is not finished, evaluation_STEP.json for another --checkpoint); "
  "sample: draw from the latest checkpoint and write samples.npz and figures/; "
  "debug: replay a run that reached NaN or Inf and name the operation.",
)
_CHECKPOINT = flags.DEFINE_string(
  "checkpoint", "latest", "The checkpoint to evaluate or sample: latest, best (by config.keep_best) or a step."
)
_NUM_SAMPLES = flags.DEFINE_integer(
  "num_samples", 64, "Number of samples to draw.", lower_bound=1, upper_bound=2**31 - 1
)
_TRUNCATION = (
  flags.DEFINE_float(
    "temperature", None, "Draw from p^(1/T), T the temperature; 0 draws the most probable value of each entry."
  ),
  flags.DEFINE_integer("top_k", None, "Draw only the K most probable values of each entry; 0: all."),
  flags.DEFINE_float("top_p", None, "Draw only the most probable values of each entry, as few as have probability P."),
  flags.DEFINE_integer("y", None, "Of a class-conditional GAN: the class of the samples, 0 .. C - 1."),
  flags.DEFINE_float("truncation", None, "Of a GAN with normal noise: draw each entry of z given |z| < this number."),
)
_COMPLETE = flags.DEFINE_string(
  "complete",
  None,
  "Draw the missing entries of the examples in this file, of images or a table, given the others: NaN, empty cells, or "
  "entries where the array `mask` of a .npz file is 0.",
)
_PROMPT = flags.DEFINE_string("prompt", None, "Of a model of text: what every sample begins with; see --temperature.")
_OUT = flags.DEFINE_string("out", None, "Folder for what evaluate and sample write; the default is --workdir.")
_PROFILE = flags.DEFINE_bool(
  "profile",
  False,
  "Record one chunk of log_every training steps into WORKDIR/profile/: a trace for TensorBoard or Perfetto, and a "
  "table of the most expensive operations, which is also printed.",
)
_DISTRIBUTED = flags.DEFINE_bool(
  "distributed",
  None,
  "Train together with other processes; the default is to do so if srun or a TPU slice started several.",
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator", None, "With --distributed: HOST:PORT of process 0, where JAX cannot detect it."
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "With --distributed: the number of processes.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "With --distributed: the index of this process, from 0.")


def _read_config(workdir: pathlib.Path) -> ConfigDict:
  """The config of the command line, or else of the workdir."""
  if _CONFIG.value is not None:
    return _CONFIG.value
  errors.require(
    _MODE.value != "train", "--config is missing, e.g. --config=configs/iwae_mnist.py:quick --workdir=runs/first."
  )
  config = read_config(workdir)
  errors.require(config is not None, f"--workdir {workdir} holds no run (it has no config.json).")
  return ConfigDict(config)


def _print_results(workdir: pathlib.Path, results: dict, names: tuple[str, ...]) -> None:
  paths = [workdir / name for name in names]
  newest = {p.stem.rstrip("0123456789") + p.suffix: p for p in sorted((workdir / "figures").glob("*.*"))}
  paths += newest.values()
  print(f"\n{text_tables.results_table(results)}\n\nFiles")
  print("\n".join(f"  {p}" for p in paths if p.exists()), flush=True)


def _train(config: ConfigDict, workdir: pathlib.Path) -> None:
  if (workdir / "results.json").exists() and check(workdir, config.to_dict()):
    more = " or to profile" if _PROFILE.value else ""
    print(f"{workdir} holds a finished run of this config; nothing is left to train{more}.")
  results = train.train_and_evaluate(config, workdir, profile=_PROFILE.value)
  if hosts.is_first():
    names = ("results.json", "values.npz", "metrics.jsonl", "run.json", "tensorboard", "profile", "checkpoints")
    _print_results(workdir, results, names)


def _evaluate(config: ConfigDict, workdir: pathlib.Path) -> None:
  out = writable.chosen(workdir, _OUT.value)
  experiment, state = restore(config, workdir, _CHECKPOINT.value)
  finished = recovery.results(workdir)  # its presence marks a finished run
  if finished is not None and finished.get("step") != int(state.step):  # keep the results of the whole run
    names, finished = (f"evaluation_{int(state.step)}.json", f"values_{int(state.step)}.npz"), None
  else:
    names = "evaluation.json" if finished is None else "results.json", "values.npz"
  results = evaluate_finally(config, experiment, state, workdir, finished is not None, names[1], fresh=True, out=out)
  files.write_json(out / names[0], (finished or {}) | results)
  _print_results(out, results, names)


def _sample(config: ConfigDict, workdir: pathlib.Path) -> None:
  out = writable.chosen(workdir, _OUT.value)
  experiment, state = restore(config, workdir, _CHECKPOINT.value)
  key, name = rng.stream(jax.random.key(config.seed), "sample"), config.model.name
  options = {flag.name: flag.value for flag in _TRUNCATION if flag.value is not None}
  if _PROMPT.value is not None:
    x, more = sampling.continued(experiment, state, key, _NUM_SAMPLES.value, name, options, _PROMPT.value), {}
  elif _COMPLETE.value is None:
    x, more = sampling.samples(experiment, state, key, _NUM_SAMPLES.value, name, options), {}
  else:
    arrays = sampling.read(_COMPLETE.value, experiment, config.data.transforms)
    x, more = sampling.complete(experiment, state, key, arrays, name, options), {"mask": arrays["mask"]}
  files.save_arrays(out / "samples.npz", x=x, **more)
  if (text := sampling.as_text(x, experiment)) is not None:
    files.write_text(out / "samples.txt", text + "\n")
    print(text, end="\n\n")
  if x.ndim == 4 and x.shape[-1] in (1, 3):
    figures.save_image(
      out / "figures" / f"drawn_{int(state.step):08d}.png",
      figures.image_grid(figures.shades(x, sampling.support(experiment.model))),
    )
  print(f"{len(x)} samples of shape {x.shape[1:]} from step {int(state.step)}.")
  _print_results(out, {"step": int(state.step)}, ("samples.npz", "samples.txt"))


def _debug(config: ConfigDict, workdir: pathlib.Path) -> None:
  writable.check("--workdir", workdir, "Copy the folder: debug saves the states that it replays.")
  print(nan_debug.replay(config, workdir), flush=True)


def main(argv: list[str]) -> None:
  """Runs the mode."""
  errors.require(len(argv) == 1, f"Unexpected argument {argv[-1]!r}: every option starts with --; see --help.")
  errors.require(_WORKDIR.value is not None, "--workdir is missing; name the folder of the run, e.g. runs/first.")
  errors.require(_MODE.value == "train" or not _PROFILE.value, "--profile is for --mode=train.")
  of_state = _MODE.value in ("evaluate", "sample")
  errors.require(of_state or _CHECKPOINT.value == "latest", "--checkpoint is for --mode=evaluate and sample.")
  errors.require(of_state or _OUT.value is None, "--out is for --mode=evaluate and sample.")
  errors.require(_DISTRIBUTED.value is None or _MODE.value == "train", "--distributed is for --mode=train.")
  for flag in (*_TRUNCATION, _COMPLETE, _PROMPT):
    errors.require(flag.value is None or _MODE.value == "sample", f"--{flag.name} is for --mode=sample.")
  errors.require(
    _COMPLETE.value is None or not (_NUM_SAMPLES.present or _PROMPT.present),
    "--num_samples and --prompt are not for --complete, which draws every example.",
  )
  together = _MODE.value == "train" and (hosts.expected() if _DISTRIBUTED.value is None else _DISTRIBUTED.value)
  for flag in () if together else (_COORDINATOR, _NUM_PROCESSES, _PROCESS_ID):
    errors.require(flag.value is None, f"--{flag.name}={flag.value} needs --distributed, of --mode=train.")
  workdir = paths.folder("--workdir", _WORKDIR.value)
  if together:
    if not supervisor.is_child():
      sys.exit(supervisor.run_as_child(shlex.join(sys.orig_argv)))
    supervisor.end_with_parent()
    hosts.connect(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
  with disk_errors(workdir) if _OUT.value is None else writable.full(paths.folder("--out", _OUT.value)):
    _MODES[_MODE.value](_read_config(workdir), workdir)
  hosts.depart(0)


_WRONG_FLAGS = (AttributeError, KeyError, TypeError)  # what absl raises for a wrong --config.PATH=VALUE


def _parse_flags(argv: list[str]) -> list[str]:
  """Validates the config before absl does, whose answers to a wrong file or key are tracebacks.

  An evaluation that the config does not have is added to it where --config.evaluate.NAME.OPTION asks for one.
  """
  load = lambda text: with_evaluations(config_args.load(text), config_args.overrides(argv))
  flags.FLAGS["config"].parser.parse = load  # by name, too, and each config's module once
  return flags.FLAGS(config_args.checked_arguments(argv, load))


_MODES = {"train": _train, "evaluate": _evaluate, "sample": _sample, "debug": _debug}


def run(mode: str | None = None, arguments: Sequence[str] | None = None) -> int:
  """Entry point of `python -m dgm_jax.main`, and of the commands that are its modes.

  Args:
    mode: of the command; None for --mode of the command line.
    arguments: of the command line, without the program's name; None for sys.argv's.
  """
  streams.prepare()
  arguments = list(sys.argv[1:] if arguments is None else arguments)
  if {"--help", "-h", "-help", "--helpshort", "--helpfull", "-?"} & set(arguments):
    print(usage.usage(mode, _MODULE, __doc__))
    return 0
  given = [] if mode is None else [f"--mode={mode}"]
  if given and any(argument.lstrip("-").partition("=")[0] == "mode" for argument in arguments if argument[:1] == "-"):
    print(f"error: --mode is for python -m dgm_jax.main; here the command, {mode!r}, is the mode.", file=sys.stderr)
    return 2
  logging.set_verbosity(logging.WARNING)  # orbax reports every save; --verbosity=0 shows it
  compilation_cache.use()
  app.run(
    lambda argv: exit_status.guarded(main, argv),
    [sys.argv[0], *given, *arguments],
    flags_parser=lambda argv: exit_status.guarded(_parse_flags, argv, mistakes=_WRONG_FLAGS),
  )
  return 0


if __name__ == "__main__":
  sys.exit(run())
