"""Molecules that a model draws: valid, unique, novel, and their distances from those of the test set, as in MOSES."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from dgm_jax.core import errors, rng
from dgm_jax.core.progress import progress_bar
from dgm_jax.data.files import derivations, tokens
from dgm_jax.evaluate.molecular import chemnet, filters, measures, properties

NEEDS = ("generate",)  # methods of the model
UNIQUE = (1000, 10_000)


def check(*, num_samples: int = 1, reference: int = 1, batch_size: int = 1, filter_files: str = "") -> None:
  """Raises UserError for an invalid option, or if RDKit is not installed."""
  for name, value in (("num_samples", num_samples), ("reference", reference), ("batch_size", batch_size)):
    errors.require(value >= 1, f"evaluate.molecules.{name} = {value}; it must be 1 or more.")
  errors.require_package("rdkit")
  if filter_files:
    filters.read(filter_files)


def sets_apart(
  smiles: Sequence[str], train: Sequence[str], test: Sequence[str], filter_files: str = ""
) -> dict[str, Any]:
  """The measures of molecules against a training and a test set.

  Args:
    smiles: as a model draws them, also invalid ones.
    train, test: SMILES.
    filter_files: see filters.read; "" for those of the package molsets, and no filters without it.

  Returns:
    {name: number}, each with name_stderr: valid, unique@1000 and unique@10000 (of so many of the valid ones, where
    there are as many), novel, internal_diversity_1 and _2, snn, fragments, scaffolds, filters, and the Wasserstein
    distances logP, QED, SA and weight; fcd; rdkit, its version, and `..._why` where a number cannot be had.
  """
  found: dict[str, Any] = {"rdkit": properties.version(), "drawn": len(smiles)}

  def put(name: str, estimate: measures.Estimate) -> None:
    if math.isnan(estimate.value):
      found[f"{name}_why"] = "a set has none"
    else:
      found[name], found[f"{name}_stderr"] = estimate

  drawn = [mol for s in smiles if (mol := _connected(s)) is not None]
  put("valid", measures.mean([1.0] * len(drawn) + [0.0] * (len(smiles) - len(drawn))))
  if len(drawn) < 2:
    return found | {"why": "fewer than two valid molecules: nothing else can be measured"}
  names = [str(s) for s in properties.canonical(drawn)]
  for k in UNIQUE:
    if len(names) >= k:
      put(f"unique@{k}", measures.unique(names, k))
  put("unique", measures.unique(names, len(names)))
  known = {s for s in properties.canonical(properties.molecules(train)) if s}
  put("novel", measures.novel(names, known))
  real = [mol for mol in properties.molecules(test) if mol is not None]
  prints, real_prints = properties.fingerprints(drawn), properties.fingerprints(real)
  for p in (1, 2):
    put(f"internal_diversity_{p}", measures.internal_diversity(prints, p))
  put("snn", measures.nearest(prints, real_prints))
  put("fragments", measures.cosine([properties.fragments(m) for m in drawn], [properties.fragments(m) for m in real]))
  scaffolds = lambda mols: [[s] if (s := properties.scaffold(m)) else [] for m in mols]
  put("scaffolds", measures.cosine(scaffolds(drawn), scaffolds(real)))
  ours, theirs = properties.descriptors(drawn), properties.descriptors(real)
  for i, name in enumerate(properties.DESCRIPTORS):
    put(name, measures.wasserstein(ours[:, i], theirs[:, i]))
  if filter_files or filters.folder():
    patterns = filters.read(filter_files)
    put("filters", measures.mean([float(filters.passes(m, patterns)) for m in drawn]))
  else:
    found["filters_why"] = "the package molsets is not installed"
  return found | _frechet(names, [str(s) for s in properties.canonical(real)], train)


def _connected(smiles: str) -> Any:
  """The molecule of a SMILES that a model drew; None for an incomplete derivation, an invalid or an empty one."""
  return None if smiles == derivations.INCOMPLETE else properties.molecule(smiles)


def _frechet(names: Sequence[str], real: Sequence[str], train: Sequence[str]) -> dict[str, Any]:
  """FCD, and beside it that of as many training molecules: it depends on the numbers."""
  if why := chemnet.why_not():
    return {"fcd_why": why}
  of_real = chemnet.features(real)
  some = [train[i] for i in np.random.default_rng(0).permutation(len(train))[: len(names)].tolist()]
  return {
    "fcd": chemnet.distance(chemnet.features(names), of_real),
    "fcd_of_train": chemnet.distance(chemnet.features(some), of_real),
    "fcd_sizes": f"{len(names)} beside {len(some)} of training, against {len(real)}",
  }


def _some(arrays: dict, about: Any, most: int) -> list[str]:
  """The SMILES of at most `most` examples, drawn once."""
  x = arrays["x"]
  kept = np.sort(np.random.default_rng(0).permutation(len(x))[:most])
  return tokens.decode(np.asarray(x)[kept].reshape(len(kept), -1), about)


def draw(experiment: Any, state: Any, key: jax.Array, n: int, rows: int) -> list[str]:
  """n strings of the model."""
  variables = {"params": state.params, **state.variables}
  run = jax.jit(lambda variables, key: experiment.model.bind(variables).generate(key, rows))
  found: list[str] = []
  with progress_bar(n, description="molecules", unit="molecule") as bar:
    for k in jax.random.split(key, -(-n // rows)):
      x = np.asarray(jax.device_get(run(variables, k)))
      found += tokens.decode(x.reshape(rows, -1), experiment.splits.about)
      bar.update(min(rows, n - len(found) + rows))
  return found[:n]


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  num_samples: int = 10_000,
  reference: int = 10_000,
  batch_size: int = 500,
  filter_files: str = "",
) -> dict[str, Any]:
  """Draws molecules and compares them with the training set (novel) and the test set (all distances).

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the test set.
    num_samples: molecules to draw; MOSES has 30,000.
    reference: test molecules, and training molecules for the distance beside which FCD stands; all if there are fewer.
    batch_size: molecules at once.
    filter_files: see filters.read.

  Returns:
    molecules_NAME of every number of `sets_apart`, and molecules_complete, the share of complete derivations.

  Raises:
    UserError: the data are no lines of tokens.
  """
  about = experiment.splits.about
  errors.require(
    "tokens" in about and "windows" not in about, "evaluate.molecules is for data of lines, such as SMILES."
  )
  drawn = draw(experiment, state, rng.stream(key, "molecules"), num_samples, min(batch_size, num_samples))
  train = tokens.decode(np.asarray(experiment.splits.train["x"]), about)
  found = sets_apart(drawn, train, _some(arrays, about, reference), filter_files)
  complete = sum(s != derivations.INCOMPLETE for s in drawn) / len(drawn)
  return {f"molecules_{name}": value for name, value in (found | {"complete": complete}).items()}
