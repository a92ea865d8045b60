"""World models: V sees, M remembers and predicts, C acts, evolved in M's dream or in the environment.

  python -m dgm_jax world-models dodge --workdir=runs/dodge                      # minutes: a toy
  python -m dgm_jax world-models doom --workdir=runs/doom --budget=short         # hours
  python -m dgm_jax world-models car --workdir=runs/car --stage=v
  python -m dgm_jax world-models other --env=ALE/Pong-v5 --workdir=runs/pong
  python -m dgm_jax world-models score --workdir=runs/doom --episodes=100
  python -m dgm_jax world-models play --workdir=runs/doom --out=doom.gif --tau=1.15

The stages rollouts, v, m, c and score run one after another, each a run of its own in a folder of the workdir; the same
command goes on where it was interrupted.  See dgm_jax/applications/world_models/README.md.

Exit status: 0 success, 2 a mistake in the command, 4 stopped by Ctrl-C.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any

from dgm_jax.applications.world_models import budgets, controllers, scoring
from dgm_jax.applications.world_models.stages import STAGES
from dgm_jax.applications.world_models.world_model import WorldModel
from dgm_jax.core import compilation_cache, errors, full_disk, paths

_TRAINS = {
  "dodge": "a toy game: balls fall, the player dodges",
  "car": "CarRacing of gymnasium (pip install '.[car]')",
  "doom": "take cover of vizdoom (pip install '.[doom]')",
  "other": "any environment of gymnasium with pictures: --env=NAME",
}
_SETTINGS = {  # option: help
  "rollouts": "episodes of random play",
  "population": "candidates of a generation",
  "episodes_each": "rollouts of each candidate",
  "generations": "generations of CMA-ES",
  "sigma": "initial standard deviation of CMA-ES",
  "l2": "penalty of the mean square of C's parameters",
  "v_steps": "training steps of V",
  "m_steps": "training steps of M",
  "controller": f"what C reads: {', '.join(controllers.KINDS)}",
}
_NAMES = {"episodes_each": "episodes"}  # of budgets.Budget


def _parser() -> argparse.ArgumentParser:
  common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
  common.add_argument("--workdir", required=True, help="folder of the world model")
  common.add_argument("--processes", type=int, default=2, help="of the environment (2)")
  trains = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
  add = trains.add_argument
  add("--budget", default="quick", help=f"{', '.join(budgets.NAMES)} (quick)")
  add("--stage", default="", help=f"only this one: {', '.join(STAGES)}")
  add("--seed", type=int, default=0, help="of everything (0)")
  add("--tau", default="", help="temperatures of the dreams, separated by commas")
  add("--random_m", action="store_true", help="leave M untrained")
  for name, what in _SETTINGS.items():
    kind = {"sigma": float, "l2": float, "controller": str}.get(name, int)
    add(f"--{name}", type=kind, help=f"{what}; the budget's if it is not given")
  made = argparse.ArgumentParser(
    prog="python -m dgm_jax world-models",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  commands = made.add_subparsers(dest="what", required=True, metavar="COMMAND")
  for name, what in _TRAINS.items():
    one = commands.add_parser(name, help=what, parents=[common, trains], allow_abbrev=False)
    if name == "other":
      one.add_argument("--env", required=True, help="name of an environment of gymnasium")
  score = commands.add_parser("score", help="real episodes of the chosen controller", parents=[common])
  score.add_argument("--episodes", type=int, default=100, help="real episodes (100)")
  play = commands.add_parser("play", help="a GIF of an episode, its reconstruction and a dream", parents=[common])
  play.add_argument("--out", required=True, help="the .gif to write")
  play.add_argument("--tau", type=float, default=1.0, help="temperature of the dream (1)")
  play.add_argument("--seed", type=int, default=0, help="of the episode and the dream (0)")
  play.add_argument("--overwrite", action="store_true", help="replace an existing file")
  return made


def _taus(text: str) -> tuple[float, ...]:
  try:
    return tuple(map(float, text.split(",")))
  except ValueError as e:
    raise errors.UserError(f"--tau={text}; numbers separated by commas are expected.") from e


def _settings(args: argparse.Namespace) -> dict[str, Any]:
  given = {_NAMES.get(n, n): getattr(args, n) for n in _SETTINGS if getattr(args, n) is not None}
  given |= {"random_m": True} if args.random_m else {}
  return given | ({"taus": _taus(args.tau)} if args.tau else {})


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  args = _parser().parse_args(argv)
  errors.require(args.processes >= 1, f"--processes={args.processes}; it must be 1 or more.")
  folder = paths.named("--workdir", args.workdir)
  if args.what in _TRAINS:
    if args.stage:
      errors.choose("value of --stage", args.stage, STAGES)
    name = args.env if args.what == "other" else args.what
    world = WorldModel(name, folder, args.budget, args.seed, args.processes, **_settings(args))
    found = world.run(args.stage)
    print(scoring.sentence(found) if "random_play" in found else f"{folder}: stage {args.stage or 'score'} is done.")
    return 0
  world = WorldModel.of_run(folder, args.processes)
  compilation_cache.use()
  if args.what == "score":
    print(scoring.sentence(world.score(args.episodes)))
    return 0
  out = pathlib.Path(args.out)
  with full_disk.sentence(str(out), out.absolute().parent, lambda: "Nothing was kept."):
    found = world.play(out, args.seed, args.tau, args.overwrite)
  dreamt = "" if found["dreamt"] is None else f", a dream of {found['dreamt']} steps"
  print(f"{out}: {found['steps']} steps, reward {found['total']:.1f}{dreamt}.")
  return 0
