"""The stages of a world model, each a run in a folder of its own: rollouts, v, m, c, score.

An interrupted stage goes on where it was; a finished one is not repeated.
"""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.applications.world_models import budgets, environments, episodes, seeds
from dgm_jax.applications.world_models.budgets import Budget
from dgm_jax.core import config_args, errors, files, full_disk
from dgm_jax.data.files import rollouts as stored
from dgm_jax.training import restore
from dgm_jax.training import train as training
from dgm_jax.training.processes import signals
from dgm_jax.training.workdir import folder as folders
from dgm_jax.training.workdir import lock, run_record

STAGES = ("rollouts", "v", "m", "c", "score")
_ABOUT = "world.json"
_SLOTS = {"dodge": 32}  # 8 of other environments
_FREE = ("generations", "score", "select", "baseline", "what")  # may differ when a folder is taken up again


class Plan:
  """What is to be done in a folder.

  Args:
    workdir: the folder.
    environment: see environments.kind.
    budget: settings of all stages.
    seed: of everything.
    processes: of the environment.
    test: whether nets are tiny, for tests.

  Raises:
    UserError: the folder is of another environment, or of other settings.
  """

  def __init__(
    self,
    workdir: str | pathlib.Path,
    environment: str,
    budget: Budget,
    seed: int = 0,
    processes: int = 2,
    test: bool = False,
  ):  # fmt: skip
    self.workdir, self.environment, self.budget = pathlib.Path(workdir), environment, budget
    self.seed, self.processes, self.test = seed, processes, test
    self.kind = environments.kind(environment)
    self.limit = budget.limit or self.kind.limit

  def about(self) -> dict[str, Any]:
    """What world.json says."""
    budget = {k: list(v) if isinstance(v, tuple) else v for k, v in self.budget._asdict().items()}
    return {"environment": self.environment, "seed": self.seed, "test": self.test, "budget": budget}

  def open(self, creates: bool = True) -> None:
    """Creates the folder, or checks that it is this plan's; without `creates` its stage rollouts must be finished."""
    path = self.workdir / _ABOUT
    known = files.read_json(path)
    if known is None:
      if not creates:
        self.need("rollouts")
      others = [p.name for p in self.workdir.iterdir()] if self.workdir.is_dir() else []
      errors.require(
        not others, f"--workdir {self.workdir} holds files that are not a world model's; name a new or empty folder."
      )
      files.make_folder(self.workdir)
      files.write_json(path, self.about())
      return
    there = known.get("environment")
    errors.require(
      there == self.environment,
      f"--workdir {self.workdir} is of the environment {there!r}, not {self.environment!r}; name another folder.",
    )
    old, new = (files.flatten(a) for a in (known, self.about()))
    different = [
      f"{k} ({old.get(k)} there, {new[k]} now)"
      for k in new
      if old.get(k) != new[k] and k.rpartition(".")[2] not in _FREE
    ]
    errors.require(
      not different, f"--workdir {self.workdir} has other settings: {'; '.join(different)}. Name another folder."
    )

  def folder(self, stage: str) -> pathlib.Path:
    """The folder of a stage."""
    return self.workdir / stage

  def controllers(self) -> dict[str, float]:
    """{folder of C: tau}, one for each temperature; one without tau where C is evolved in the environment."""
    if not self.budget.dreams:
      return {"c": 1.0}
    return {f"c_tau_{tau:.2f}": tau for tau in self.budget.taus}

  def need(self, *names: str) -> None:
    """Raises UserError unless these stages are finished."""
    for name in names:
      errors.require(
        (self.folder(name) / "results.json").exists(),
        f"--workdir {self.workdir} has no finished stage {name!r}, which this one needs; run it first, or leave "
        "--stage out to run all of them.",
      )

  def vector(self, limit: int = 0) -> Any:
    """Slots of the environment, as a context."""
    slots = _SLOTS.get(self.environment, 8)
    return episodes.vector(self.environment, slots, self.processes, limit or self.limit)


def of_folder(workdir: str | pathlib.Path, processes: int = 2) -> Plan:
  """The plan of a folder.  Raises UserError if it holds no world model."""
  workdir = pathlib.Path(workdir)
  known = files.read_json(workdir / _ABOUT)
  errors.require(known is not None, f"--workdir {workdir} holds no world model (it has no {_ABOUT}).")
  try:
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in known["budget"].items()}
    return Plan(workdir, known["environment"], Budget(**given), known["seed"], processes, known["test"])
  except (KeyError, TypeError) as e:
    raise errors.UserError(f"{workdir / _ABOUT} is damaged: {e}; restore it.") from e


@contextlib.contextmanager
def opened(folder: pathlib.Path, config: dict[str, Any], seed: int) -> Iterator[tuple[Any, Any]]:
  """Context of a stage without a training loop: (run.json, the request to stop), the folder locked.

  Raises:
    LockedError, DiskFullError; UserError: the folder is of other settings.
  """
  known = files.read_json(folder / "config.json") if folder.is_dir() else None
  free = lambda c: {k: v for k, v in c.items() if k not in _FREE}
  same = known is None or free(known) == free(config)
  errors.require(same, f"{folder} holds a run of other settings: {known}; remove it, or name another folder.")
  advice = lambda: "What was finished before is kept; free some space, and the same command continues from there."
  with full_disk.sentence(str(folder), folder, advice):
    folders.create(folder, config)
    with lock.locked(folder), signals.requests("Run the same command again to continue.") as stop:
      files.remove_left(folder)
      record = run_record.RunRecord(folder, seed, 0)
      stop.begin()
      stop.deferred = True
      try:
        with record.timed("total"):
          yield record, stop
        record.finish()
      finally:
        stop.deferred = False
        record.write()
  stop.check()


def rollouts(plan: Plan) -> dict[str, Any]:
  """Random play, an archive for each episode; returns the content of results.json."""
  folder, b = plan.folder("rollouts"), plan.budget
  if (done := files.read_json(folder / "results.json")) is not None:
    return done
  config = {"environment": plan.environment, "rollouts": b.rollouts, "play": plan.kind.play, "limit": plan.limit}
  with opened(folder, config | {"seed": plan.seed}, plan.seed) as (_, stop), plan.vector() as vector:
    there = {int(p.stem) for p in folder.glob("*.npz") if p.stem.isdigit()}
    missing = [i for i in range(b.rollouts) if i not in there]
    of = seeds.of("rollouts", plan.seed, b.rollouts)

    def keep(i: int, episode: dict[str, Any]) -> None:
      stored.write(folder, missing[i], episode["arrays"])
      stop.check()

    episodes.random_play(vector, plan.kind.play, [of[i] for i in missing], keep, keeps=True)
    paths, steps, _ = stored.sound(folder, "frames")
    found = {"episodes": len(paths), "steps": int(sum(steps)), "mean_steps": float(np.mean(steps)), "seed": plan.seed}
    found |= environments.about(plan.environment) | {"step": int(sum(steps))}
    files.write_json(folder / "results.json", found)
  return found


def _updated(config: Any, **values: Any) -> Any:
  with config.unlocked():
    for path, value in values.items():
      node, (*parents, name) = config, path.split("__")
      for parent in parents:
        node = node[parent]
      node[name] = value
  return config


def v(plan: Plan) -> dict[str, Any]:
  """V, a run of the config world_v."""
  plan.need("rollouts")
  b, family = plan.budget, budgets.family(plan.environment)
  config = config_args.load(f"world_v:env={family}{',test' * plan.test}")
  every = max(1, min(100, b.v_steps))
  config = _updated(
    config, data__path=str(plan.folder("rollouts")), data__max_frames=b.max_frames, data__least_steps=b.least_steps,
    num_steps=b.v_steps, batch_size=b.v_batch, seed=plan.seed, log_every=every, eval_every=0, figures_every=0,
    checkpoint_every=0,
  )  # fmt: skip
  return training.train_and_evaluate(config, plan.folder("v"))


def m(plan: Plan) -> dict[str, Any]:
  """M, a run of the config world_m on V's latents, which are computed first.

  With random_m it takes one step, at a rate of 1e-30.
  """
  plan.need("rollouts", "v")
  if (done := files.read_json(plan.folder("m") / "results.json")) is not None:
    return done
  latents(plan)
  b, family = plan.budget, budgets.family(plan.environment)
  paths, lengths, shape = stored.sound(plan.folder("latents"), "moments", b.least_steps)
  sequences = sum(stored.num_pieces(lengths[i], b.length) for i in stored.split(paths, 0.05)[0])
  size = f"latents={shape[0] // 2},actions={plan.kind.action_dim}"
  config = config_args.load(f"world_m:env={family},{size}{',test' * plan.test}")
  steps = 1 if b.random_m else b.m_steps
  rate = {"optim__lr": 1e-30} if b.random_m else {}
  config = _updated(
    config, data__path=str(plan.folder("latents")), data__length=b.length, data__least_steps=b.least_steps,
    num_steps=steps, batch_size=min(b.m_batch, sequences), seed=plan.seed, log_every=max(1, min(100, steps)),
    eval_every=0, figures_every=0, checkpoint_every=0, **rate,
  )  # fmt: skip
  return training.train_and_evaluate(config, plan.folder("m"))


def latents(plan: Plan) -> None:
  """V's (mean, log variance) of all rollouts, an archive for each episode."""
  folder, source = plan.folder("latents"), plan.folder("rollouts")
  vae, params = trained(plan.folder("v"))
  encode = encoder(vae, params)
  with opened(folder, {"v": str(plan.folder("v")), "seed": plan.seed}, plan.seed) as (_, stop):
    for path in stored.sound(source, "frames")[0]:
      if not (folder / path.name).exists():
        arrays = stored.read(path, "frames")
        moments = encode(arrays.pop("frames"))
        stored.write(folder, int(path.stem), arrays | {"moments": moments})
        stop.check()


def trained(folder: pathlib.Path) -> tuple[Any, Any]:
  """(model, variables) of a finished run of V or M."""
  _, experiment, state = restore.of_run(folder)
  return experiment.model, {"params": state.params, **state.variables}


def encoder(vae: Any, params: Any, batch: int = 128) -> Any:
  """frames uint8 [n, 64, 64, 3] -> (mean, log variance) float32 [n, 2 L], in batches of one size."""

  @jax.jit
  def run(params, frames):
    q = vae.apply(params, {"x": frames.astype(jnp.float32) / 255}, method="infer")
    return jnp.concatenate([q.mean(), jnp.log(q.variance())], -1)

  def encode(frames: np.ndarray) -> np.ndarray:
    found = []
    for start in range(0, len(frames), batch):
      part = frames[start : start + batch]
      padded = np.resize(part, (batch, *part.shape[1:]))
      found.append(np.asarray(run(params, padded))[: len(part)])
    return np.concatenate(found)

  return encode
