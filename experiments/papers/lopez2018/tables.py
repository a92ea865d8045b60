"""Tables of likelihood, of imputation and of clusters, beside the published numbers, which are of other cells."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dgm_jax.evaluate import compare
from dgm_jax.evaluate.cells.count_imputation import KINDS as CORRUPTIONS
from dgm_jax.experiments.harness import measured, tables
from dgm_jax.experiments.harness.paper import Value

KINDS = {"zinb": "ZINB", "nb": "negative binomial", "zinb-iwae": "ZINB, IWAE k = 5"}
BASELINES = {"fa": "factor analysis", "pca": "PCA"}
FREQUENCIES = "frequencies"
_LIKELIHOODS = {"nll": ("NLL", 2), "negative_elbo": ("minus ELBO", 2), "ess": ("effective samples", 1)}
CLUSTERS = {  # name in results.json: (title, digits)
  "cells_asw": ("ASW", 3),
  "cells_nmi_geometric": ("NMI", 3),
  "cells_ari": ("ARI", 3),
  "batch_entropy": ("batch entropy", 3),
  "batch_asw": ("batch ASW", 3),
}
_PAIRS = (("zinb-iwae", "zinb"), ("nb", "zinb"))

Runs = Mapping[str, Mapping[int, compare.Run]]  # {cell: {seed: run}}


def _published(old: Value | None) -> dict[str, Any]:
  return tables.cell("") if old is None else tables.published(f"{old.value:g} ({old.more})", old.verified)


def _ours(found: Mapping[str, Any], name: str, digits: int, runs: Sequence[str]) -> dict[str, Any]:
  of = found.get(name)
  return tables.cell("" if of is None else tables.plus_minus(of["mean"], of["stderr"], digits=digits), runs)


def pairs_of(runs: Runs, title: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
  """({label: differences}, [their table, or none]) of NLL between kinds, paired by test cell."""
  pairs, rows = {}, []
  for first, second in _PAIRS:
    if first in runs and second in runs and (found := measured.pair(runs[first], runs[second], "log_px")):
      label = f"{KINDS[first]} − {KINDS[second]}"
      pairs[label] = found._asdict()
      rows.append(tables.paired_row(label, found._asdict(), found.verdict))
  columns = ["first − second", "difference ± over cells", "by seed", "error over seeds", "first is"]
  return pairs, [tables.table(title, columns, rows)] if rows else []


def of_seeds(cells: Mapping[str, Mapping[int, Mapping[str, float]]]) -> dict[str, dict[str, Any]]:
  """{cell: {name: mean, standard error, values by seed}} of {cell: {seed: {name: value}}}."""
  found: dict[str, dict[str, Any]] = {}
  for cell, by_seed in cells.items():
    found[cell] = {}
    for name in next(iter(by_seed.values())):
      over = measured.mean([values[name] for values in by_seed.values()])
      values = {str(seed): values[name] for seed, values in by_seed.items()}
      found[cell][name] = {"mean": over.mean, "stderr": over.stderr, "by_seed": values}
  return found


def likelihoods(
  runs: Runs, names: Mapping[str, Sequence[str]], published: Mapping[str, Value], others: Mapping[str, Value]
) -> dict[str, Any]:
  """NLL by importance sampling, minus the ELBO, as the paper has it, and the effective number of samples."""
  of_run = lambda r: {"nll": r["test/nll"], "negative_elbo": -r["test/elbo"], "ess": r["test/likelihood_ess"]}
  cells = of_seeds({c: {s: of_run(run.results) for s, run in found.items()} for c, found in runs.items()})
  columns = ["", "published minus ELBO", *(title for title, _ in _LIKELIHOODS.values())]
  rows = [
    [
      tables.cell(KINDS[c]),
      _published(published.get(c)),
      *(_ours(f, n, d, names[c]) for n, (_, d) in _LIKELIHOODS.items()),
    ]
    for c, f in cells.items()
  ]
  rows += [[tables.cell(name), _published(old), *[tables.cell("")] * len(_LIKELIHOODS)] for name, old in others.items()]
  pairs, made = pairs_of(runs, "NLL with a latent library, nats, paired by test cell")
  main = tables.table("Test cells, library latent, nats; ± standard error over seeds", columns, rows)
  return {"numbers": {"likelihoods": cells, "pairs": pairs}, "tables": [main, *made], "figures": [], "sentences": []}


def imputations(
  found: Mapping[str, Mapping[int, Mapping[str, np.ndarray]]],
  names: Mapping[str, Sequence[str]],
  published: Mapping[str, Value],
  others: Mapping[str, Value],
) -> dict[str, Any]:
  """Median L1 error of corrupted entries by corruption, beside that of the genes' frequencies."""
  measured_cells = {
    c: {seed: {n: float(v) for n, v in arrays.items()} for seed, arrays in runs.items()}
    for c, runs in found.items()
    if runs
  }
  cells = of_seeds(
    {c: {s: {k: v[k] for k in CORRUPTIONS} for s, v in runs.items()} for c, runs in measured_cells.items()}
  )
  if measured_cells:
    first = next(iter(measured_cells))
    plain = {s: {k: v[f"{k}_{FREQUENCIES}"] for k in CORRUPTIONS} for s, v in measured_cells[first].items()}
    cells |= of_seeds({FREQUENCIES: plain})
  labels = KINDS | {FREQUENCIES: "total of the cell x frequency of the gene"}
  rows = [
    [tables.cell(labels[c]), _published(published.get(c)), *(_ours(f, k, 3, names.get(c, ())) for k in CORRUPTIONS)]
    for c, f in cells.items()
  ]
  rows += [[tables.cell(name), _published(old), *[tables.cell("")] * len(CORRUPTIONS)] for name, old in others.items()]
  titles = {"published": "one draw for all, as in the code", "each": "a draw each", "binomial": "Binomial(x, 0.2)"}
  columns = ["", "published", *(titles[k] for k in CORRUPTIONS)]
  main = tables.table("Median L1 error of corrupted entries; ± standard error over seeds", columns, rows)
  return {"numbers": {"imputation": cells}, "tables": [main], "figures": [], "sentences": []}


def clusters(
  runs: Runs, linear: Mapping[str, Any], names: Mapping[str, Sequence[str]], published: Mapping[str, Value]
) -> dict[str, Any]:
  """ASW, NMI and ARI of the types, entropy and ASW of the batches, of each kind and of factors of log(1 + x)."""
  cells = {cell: measured.of_seeds(found, CLUSTERS) for cell, found in runs.items()}
  for kind in BASELINES:
    values = {n: float(linear[f"{kind} {n}"]) for n in CLUSTERS if f"{kind} {n}" in linear}
    cells |= of_seeds({kind: {0: values}}) if values else {}
  labels, rows = KINDS | BASELINES, []
  for cell, found in cells.items():
    rows.append([tables.cell(labels[cell])])
    for name, (_, digits) in CLUSTERS.items():
      rows[-1] += [_published(published.get(f"{cell} {name}")), _ours(found, name, digits, names.get(cell, ()))]
  columns = ["", *(c for title, _ in CLUSTERS.values() for c in (f"published {title}", title))]
  most = {run.results["test/batch_entropy_most"] for found in runs.values() for run in found.values()}
  note = f"The entropy of mixed batches is at most {max(most):.3f} nats." if most else ""
  main = tables.table("Latent means of all cells; ± standard error over seeds", columns, rows, note)
  return {"numbers": {"clusters": cells}, "tables": [main], "figures": [], "sentences": []}


_SUMMARIES = {
  "likelihoods": ("scVI: minus ELBO, latent library", "negative_elbo", 2, "CORTEX (other cells): 1196.37"),
  "imputation": ("scVI: median L1 error of imputed counts", "each", 3, "CORTEX (other cells): 2.325"),
  "clusters": ("scVI: ARI of clusters", "cells_ari", 3, "CORTEX (other cells): 0.744"),
}


def summary(numbers: Mapping[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  key = next(k for k in _SUMMARIES if k in numbers)
  system, name, digits, published = _SUMMARIES[key]
  labels = KINDS | BASELINES | {FREQUENCIES: "frequencies of genes"}
  ours = [f"{labels[c]} {_ours(f, name, digits, ())['text']}" for c, f in numbers[key].items() if name in f]
  return {"system": system, "data": "single cells, see protocol", "published": published, "ours": "; ".join(ours)}
