"""The stage c: C is evolved in M's dream or in the environment, and its snapshots are scored on real episodes."""

import contextlib
import pathlib
import time
from collections.abc import Callable, Sequence
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


class Lane(NamedTuple):
  """One evolution: its folder's name, its temperature, the seed of CMA-ES and of the episodes of its generations."""

  name: str
  tau: float
  seed: int


class Asked(NamedTuple):
  """The candidates [P, n] of a generation of a lane."""

  lane: Lane
  generation: int
  candidates: np.ndarray


def fitness(plan: Plan, found: Parts, vector: Any) -> Callable[[Sequence[Asked]], list[np.ndarray]]:
  """Generations of several lanes -> the total reward of their candidates' episodes, [P, R] each.

  Candidates of a generation have common seeds.  The dreams of all lanes are one program.
  """
  b = plan.budget

  def evaluate(asked: Sequence[Asked]) -> list[np.ndarray]:
    of = [seeds.of("training", a.lane.seed, b.episodes, a.generation * b.episodes) for a in asked]
    if found.dreamer is None:
      jobs = [[(i, seed) for i in range(len(a.candidates)) for seed in s] for a, s in zip(asked, of, strict=True)]
      played = [episodes.run(vector, found.agent, a.candidates, j, b.lost) for a, j in zip(asked, jobs, strict=True)]
      return [p.total.reshape(len(a.candidates), -1) for a, p in zip(asked, played, strict=True)]
    sizes = [len(a.candidates) for a in asked]
    first, taus = np.repeat([s[0] for s in of], sizes), np.repeat([a.lane.tau for a in asked], sizes)
    candidates = np.concatenate([a.candidates for a in asked])
    total = found.dreamer(found.m_params, candidates, b.episodes, found.moments, first, taus).total
    return np.split(total, np.cumsum(sizes)[:-1])

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


def _settings(plan: Plan, lane: Lane, num_params: int) -> dict[str, Any]:
  b = plan.budget
  names = ("population", "episodes", "generations", "sigma", "l2", "check_every", "select", "lost", "dreams")
  config = {name: getattr(b, name) for name in names}
  config |= {"controller": b.controller, "num_params": num_params, "limit": plan.limit, "seed": lane.seed}
  return config | ({"tau": lane.tau} if b.dreams else {}) | {"environment": plan.environment}


class _Search:
  """The evolution of a lane in its folder, which is locked; one generation after another."""

  def __init__(self, plan: Plan, lane: Lane, found: Parts, vector: Any, opened: Any, stack: contextlib.ExitStack):
    self.plan, self.lane, self.folder = plan, lane, plan.folder(lane.name)
    self._found, self._vector, self._start = found, vector, 0.0
    self._record, self._stop = opened
    b, n = plan.budget, found.agent.controller.num_params
    self._search = evolution.Evolution(n, b.population, b.sigma, lane.seed, b.l2)
    rows = evolution.read(self.folder)[: b.generations]
    self._known = [np.asarray(row["fitness"]) for row in rows]
    closing = lambda opened: stack.enter_context(contextlib.closing(opened))
    self._table = closing(evolution.Table(self.folder, rows))
    about = hub.About(self.folder, len(rows), _settings(plan, lane, n))
    self._loggers = closing(hub.Hub(("tensorboard",), about))
    logged = [row for row in metrics.read(self.folder) if row["step"] <= len(rows)]
    start = {"seed": lane.seed, "data": plan.environment}
    self._writer = closing(metrics.MetricWriter(self.folder, logged, start))

  @property
  def finished(self) -> bool:
    return self._search.generation == self.plan.budget.generations

  def ask(self) -> Asked | None:
    """The next generation whose fitness is not in the table, after those that are; None if there is none."""
    while not self.finished and self._search.generation < len(self._known):
      self._search.ask()
      self._tell(self._known[self._search.generation])
      self._stop.check()
    if self.finished:
      return None
    self._start = time.monotonic()
    return Asked(self.lane, self._search.generation, self._search.ask().astype(np.float32))

  def tell(self, returns: np.ndarray) -> None:
    """Takes the rewards [P, R] of what `ask` gave: into the table, then to CMA-ES and the curves."""
    values, search = returns.mean(1), self._search
    self._table.write(search.generation, values)
    row = {name: float(value) for name, value in self._tell(values).items()}
    self._record.add_time("generations", time.monotonic() - self._start)
    self._writer.write(search.generation, row)
    self._loggers.scalars(search.generation, row)
    of = f"generation {search.generation} of {self.plan.budget.generations}"
    print(f"{self.lane.name}: {of}, fitness {row['fitness/mean']:.1f}", flush=True)

  def _tell(self, values: np.ndarray) -> dict[str, Any]:
    """What is logged of a generation; scores a snapshot where one is due and missing."""
    search = self._search
    search.tell(values)
    row = {"fitness/mean": values.mean(), "fitness/min": values.min(), "fitness/max": values.max()}
    row |= {"fitness/sd": values.std(), "spread": search.spread}
    if search.generation % self.plan.budget.check_every and not self.finished:
      return row
    scored = _snapshot(self.plan, self.folder, search, self._found, self._vector, self.lane.tau)
    return row | {f"selection/{k}": v for k, v in scored.items()}

  def write_results(self) -> dict[str, Any]:
    """The content of results.json."""
    count = self.plan.budget.generations
    results = chosen(self.folder) | {"generations": count, "step": count, "seed": self.lane.seed}
    files.write_json(self.folder / "results.json", results)
    return results


def c(plan: Plan, name: str, tau: float) -> dict[str, Any]:
  """Evolves a controller in the folder `name`; returns the content of results.json."""
  return together(plan, [Lane(name, tau, plan.seed)])[name]


def together(plan: Plan, lanes: Sequence[Lane]) -> dict[str, dict[str, Any]]:
  """Evolves a controller for each lane, generation by generation side by side; {name: the content of results.json}.

  Each has what it would have alone, but for the rounding of products of other sizes.
  """
  b = plan.budget
  results = {lane.name: files.read_json(plan.folder(lane.name) / "results.json") for lane in lanes}
  left = [lane for lane in lanes if (results[lane.name] or {"generations": -1})["generations"] < b.generations]
  if not left:
    return results
  dreams.check([lane.tau for lane in left], b.population, b.episodes)
  found = parts(plan)
  n = found.agent.controller.num_params
  with contextlib.ExitStack() as stack:
    opened = [stack.enter_context(plans.opened(plan.folder(a.name), _settings(plan, a, n), a.seed)) for a in left]
    vector, stop = stack.enter_context(plan.vector()), opened[0][1]  # of the process
    searches = [_Search(plan, a, found, vector, o, stack) for a, o in zip(left, opened, strict=True)]
    evaluate = fitness(plan, found, vector)
    while asked := [(search, a) for search in searches if (a := search.ask()) is not None]:
      for (search, _), returns in zip(asked, evaluate([a for _, a in asked]), strict=True):
        search.tell(returns)
      stop.check()
    results |= {search.lane.name: search.write_results() for search in searches}
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
