"""Kusner, Paige & Hernandez-Lobato, "Grammar Variational Autoencoder" (ICML 2017), for equations and molecules.

https://arxiv.org/abs/1703.01925
  python -m dgm_jax reproduce kusner2017 --table=1 --budget=short
  python -m dgm_jax reproduce kusner2017 --table=2 --budget=paper

Table 1: the search for an equation, and predictions of scores from codes.  Table 2: the same models as VAEs, measured
by log p(x), which nobody published.  Table 3: equations between two equations, and a plane of the latent space.
Table 4: reconstruction and validity of molecules.
"""

import pathlib
from typing import Any

from dgm_jax.experiments.harness import stages
from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.experiments.papers.kusner2017 import searches, tables
from dgm_jax.sweeps import axes

_KUSNER = "Kusner et al., not verified at the source"
_PUBLISHED1 = {
  "grammar average": Value(
    3.26, "rerun by Ghosh et al. (2020), verified; Kusner et al. 3.47 ± .24, unverified", True, 0.20
  ),
  "character average": Value(
    4.74, "rerun by Ghosh et al. (2020), verified; Kusner et al. 4.75 ± .25, unverified", True, 0.25
  ),
  "grammar valid": Value(0.99, "rerun by Ghosh et al. (2020)", True, 0.01),
  "character valid": Value(0.82, "rerun by Ghosh et al. (2020)", True, 0.07),
  "grammar rmse": Value(0.884, _KUSNER, False, 0.002),
  "character rmse": Value(0.975, _KUSNER, False, 0.004),
  "grammar log_py": Value(-1.320, _KUSNER, False, 0.001),
  "character log_py": Value(-1.397, _KUSNER, False, 0.003),
}
_PUBLISHED4 = {
  "grammar": Value(0.537, f"reconstruction; valid .072; {_KUSNER}", False),
  "character": Value(0.446, f"reconstruction; valid .007; {_KUSNER}", False),
}
_LOSS = (
  "The published loss is the binary cross-entropy over rules plus the mean KL over units, with z drawn with 1 % of the "
  "standard deviations that the encoder reports: an autoencoder's, and no bound on log p(x)."
)
PAPER = Paper(
  authors="Kusner, Paige & Hernandez-Lobato",
  title="Grammar Variational Autoencoder",
  venue="ICML 2017",
  url="https://arxiv.org/abs/1703.01925",
  items={
    "table=1": "The search for an equation by grammar and by characters, random search, and predictions from codes",
    "table=2": "log p(x) of equations: the published loss and the ELBO, both decoders",
    "table=3": "Equations between two equations, and a plane of the latent space",
    "table=4": "Reconstruction and validity of molecules by grammar and by characters",
  },
  published={"table=1": _PUBLISHED1, "table=2": {}, "table=3": {}, "table=4": _PUBLISHED4},
  notes={
    "table=1": (
      _LOSS,
      "Published scores were computed with the division of Python 2, in which 1/2 is 0: the search uses it, and the "
      "best equations are scored with the division of numbers, too.  The targets of the Gaussian process at the start "
      "have the division of numbers, as published.",
      "Published averages leave out all scores at the worst value, invalid strings among them, and their ± is the "
      "standard deviation over 10 simulations divided by the root of 5; ours is divided by the root of their number.",
      "The published Gaussian process hardly moves from its start: its noise stays near 1, so that log p(y) is near "
      "-0.92 - RMSE^2 / 2.  Ours is the collapsed bound, maximised.",
      "RMSE and log p(y) are of a random tenth of the equations, in units of scores.",
    ),
    "table=2": (
      _LOSS,
      "All 100,000 equations are equally probable, so that no model of them has more than -11.513 nats on average; "
      "held out are 10,000 at random.  log p(x) is by importance sampling with z from q as the encoder reports it.",
    ),
    "table=3": (
      "The likeliest strings along the line between the means of two test equations, and on a random plane.",
    ),
    "table=4": (
      "Molecules of the small part of ZINC (24,445 for training), not of all 250,000; networks and length of training "
      "are ours, with the ELBO.",
    ),
  },
)

_CONFIG = "configs/grammar_vae_equations.py"
_SEARCH = {by: {"arg.by": by} for by in ("grammar", "character")}
_VAES = {
  f"{loss} {decoder}": {"arg.loss": loss, "arg.decoder": decoder}
  for loss in ("published", "elbo")
  for decoder in ("inputless", "autoregressive")
}
_MOLECULES = {"grammar": {"arg.tokens": "rule"}, "character": {"arg.tokens": "character"}}


def _cells(of: dict[str, dict], seeds: int) -> dict[str, list[axes.Overrides]]:
  return {cell: [overrides | {"seed": seed} for seed in range(seeds)] for cell, overrides in of.items()}


def _budgets(of: dict[str, dict], minutes: float, measure: str = "", seeds: int = 3) -> dict[str, Budget]:
  """`measure` is a function of searches, which gets the name of the budget."""

  def budget(name: str, what: str, arg: str, minutes: float, seeds: int, full: bool = False) -> Budget:
    more = {"measure": getattr(searches, measure)(name)} if measure else {}
    caveat = "" if full else "Fewer equations or shorter training: not comparable with the published numbers."
    return Budget(what, minutes, full=full, caveat=caveat, config=f"{_CONFIG}{arg}", cells=_cells(of, seeds), **more)

  return {
    "quick": budget("quick", "5,000 equations, small networks, one seed", ":quick", 4 * len(of), 1),
    "short": budget("short", "100,000 equations, 50 epochs, one seed", "", minutes / seeds, 1),
    "paper": budget("paper", f"100,000 equations, 50 epochs, {seeds} seeds", "", minutes, seeds, full=True),
    "test": budget("test", "300 equations, 40 steps, one seed: for tests", ":test", 1, 1),
  }


def _molecules() -> dict[str, Budget]:
  config = "configs/selfies_vae_moses.py"
  small = "The small part of ZINC: not comparable with the published numbers."
  made = lambda what, minutes, arg, **more: Budget(
    what, minutes, config=f"{config}:{arg}", cells=_cells(_MOLECULES, 1), caveat=small, **more
  )
  longest = {"common": {"num_steps": 40_000}}
  return {
    "quick": made("the small part of ZINC, 1,500 steps, one seed", 40, "data=zinc250k/small,quick"),
    "short": made("the small part of ZINC, 8,000 and 20,000 steps, one seed", 300, "data=zinc250k/small"),
    "paper": made("the small part of ZINC, 40,000 steps, one seed", 1500, "data=zinc250k/small", **longest),
    "test": made("300 equations, 40 steps, one seed: for tests", 1, "data=equations,test"),
  }


RUNS = {
  "table=1": _budgets(_SEARCH, 600, "of_search"),
  "table=2": _budgets(_VAES, 1100),
  "table=3": _budgets({"grammar": {"arg.by": "grammar"}}, 80, "of_paths", seeds=1),
  "table=4": _molecules(),
}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the finished runs in a folder: numbers, tables and figures."""
  names = stages.run_names(RUNS[item][name])
  if item == "table=1":
    return tables.searches(folder, names, _PUBLISHED1)
  if item == "table=3":
    return tables.paths(folder, names)
  return tables.likelihoods(folder, names, PAPER.published[item], molecules=item == "table=4")


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  return tables.summary(numbers)
