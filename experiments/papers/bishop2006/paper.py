"""Bishop, "Pattern Recognition and Machine Learning" (Springer, 2006): EM and PCA in pictures.

https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/
  python -m dgm_jax reproduce bishop2006 --figure=9.8
  python -m dgm_jax reproduce bishop2006 --figure=12.5 --budget=quick

Figure 9.8: steps of EM for two normals on Old Faithful.  Figure 9.10: a mixture of Bernoullis on binary digits.  Figure
12.5: digits and their reconstructions by PCA.  See figures9.py and figure12_5.py.
"""

import functools
import pathlib
from typing import Any

from dgm_jax.experiments.harness import measured, stages
from dgm_jax.experiments.harness.paper import Budget, Paper
from dgm_jax.experiments.papers.bishop2006 import figure12_5 as reconstructions
from dgm_jax.experiments.papers.bishop2006 import figures9 as mixtures

_NO_NUMBERS = "The book has pictures and no numbers to compare with."
PAPER = Paper(
  authors="Bishop",
  title="Pattern Recognition and Machine Learning",
  venue="Springer 2006",
  url="https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/",
  items={
    "figure=9.8": "Steps of EM for a mixture of two normals on Old Faithful",
    "figure=9.10": "A mixture of Bernoullis on binary digits",
    "figure=12.5": "Digits and their reconstructions by (probabilistic) PCA, by its dimension M",
  },
  published={"figure=9.8": {}, "figure=9.10": {}, "figure=12.5": {}},
  notes={
    "figure=9.8": (
      _NO_NUMBERS,
      "All 272 rows, standardised; full covariances with a floor of 1e-6.",
      "The book's initial values were not read in the source; ours are means far from the data's two clusters, unit "
      "covariances and equal weights.",
    ),
    "figure=9.10": (
      _NO_NUMBERS,
      "Book: 600 images of the digits 2, 3 and 4, thresholded at 1/2, three components. Ours are the first 200 "
      "training images of each in mnist5k; the best of ten starts after 50 steps of EM, with 0.1 pseudo-counts.",
      "Components are matched to digits by the best assignment.",
    ),
    "figure=12.5": (
      _NO_NUMBERS,
      "Book: M = 1, 10, 50, 250 on digits of 28 x 28. Ours: grey levels in [0, 1], parameters in closed form.",
      "PPCA reconstructs E[x | E[z|x]], which is closer to the mean than the projection onto the principal subspace, "
      "PCA's reconstruction. The projection has the least squared error on the training images: the sum of the "
      "eigenvalues left out, per pixel.",
    ),
  },
)

_CONFIG = "configs/ppca_mnist.py"


def _steps(minutes: float) -> Budget:
  compute = functools.partial(
    mixtures.compute, name="old_faithful", make=mixtures.old_faithful, config={"steps": mixtures.STEPS}
  )
  return Budget(f"272 rows, {mixtures.STEPS} steps", minutes, caveat=_NO_NUMBERS, compute=compute)


def _digits(setting: mixtures.Digits, minutes: float) -> Budget:
  make = functools.partial(mixtures.digits, setting)
  compute = functools.partial(mixtures.compute, name="digits", make=make, config=setting._asdict())
  images = f"{setting.each} images each of {', '.join(map(str, setting.digits))} (mnist5k)"
  what = f"{images}, {setting.components} components, {setting.starts} starts of {setting.steps} steps"
  return Budget(what, minutes, caveat=_NO_NUMBERS, compute=compute)


def _reconstructions(what: str, minutes: float, config: str, dimensions: tuple[int, ...]) -> Budget:
  cells = {str(d): [{"arg.d": d, "seed": 0}] for d in dimensions}
  measure = functools.partial(measured.of_runs, measure=reconstructions.measure)
  return Budget(what, minutes, caveat=_NO_NUMBERS, config=config, cells=cells, measure=measure)


_ALL = (1, 10, 50, 250)
_FEW = mixtures.Digits((2, 4), 30, 2, 2, 20)
RUNS = {
  "figure=9.8": {"quick": _steps(0.2), "test": _steps(0.2)},
  "figure=9.10": {
    "quick": _digits(mixtures.Digits(), 0.5),
    "test": _digits(_FEW, 0.3),
  },
  "figure=12.5": {
    "quick": _reconstructions("mnist5k (4,000 training images), M = 1, 10, 50, 250", 2, f"{_CONFIG}:quick", _ALL),
    "short": _reconstructions("MNIST (60,000 training images), M = 1, 10, 50, 250", 5, _CONFIG, _ALL),
    "test": _reconstructions("mnist5k, M = 1, 5, 40 steps: for tests", 0.5, f"{_CONFIG}:test", (1, 5)),
  },
}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of what is computed or measured in a folder."""
  if item == "figure=12.5":
    return reconstructions.report(stages.run_names(RUNS[item][name]), folder)
  return (mixtures.steps_report if item == "figure=9.8" else mixtures.digits_report)(folder)


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  if "steps" in numbers:
    system, data = "mixture of two normals, steps of EM", "Old Faithful"
    ours = ", ".join(f"{step}: {value:.3f}" for step, value in numbers["steps"]["log_px"].items())
    ours = f"log p(x) per standardised row after EM steps {ours}"
  elif "digits" in numbers:
    n = numbers["digits"]
    system, data = f"mixture of {n['components']} Bernoullis", f"mnist5k, {n['images']} of {', '.join(n['digits'])}"
    ours = (
      f"{100 * n['agree']:.0f} % in their digit's component; "
      f"log p(x) {n['log_px']:.1f}, of one component {n['single']:.1f}"
    )
  else:
    system, data = "probabilistic PCA, reconstructions", "mnist5k"
    errors = ", ".join(f"{cell}: {n['error']:.4f}" for cell, n in numbers["reconstructions"].items())
    ours = f"squared error per pixel of test images by M: {errors}"
  return {"system": system, "data": data, "published": "pictures", "ours": ours.replace("-", "−")}
