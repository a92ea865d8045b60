"""Tables 2 and 3 of lin2018: modes of stacked MNIST that GANs and PacGANs reach."""

import functools
import pathlib
from typing import Any

from dgm_jax.experiments.harness import measured
from dgm_jax.experiments.harness.paper import Budget, Value
from dgm_jax.experiments.shared import sample_scores
from dgm_jax.experiments.shared.sample_scores import Column

COLUMNS = (
  Column("modes", "modes", "test/samples_modes", 1),
  Column("reverse_kl", "KL", "test/samples_modes_reverse_kl", 2),
)
_TWO = {  # m: (modes, error), (KL, error)
  1: ((78.9, 6.46), (4.50, 0.127)),
  2: ((1000.0, 0.0), (0.06, None)),
  3: ((1000.0, 0.0), (0.06, None)),
  4: ((1000.0, 0.0), (0.07, None)),
}
_THREE = {  # share, m: likewise
  (4, 1): ((78.5, 17.56), (5.21, 0.19)),
  (4, 2): ((484.5, 32.99), (2.61, 0.22)),
  (4, 3): ((601.3, 32.18), (2.00, 0.17)),
  (4, 4): ((667.4, 29.00), (1.81, 0.15)),
  (2, 1): ((487.7, 34.59), (2.24, 0.15)),
  (2, 2): ((840.7, 15.92), (1.00, 0.05)),
  (2, 3): ((866.6, 12.10), (0.90, 0.04)),
  (2, 4): ((820.2, 25.50), (1.15, 0.14)),
}
_name = lambda m: "GAN" if m == 1 else f"PacGAN{m}"
LABELS = {f"two-{m}": f"DCGAN, {_name(m)}" for m in _TWO}
LABELS |= {f"{share}-{m}": f"D = 1/{share} G, {_name(m)}" for share, m in _THREE}


def _values(cell: str, row: tuple) -> dict[str, Value]:
  return {f"{cell} {c.name}": Value(v, stderr=e) for c, (v, e) in zip(COLUMNS, row, strict=True)}


PUBLISHED = {
  "table=2": {k: v for m, row in _TWO.items() for k, v in _values(f"two-{m}", row).items()},
  "table=3": {k: v for (share, m), row in _THREE.items() for k, v in _values(f"{share}-{m}", row).items()},
}
ITEMS = {
  "table=2": "Modes of stacked MNIST that a DCGAN reaches with 1 to 4 samples judged at once",
  "table=3": "The same for small networks, the discriminator a quarter or half as wide as the generator",
}
NOTES = {
  "table=2": (
    "Published: ten trials; the DCGAN of VEEGAN's experiment, 5 x 5 kernels, 64 to 512 channels, Adam 2e-4 (0.5), "
    "batch 64, 128,000 images drawn beforehand, 100,000 steps, z ~ U(-1, 1)^100, two updates of the generator for "
    "each of the discriminator; 26,000 samples. Ours: the second update has fresh z and images are of the training "
    "digits only. KL is that of the samples' numbers against the uniform law on 1,000, as published.",
  ),
  "table=3": (
    "Published: 50 trials; networks of Metz et al. (2017) with three transposed convolutions of 3 x 3, Adam 1e-4 and "
    "2e-4 (0.5, 0.99), batch 128, 500,000 steps, digits stacked afresh at every step; 25,600 samples, digits read by a "
    "classifier. Ours: triples drawn afresh, too, of the training digits; digits read by the classifier of the "
    "features `mnist`; standing statistics of batch normalisation; no average of the generator. KL is that of the "
    "samples' numbers against the uniform law on 1,000, as published.",
  ),
}
_CONFIG = "configs/dcgan_mnist.py:data=stacked_mnist"
_SHORTER = "A shorter recipe: its numbers are not comparable with the published ones."
_measure = functools.partial(measured.of_runs, measure=functools.partial(sample_scores.measure, columns=COLUMNS))


def _small(shares: tuple[int, ...], packs: tuple[int, ...], seeds: int) -> dict[str, list[dict[str, Any]]]:
  return {
    f"{share}-{m}": [{"arg.share": share, "arg.pack": m, "seed": seed} for seed in range(seeds)]
    for share in shares
    for m in packs
  }


def _large(packs: tuple[int, ...], seeds: int) -> dict[str, list[dict[str, Any]]]:
  return {f"two-{m}": [{"arg.pack": m, "seed": seed} for seed in range(seeds)] for m in packs}


_steps = lambda n: {"num_steps": n, "eval_every": n // 4, "checkpoint_every": n // 20, "figures_every": n // 4}
RUNS = {
  "table=2": {
    "paper": Budget(
      "one to four samples at once, 100,000 steps, ten seeds; a GPU is advised",
      minutes=40 * 19 * 60,
      full=True,
      config=f"{_CONFIG},net=srivastava2017",
      cells=_large((1, 2, 3, 4), 10),
      measure=_measure,
    ),
    "test": Budget(
      "500 images, 40 updates of small networks, two seeds: for tests",
      minutes=1,
      config=f"{_CONFIG},net=srivastava2017,test",
      cells=_large((1, 2), 2),
      measure=_measure,
    ),
  },
  "table=3": {
    "quick": Budget(
      "D = 1/4 G, one and two samples at once, 20,000 steps, one seed",
      minutes=25,
      caveat=_SHORTER,
      config=f"{_CONFIG},net=metz2017",
      common=_steps(20_000),
      cells=_small((4,), (1, 2), 1),
      measure=_measure,
    ),
    "short": Budget(
      "D = 1/4 G, one and two samples at once, 100,000 steps, three seeds",
      minutes=360,
      caveat=_SHORTER,
      config=f"{_CONFIG},net=metz2017",
      common=_steps(100_000),
      cells=_small((4,), (1, 2), 3),
      measure=_measure,
    ),
    "paper": Budget(
      "both widths, one to four samples at once, 500,000 steps, 50 seeds",
      minutes=400 * 4 * 60,
      full=True,
      config=f"{_CONFIG},net=metz2017",
      cells=_small((4, 2), (1, 2, 3, 4), 50),
      measure=_measure,
    ),
    "test": Budget(
      "500 images, 40 updates of small networks, two seeds: for tests",
      minutes=1,
      config=f"{_CONFIG},net=metz2017,test",
      cells=_small((4,), (1, 2), 2),
      measure=_measure,
    ),
  },
}


def _sentences(cells: dict[str, Any]) -> list[str]:
  found = []
  for share in (4, 2):
    if all(c.name in cells.get(f"{share}-{m}", {}) for c in COLUMNS for m in (1, 2)):
      one, two = cells[f"{share}-1"], cells[f"{share}-2"]
      more = two["modes"]["mean"] > one["modes"]["mean"]
      even = two["reverse_kl"]["mean"] < one["reverse_kl"]["mean"]
      found.append(
        f"With D = 1/{share} G PacGAN2 reaches {'more' if more else 'no more'} modes than the GAN, and its mean KL is "
        f"{'lower' if even else 'not lower'}."
      )
  return found


def report(item: str, budget: Budget, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the finished runs in a folder."""
  found = sample_scores.report(budget, COLUMNS, LABELS, PUBLISHED[item], folder, _sentences)
  return found | {"numbers": found["numbers"] | {"item": item}}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  row = sample_scores.row_of_summary(numbers, COLUMNS, LABELS, PUBLISHED[numbers["item"]])
  return {"system": "GANs: modes and KL, packing", "data": "stacked MNIST"} | row
