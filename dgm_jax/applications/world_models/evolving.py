"""The stage c: C is evolved in M's dream or in the environment, and its snapshots are scored on real episodes."""

import contextlib
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.applications.world_models import controllers, dreams, episodes, evolution, plans, seeds, stages
from dgm_jax.applications.world_models.plans import Plan
from dgm_jax.core import errors, files
from dgm_jax.data.files import rollouts as stored
from dgm_jax.training.loggers import hub
from dgm_jax.training.workdir import metrics


class Parts(NamedTuple):
  """What C is evolved with.

  Attributes:
    agent: V, M and C in the environment.
    dreamer, m_params, moments: C in M's dream, M's variables, (mean, log variance) of first frames; None outside.
  """

  agent: episodes.Agent
  dreamer: dreams.Dreamer | None
  m_params: Any
  moments: np.ndarray | None


def parts(plan: Plan) -> Parts:
  """V, M and C of a folder.  Raises UserError unless the stages that they need are finished."""
  b = plan.budget
  reads_m = controllers.KINDS[errors.choose("controller", b.controller, controllers.KINDS)][0] != "z"
  needs_m = reads_m or b.dreams
  plan.need("v", *(["m"] if needs_m else []))
  vae, v_params = stages.trained(plan.folder("v"))
  memory, m_params = stages.trained(plan.folder("m")) if needs_m else (None, None)
  controller = controllers.make(b.controller, vae.latent_dim, memory.hidden if memory else 0, plan.kind.outputs)
  agent = episodes.Agent(vae, v_params, memory, m_params, controller, plan.kind)
  if not b.dreams:
    return Parts(agent, None, m_params, None)
  errors.require(memory.done, f"M of {plan.workdir} does not predict the end of an episode: it cannot be dreamt in.")
  squash = controllers.squash(plan.kind.action, plan.kind.low, plan.kind.high)
  dreamer = dreams.Dreamer(dreams.of_memory(memory), controller, squash, plan.limit)
  return Parts(agent, dreamer, m_params, first_moments(plan))


def first_moments(plan: Plan) -> np.ndarray:
  """(mean, log variance) of the first frames of the episodes that M was trained on, [M, 2 L]."""
  folder = plan.folder("latents")
  paths = stored.sound(folder, "moments", plan.budget.least_steps)[0]
  train, _ = stored.split(paths, 0.05)
  return np.stack([stored.read(paths[i], "moments")["moments"][0] for i in train])


def fitness(plan: Plan, found: Parts, vector: Any, tau: float) -> Callable[[np.ndarray, int], np.ndarray]:
  """(candidates [P, n], generation) -> the total reward of their episodes, [P, R], on common seeds."""
  b = plan.budget

  def evaluate(candidates: np.ndarray, generation: int) -> np.ndarray:
    of = seeds.of("training", plan.seed, b.episodes, generation * b.episodes)
    if found.dreamer is not None:
      return found.dreamer(found.m_params, candidates, b.episodes, found.moments, of[0], tau).total
    jobs = [(i, seed) for i in range(len(candidates)) for seed in of]
    return episodes.run(vector, found.agent, candidates, jobs, b.lost).total.reshape(len(candidates), -1)

  return evaluate


def real_score(plan: Plan, agent: episodes.Agent, vector: Any, weights: np.ndarray, purpose: str, count: int) -> Any:
  """Real episodes of one controller on seeds of a purpose, see episodes.Played."""
  jobs = [(0, seed) for seed in seeds.of(purpose, plan.seed, count)]
  return episodes.run(vector, agent, weights[None], jobs)


def _snapshot(
  plan: Plan, folder: pathlib.Path, search: evolution.Evolution, found: Parts, vector: Any, tau: float
) -> Any:
  """Scores the mean parameters on real episodes of the purpose "selection", unless that is done; {name: number}."""
  path = folder / "snapshots" / f"{search.generation:06d}.npz"
  if path.exists():
    with contextlib.suppress(errors.UserError):  # a damaged one is made again
      arrays = files.load_arrays(path)
      return {"real": float(arrays["total"].mean()), "real_sd": float(arrays["total"].std())}
  weights = search.mean.astype(np.float32)
  total = real_score(plan, found.agent, vector, weights, "selection", plan.budget.select).total
  arrays = {"weights": weights, "total": total}
  if found.dreamer is not None:
    of = seeds.of("selection", plan.seed, 1)[0]
    arrays["dream"] = found.dreamer(
      found.m_params, weights[None], max(16, plan.budget.select), found.moments, of, tau
    ).total
  files.save_arrays(path, **arrays)
  return {"real": float(total.mean()), "real_sd": float(total.std())}


def _settings(plan: Plan, tau: float, num_params: int) -> dict[str, Any]:
  b = plan.budget
  names = ("population", "episodes", "generations", "sigma", "l2", "check_every", "select", "lost", "dreams")
  config = {name: getattr(b, name) for name in names}
  config |= {"controller": b.controller, "num_params": num_params, "limit": plan.limit, "seed": plan.seed}
  return config | ({"tau": tau} if b.dreams else {}) | {"environment": plan.environment}


def c(plan: Plan, name: str, tau: float) -> dict[str, Any]:
  """Evolves a controller in the folder `name`; returns the content of results.json."""
  folder, b = plan.folder(name), plan.budget
  done = files.read_json(folder / "results.json")
  if done is not None and done["generations"] >= b.generations:
    return done
  dreams.check(tau, b.population, b.episodes)
  found = parts(plan)
  n = found.agent.controller.num_params
  with contextlib.ExitStack() as stack:
    record, stop = stack.enter_context(plans.opened(folder, _settings(plan, tau, n), plan.seed))
    vector = stack.enter_context(plan.vector())
    search = evolution.Evolution(n, b.population, b.sigma, plan.seed, b.l2)
    rows = evolution.read(folder)[: b.generations]
    table = stack.enter_context(contextlib.closing(evolution.Table(folder, rows)))
    about = hub.About(folder, len(rows), _settings(plan, tau, n))
    loggers = stack.enter_context(contextlib.closing(hub.Hub(("tensorboard",), about)))
    logged = [row for row in metrics.read(folder) if row["step"] <= len(rows)]
    writer = metrics.MetricWriter(folder, logged, {"seed": plan.seed, "data": plan.environment})
    stack.enter_context(contextlib.closing(writer))
    evaluate = fitness(plan, found, vector, tau)
    while search.generation < b.generations:
      g, start = search.generation, time.monotonic()
      candidates = search.ask()
      replays = g < len(rows)
      if replays:
        values = np.asarray(rows[g]["fitness"])
      else:
        returns = evaluate(candidates.astype(np.float32), g)
        values = returns.mean(1)
        table.write(g, values)
      search.tell(values)
      row = {"fitness/mean": values.mean(), "fitness/min": values.min(), "fitness/max": values.max()}
      row |= {"fitness/sd": values.std(), "spread": search.spread}
      last = search.generation == b.generations
      if search.generation % b.check_every == 0 or last:
        row |= {f"selection/{k}": v for k, v in _snapshot(plan, folder, search, found, vector, tau).items()}
      row = {k: float(v) for k, v in row.items()}
      if not replays:
        record.add_time("generations", time.monotonic() - start)
        writer.write(search.generation, row)
        loggers.scalars(search.generation, row)
        print(
          f"{name}: generation {search.generation} of {b.generations}, fitness {row['fitness/mean']:.1f}", flush=True
        )
      stop.check()
    results = chosen(folder) | {"generations": b.generations, "step": b.generations, "seed": plan.seed}
    files.write_json(folder / "results.json", results)
  return results


def chosen(folder: pathlib.Path) -> dict[str, Any]:
  """The snapshot with the best mean on the seeds of selection: its generation, file and scores."""
  best: dict[str, Any] = {}
  for path in sorted((folder / "snapshots").glob("*.npz")):
    arrays = files.load_arrays(path)
    score = float(arrays["total"].mean())
    if not best or score > best["selection_mean"]:
      best = {"generation": int(path.stem), "snapshot": path.name, "selection_mean": score}
      best["selection_sd"] = float(arrays["total"].std(ddof=1)) if len(arrays["total"]) > 1 else 0.0
      if "dream" in arrays:
        best["dream_mean"] = float(arrays["dream"].mean())
  errors.require(bool(best), f"{folder} has no snapshot yet; run the stage c.")
  return best


def weights_of(folder: pathlib.Path) -> np.ndarray:
  """The parameters of the chosen snapshot, float32 [n]."""
  return files.load_arrays(folder / "snapshots" / chosen(folder)["snapshot"])["weights"]
