"""Lopez, Regier, Cole, Jordan & Yosef, "Deep generative modeling for single-cell transcriptomics" (2018).

https://doi.org/10.1038/s41592-018-0229-2
  python -m dgm_jax reproduce lopez2018 --table=1 --budget=quick                       # cells drawn from the model
  python -m dgm_jax reproduce lopez2018 --table=1 --budget=short --manual_dir=FOLDER   # smfish, starmap

Table 1: held-out log p, clusters, mixing of batches and imputation, of scVI with its ELBO and with IWAE.  (In the paper
these are several tables and figures.)
"""

import pathlib
from collections.abc import Sequence
from typing import Any

from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget, Paper

_KINDS = {"zinb": "ZINB", "nb": "negative binomial", "zinb-iwae": "ZINB, IWAE k = 5"}
METRICS = {  # name in results.json: (title, digits)
  "log_px": ("log p(x | l)", 2),
  "cells_ari": ("ARI", 3),
  "cells_nmi_geometric": ("NMI", 3),
  "cells_asw": ("ASW", 3),
  "batch_entropy": ("batch entropy", 3),
  "imputation_l1": ("imputation, median L1", 3),
}
_PAIRS = (("zinb-iwae", "zinb"), ("nb", "zinb"))

PAPER = Paper(
  authors="Lopez, Regier, Cole, Jordan & Yosef",
  title="Deep generative modeling for single-cell transcriptomics",
  venue="Nature Methods 2018",
  url="https://doi.org/10.1038/s41592-018-0229-2",
  items={"table=1": "scVI: held-out log p, clusters of cell types, mixing of batches, imputation"},
  published={"table=1": {}},
  notes={
    "table=1": (
      "Published: CORTEX, 558 genes, whose cells are not those here: NLL 1196.37 of scVI, 1205.74 of ZINB-WaVE, "
      "1282.89 of factor analysis; of scVI ASW 0.300, NMI 0.778, ARI 0.744, and imputation 2.325. The authors' "
      "executed notebook has ASW 0.281, NMI 0.789, ARI 0.811 of the same data: so much differs between their own "
      "artefacts.",
      "The published NLL is minus a one-sample ELBO with a sampled latent library. Ours is log p by importance "
      "sampling with 500 samples, given the library of each cell (observed): it is no density of x, and compares "
      "with neither.",
      "NMI has the geometric mean of the entropies, as scikit-learn had when the paper was written. Imputation: a "
      "tenth of the non-zero entries of the test cells, each kept with probability 0.1; the authors' code drew once "
      "for all entries, and trained on corrupted cells.",
    ),
  },
)


def _cells(kinds: Sequence[str], seeds: int) -> dict[str, list[dict[str, Any]]]:
  given = {"zinb": {}, "nb": {"arg.likelihood": "nb"}, "zinb-iwae": {"arg.k": 5}}
  return {kind: [given[kind] | {"seed": seed} for seed in range(seeds)] for kind in kinds}


_CONFIG = "configs/scvi_simulated.py"
RUNS = {
  "table=1": {
    "quick": Budget(
      "2,000 cells drawn from the model, 60 genes, two batches, three seeds, 800 steps",
      minutes=15,
      caveat="Other cells: the numbers are not comparable with the published ones.",
      config=f"{_CONFIG}:quick,library=observed",
      cells=_cells(tuple(_KINDS), 3),
    ),
    "short": Budget(
      "STARmap, 3,704 cells, 158 genes, three batches, three seeds, 60 epochs",
      minutes=60,
      caveat="Other cells: the numbers are not comparable with the published ones.",
      config=f"{_CONFIG}:data=scrna/starmap,library=observed",
      cells=_cells(tuple(_KINDS), 3),
    ),
    "test": Budget(
      "40 steps on cells drawn from the model, two seeds: for tests",
      minutes=1,
      config=f"{_CONFIG}:test,library=observed",
      cells=_cells(tuple(_KINDS), 2),
    ),
  },
}


def _row(cell: str, found: dict[str, Any], runs: Sequence[str]) -> list[dict]:
  line = [tables.cell(_KINDS[cell])]
  for name, (_, digits) in METRICS.items():
    ours = tables.plus_minus(found[name]["mean"], found[name]["stderr"], digits=digits) if name in found else ""
    line.append(tables.cell(ours, runs))
  return line


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the finished runs in a folder: numbers, tables and sentences."""
  names = stages.run_names(RUNS[item][name])
  runs = {cell: found for cell, run_names in names.items() if (found := measured.read(folder, run_names))}
  cells = {cell: measured.of_seeds(found, METRICS) for cell, found in runs.items()}
  columns = ["", *(title for title, _ in METRICS.values())]
  made = [tables.table("± standard error over seeds", columns, [_row(c, f, names[c]) for c, f in cells.items()])]
  pairs, rows = {}, []
  for first, second in _PAIRS:
    if first not in cells or second not in cells:
      continue
    found = measured.pair(runs[first], runs[second], "log_px")
    if found is not None:
      label = f"{_KINDS[first]} − {_KINDS[second]}"
      pairs[label] = found._asdict()
      rows.append(tables.paired_row(label, found._asdict(), found.verdict))
  if rows:
    columns = ["first − second", "difference ± over cells", "by seed", "error over seeds", "first is"]
    made.append(tables.table("NLL given the library, nats, paired by test cell", columns, rows))
  return {"numbers": {"cells": cells, "pairs": pairs}, "tables": made, "figures": [], "sentences": []}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  show = lambda found, name: tables.plus_minus(found[name]["mean"], found[name]["stderr"], digits=METRICS[name][1])
  wanted = ("log_px", "cells_ari", "cells_nmi_geometric")
  texts = [
    f"{_KINDS[cell]}: {', '.join(f'{METRICS[n][0]} {show(found, n)}' for n in wanted if n in found)}"
    for cell, found in numbers["cells"].items()
  ]
  return {
    "system": "scVI: log p given the library, ARI, NMI",
    "data": "single cells, see protocol",
    "published": "CORTEX (other cells): ARI 0.744, NMI 0.778",
    "ours": "; ".join(texts),
  }
