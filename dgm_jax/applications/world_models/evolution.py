"""CMA-ES (Hansen, 2016; the package `cma`), whose whole state is its seed and the table of fitnesses.

What was asked and told can be asked and told again: an interrupted evolution replays the table, in seconds, and goes on
bit for bit, with the same versions and number of threads.  So no pickle is written.
"""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dgm_jax.core import errors, files

TABLE = "fitness.jsonl"
LEAST_POPULATION = 4


class Evolution:
  """Maximises a fitness over vectors of n numbers.

  The draws are those of a generator of its own, not of numpy.random, which other code may use.

  Args:
    num_params: n.
    population: candidates of a generation.
    sigma: initial standard deviation.
    seed: of the draws.
    l2: the fitness is lessened by l2 times the mean square of the parameters.

  Raises:
    UserError: population < 4, sigma <= 0, l2 < 0, or the package cma is missing.
  """

  def __init__(self, num_params: int, population: int = 64, sigma: float = 0.1, seed: int = 0, l2: float = 0.0):
    errors.require(
      population >= LEAST_POPULATION, f"population = {population}; CMA-ES needs {LEAST_POPULATION} candidates or more."
    )
    errors.require(sigma > 0, f"sigma = {sigma}; it must be positive.")
    errors.require(l2 >= 0, f"l2 = {l2}; it must be 0 or more.")
    cma = errors.import_package("cma", "Evolution")
    self.population, self._l2, self.generation = population, l2, 0
    rng = np.random.RandomState(seed)
    options = {"popsize": population, "seed": np.nan, "randn": rng.randn, "verbose": -9, "verb_log": 0}
    options |= {"verb_disp": 0, "CMA_diagonal": 0, "maxiter": np.inf, "tolx": 0, "tolfun": 0, "tolfunhist": 0}
    self._es = cma.CMAEvolutionStrategy(np.zeros(num_params), sigma, options)
    self._asked: list[np.ndarray] = []

  def ask(self) -> np.ndarray:
    """The candidates of this generation, float64 [P, n]; the same until `tell`."""
    if not self._asked:
      self._asked = list(self._es.ask())
    return np.stack(self._asked)

  def tell(self, fitness: Sequence[float]) -> None:
    """The fitness of the candidates, in their order; the next generation follows.

    Raises:
      UserError: another number of them, or one that is not finite.
    """
    fitness = np.asarray(fitness, np.float64)
    errors.require(
      fitness.shape == (self.population,) and bool(np.isfinite(fitness).all()),
      f"The fitness of generation {self.generation} must be {self.population} finite numbers.",
    )
    penalty = self._l2 * np.square(self.ask()).mean(1)
    self._es.tell(self._asked, (penalty - fitness).tolist())
    self._asked, self.generation = [], self.generation + 1

  @property
  def mean(self) -> np.ndarray:
    """The mean of the search distribution, float64 [n]."""
    return np.array(self._es.mean)

  @property
  def spread(self) -> float:
    """The root mean square of the standard deviations of the search distribution."""
    return float(np.sqrt(np.square(self._es.sigma * np.sqrt(self._es.dC)).mean()))


def read(folder: pathlib.Path) -> list[dict[str, Any]]:
  """The rows of a folder's table of fitnesses; a last line that was cut short is left out.

  Raises:
    UserError: another line is damaged, or a generation is missing; the message names the line.
  """
  path = folder / TABLE
  if not path.exists():
    return []
  rows, lines = [], path.read_bytes().split(b"\n")
  for number, line in enumerate(lines[:-1], 1):  # behind the last newline there is nothing, or what was cut short
    try:
      row = json.loads(line)
      good = row["generation"] == number - 1 and all(isinstance(f, int | float) for f in row["fitness"])
    except (ValueError, KeyError, TypeError):
      good = False
    errors.require(
      good,
      f"{path} is damaged in line {number}: remove that line and what follows, and the evolution goes on from there.",
    )
    rows.append(row)
  return rows


class Table:
  """Appends rows to the table of fitnesses; each is on the disk when `write` returns.

  Args:
    folder: of the evolution.
    rows: those that are kept; what a killed process cut short is removed.
  """

  def __init__(self, folder: pathlib.Path, rows: Sequence[dict[str, Any]]):
    files.write_text(folder / TABLE, "".join(json.dumps(row) + "\n" for row in rows))
    self._file = open(folder / TABLE, "a")  # noqa: SIM115, closed in close()

  def write(self, generation: int, fitness: Sequence[float]) -> None:
    """Adds a generation."""
    self._file.write(json.dumps({"generation": generation, "fitness": list(map(float, fitness))}) + "\n")
    self._file.flush()
    os.fsync(self._file.fileno())

  def close(self) -> None:
    """Closes the file."""
    self._file.close()


def replayed(evolution: Evolution, rows: Sequence[dict[str, Any]]) -> Evolution:
  """The evolution after the generations of a table.  Raises UserError if a row is of another population."""
  for row in rows:
    evolution.ask()
    evolution.tell(row["fitness"])
  return evolution
