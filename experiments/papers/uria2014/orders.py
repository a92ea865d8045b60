"""Orderless NADE on static MNIST: one net for all orders of the pixels, and ensembles over orders.

A net is trained once and scored in K random orders; p(x) of an ensemble is the mean of the probabilities in the first
2, 4, ... of them, and the row of a single order is the mean NLL over all K.
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from dgm_jax.core.evaluation import make_evaluate_examples
from dgm_jax.evaluate import normalisation
from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget, Value
from dgm_jax.models.autoregressive.orders import places
from dgm_jax.sweeps import axes
from dgm_jax.training.experiment import evaluation_key

TITLE = "Test NLL of orderless NADE and its ensembles on static MNIST"
NOTES = (
  "Published: layers of 500 units, masks as inputs, 200 times 1,000 updates of batches of 1,000 at 1e-3, layer by "
  "layer at first.",
  "Ours: Adam, all layers at once. A net is scored in several random orders: a single order is the mean NLL over them, "
  "an ensemble the mean of their probabilities.",
  "An order takes 784 passes of every test image: budgets below the paper's score the first test images only.",
)
_CONFIG = "configs/orderless_mnist.py"
_HIDDEN = {"1layer": (500,), "2layers": (500, 500)}
_PUBLISHED = {
  "1layer": {1: 92.17, 2: 90.69, 128: 87.71},
  "2layers": {1: 89.17, 2: 87.96, 128: 85.10},
}
PUBLISHED = {f"{net}, {k}": Value(nll) for net, values in _PUBLISHED.items() for k, nll in values.items()}


def scores(run: Any, num_orders: int, num_images: int) -> dict[str, np.ndarray]:
  """log_px [N, K], of the first test images in each of K orders, and the sum of p, for a loaded run.

  The sum is over the states of the 16 pixels that come first in the order of the run itself.
  """
  experiment, dim = run.experiment, run.experiment.model.dim
  model = experiment.model.clone(orders=num_orders)
  order_of = places("random", dim, num_orders, jax.random.key(model.order_seed))

  def eval_step(state, key, batch):
    del key
    bound = model.bind({"params": state.params, "degrees": {"input": order_of}})
    in_order = lambda which: jnp.sum(bound._of_order(batch, which), 1)
    return {"log_px": jax.lax.map(in_order, jnp.arange(num_orders)).T}

  test = {name: a[:num_images] for name, a in experiment.splits.test.items()}
  key = evaluation_key()
  found = make_evaluate_examples(eval_step, experiment.transforms.evaluate, 100)(run.state, key, test)
  sums = normalisation.evaluate(experiment, run.state, key, test)
  return found | {name: np.asarray(value) for name, value in sums.items()}


def ensembles(log_px: np.ndarray) -> dict[int, np.ndarray]:
  """{k: NLL [N]} of ensembles of the first k = 2, 4, ... of K orders, and the mean over single ones as 1."""
  sizes = [2**i for i in range(1, 20) if 2**i <= log_px.shape[1]]
  wide = log_px.astype(np.float64)
  found = {k: np.log(k) - scipy.special.logsumexp(wide[:, :k], 1) for k in sizes}
  return {1: -wide.mean(1)} | found


def _cells(nets: Sequence[str], seeds: int) -> dict[str, list[axes.Overrides]]:
  return {net: [{"model.args.hidden": _HIDDEN[net], "seed": seed} for seed in range(seeds)] for net in nets}


def _budget(what: str, minutes: float, config: str, cells: dict, orders: int, images: int, **options: Any) -> Budget:
  """`orders` in which a net is scored, on the first `images` of the test set."""
  score = functools.partial(scores, num_orders=orders, num_images=images)
  measure = functools.partial(measured.of_runs, measure=score)
  return Budget(what, minutes, config=config, cells=cells, measure=measure, **options)


_STATIC = "static MNIST (50,000, 10,000, 10,000)"
BUDGETS = {
  "quick": _budget(
    "mnist5k binarised once (4,000 training images), one and two layers, one seed, 4,000 steps, 8 orders of 500 images",
    15,
    f"{_CONFIG}:quick",
    _cells(("1layer", "2layers"), 1),
    8,
    500,
  ),
  "short": _budget(
    f"{_STATIC}, two layers, one seed, 40,000 updates of batches of 1,000, 16 orders of 1,000 test images",
    600,
    _CONFIG,
    _cells(("2layers",), 1),
    16,
    1000,
    common={"num_steps": 40_000, "eval_every": 40_000, "figures_every": 40_000, "checkpoint_every": 2000},
    same_data=True,
  ),
  "paper": _budget(
    f"{_STATIC}, one and two layers, one seed, 200,000 updates of batches of 1,000, 128 orders of all test images",
    8 * 1440,
    _CONFIG,
    _cells(("1layer", "2layers"), 1),
    128,
    10_000,
    full=True,
  ),
  "test": _budget(
    "mnist5k, 40 steps of a small net, 2 orders of 20 images: for tests",
    2,
    f"{_CONFIG}:test",
    _cells(("1layer",), 1),
    2,
    20,
  ),
}


def _label(cell: str) -> str:
  net, k = cell.split(", ")
  return f"{net.replace('layer', ' layer')}, {'single orders' if k == '1' else f'{k} orders'}"


def report(name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the scored runs in a folder: NLL by net and number of orders."""
  planned, cells, rows, lines = BUDGETS[name], {}, [], []
  for net, names in stages.run_names(planned).items():
    arrays = measured.arrays(folder, names)
    of = [ensembles(a["log_px"]) for a in arrays]
    sums = [float(a["normalisation"]) for a in arrays if "normalisation" in a]
    for k in of[0] if of else ():
      nll = measured.mean([float(seed[k].mean()) for seed in of])
      images = np.stack([seed[k] for seed in of]).mean(0)
      error = float(images.std(ddof=1) / len(images) ** 0.5)
      cells[f"{net}, {k}"] = {"nll": nll.mean, "stderr_seeds": nll.stderr, "stderr_images": error, "kind": "exact"}
      cells[f"{net}, {k}"] |= {"by_seed": dict(enumerate(nll.values)), "images": len(images), "runs": names}
      cells[f"{net}, {k}"] |= {"normalisation": sums} if k == 1 and sums else {}
    points = [(k, cells[f"{net}, {k}"]["nll"]) for k in (of[0] if of else ())]
    lines += [tables.series(net.replace("layer", " layer"), points, names)] if of else []
  for cell, n in cells.items():
    value = PUBLISHED.get(cell)
    texts = [tables.plus_minus(n["nll"], n["stderr_seeds"]), f"± {n['stderr_images']:.2f}", f"{n['images']:,}"]
    texts.append(f"{n['normalisation'][0]:.6f}" if "normalisation" in n else "")
    texts.append("" if value is None else tables.difference(n["nll"] - value.value, n["stderr_seeds"], planned.full))
    beside = tables.published("none" if value is None else f"{value.value:g}")
    rows.append([tables.cell(_label(cell)), beside, *(tables.cell(text, n["runs"]) for text in texts)])
  columns = ["", "published NLL", "ours ± over seeds", "over images", "test images", "sum of p", "ours − published"]
  note = (
    "Nats; log p(x) of an order, and of an ensemble of orders, is exact. The sum of p is over the 65,536 states of "
  )
  made = [tables.table("Test NLL", columns, rows, f"{note}the 16 pixels that come first in one order.")]
  figure = tables.figure("Test NLL by the number of orders", "orders", "NLL, nats", lines, log="x")
  sentences = []
  return {"numbers": {"cells": cells}, "tables": made, "figures": [figure] if lines else [], "sentences": sentences}


def summary(numbers: Mapping[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  cells = numbers["cells"]
  return {
    "system": "orderless NADE, layers of 500, and ensembles over orders",
    "data": "MNIST binarised once, see protocol",
    "published": ", ".join(f"{_label(c)} {PUBLISHED[c].value:g}" for c in cells if c in PUBLISHED),
    "ours": ", ".join(f"{_label(c)} {tables.plus_minus(n['nll'], n['stderr_seeds'])}" for c, n in cells.items()),
  }
