"""The stage score: chosen controllers on 100 episodes used for nothing else, beside random play and their dreams."""

import math
from typing import Any

import numpy as np

from dgm_jax.applications.world_models import environments, episodes, evolving, plans, seeds
from dgm_jax.applications.world_models.plans import Plan
from dgm_jax.core import files

PLAYS = ("every", "held", "still")


def summary(values: np.ndarray) -> dict[str, Any]:
  """Mean, standard deviation over episodes (the ± of the paper's tables) and standard error of the mean."""
  values = np.asarray(values, np.float64)
  sd = float(values.std(ddof=1)) if len(values) > 1 else 0.0
  error = sd / math.sqrt(len(values))
  return {"mean": float(values.mean()), "sd": sd, "stderr": error, "episodes": len(values), "values": values.tolist()}


def baselines(plan: Plan, vector: Any) -> dict[str, dict[str, Any]]:
  """Random play drawn anew at every step, held for 1 to 10 steps, and standing still."""
  of = seeds.of("baseline", plan.seed, plan.budget.baseline)
  found = {}
  for play in PLAYS:
    totals = np.zeros(len(of))

    def keep(i: int, episode: dict[str, Any], totals: np.ndarray = totals) -> None:
      totals[i] = episode["total"]

    episodes.random_play(vector, play, of, keep)
    found[play] = summary(totals)
  return found


def score(plan: Plan, count: int = 0) -> dict[str, Any]:
  """Scores the controllers of a folder; returns the content of results.json, which it writes.

  Of several temperatures one is chosen on episodes of the purpose "temperature", before the test.

  Args:
    plan: of the folder.
    count: real episodes; 0 for the budget's.
  """
  names, b, folder = plan.controllers(), plan.budget, plan.folder("score")
  count = count or b.score
  done = files.read_json(folder / "results.json")
  plan.need(*names)
  of = {name: evolving.chosen(plan.folder(name))["generation"] for name in names}
  if done is not None and done["count"] == count and done["generations"] == of:
    return done
  found = evolving.parts(plan)
  with plans.opened(folder, {"environment": plan.environment, "seed": plan.seed}, plan.seed), plan.vector() as vector:
    rows = {}
    for name, tau in names.items():
      weights = evolving.weights_of(plan.folder(name))
      row: dict[str, Any] = {"tau": tau, "generation": of[name]} if b.dreams else {"generation": of[name]}
      if len(names) > 1:
        played = evolving.real_score(plan, found.agent, vector, weights, "temperature", count)
        row["choice"] = summary(played.total)
      row["real"] = summary(evolving.real_score(plan, found.agent, vector, weights, "test", count).total)
      if found.dreamer is not None:
        seed = seeds.of("test", plan.seed, 1)[0]
        dreamt = found.dreamer(found.m_params, weights[None], count, found.moments, seed, tau)
        row["dream"] = summary(dreamt.total[0])
      rows[name] = row
    best = max(rows, key=lambda name: rows[name].get("choice", rows[name]["real"])["mean"])
    results = {
      "count": count, "generations": of, "controllers": rows, "chosen": best, "real": rows[best]["real"],
      "random_play": baselines(plan, vector), "step": max(of.values()), "seed": plan.seed,
    } | environments.about(plan.environment)  # fmt: skip
    files.write_json(folder / "results.json", results)
  return results


def sentence(results: dict[str, Any]) -> str:
  """The score in words."""
  real, play = results["real"], results["random_play"]
  of = ", ".join(f"{name} {row['mean']:.0f} ± {row['sd']:.0f}" for name, row in play.items())
  return (
    f"{results['environment']}: {real['mean']:.1f} ± {real['sd']:.1f} (standard deviation of {real['episodes']} "
    f"episodes; standard error {real['stderr']:.1f}). Random play: {of}."
  )
