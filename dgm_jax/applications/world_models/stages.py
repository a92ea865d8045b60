"""The stages of a world model, each a run in a folder of its own: rollouts, v, m, c, score.

An interrupted stage goes on where it was; a finished one is not repeated.
"""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.applications.world_models import budgets, environments, episodes, seeds
from dgm_jax.applications.world_models.plans import Plan, opened
from dgm_jax.core import config_args, files
from dgm_jax.data.files import rollouts as stored
from dgm_jax.training import restore
from dgm_jax.training import train as training

STAGES = ("rollouts", "v", "m", "c", "score")


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
