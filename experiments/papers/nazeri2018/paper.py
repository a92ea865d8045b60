"""Nazeri, Ng & Ebrahimi, "Image Colorization Using Generative Adversarial Networks" (AMDO 2018).

https://arxiv.org/abs/1803.05400
  python -m dgm_jax reproduce nazeri2018 --table=1 --budget=quick --manual_dir=FOLDER

Table 1: accuracy at 2 and 5 % and MAE on CIFAR-10, beside a grey picture and other answers that know nothing, and the
curve by which the game of NoGAN is stopped.
"""

import functools
import pathlib
from typing import Any

from dgm_jax.experiments.harness import measured
from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.experiments.shared import colours

_COLUMNS = ("within_2", "within_5", "mae", "psnr", "auc", "colourfulness", "frechet")
_LABELS = {  # the stage "discriminator" leaves the colours of "unet" as they are
  "unet": "U-Net, L1",
  "nogan": "both, then (NoGAN), at the checkpoint of the least Frechet distance",
  "paper-unet": "U-Net with the paper's settings",
  "paper-gan": "GAN with the paper's settings",
}
_unverified = functools.partial(Value, verified=False)
_PUBLISHED = {"paper-unet": (13.7, 37.2, 7.9), "paper-gan": (24.1, 65.5, 5.1)}

PAPER = Paper(
  authors="Nazeri, Ng & Ebrahimi",
  title="Image Colorization Using Generative Adversarial Networks",
  venue="AMDO 2018",
  url="https://arxiv.org/abs/1803.05400",
  items={"table=1": "Colours of CIFAR-10's grey photographs by a U-Net and by a GAN, beside a grey picture"},
  published={
    "table=1": {
      f"{cell} {name}": _unverified(value)
      for cell, values in _PUBLISHED.items()
      for name, value in zip(("within_2", "within_5", "mae"), values, strict=True)
    }
  },
  notes={
    "table=1": (
      "Published: CIFAR-10, 50,000 and 10,000 images; a pixel is right within 2 or 5 % if |L| is within that level and "
      "|a| and |b| within 2.2 times it, all three. The numbers are not verified.",
      "A grey picture already has 25.7 and 55.0 % and an MAE of 5.0 % on the first 1,000 test images: more than the "
      "published U-Net. No number of colours stands without it, nor without colourfulness.",
      "Ours: batch normalisation, where there is one, by moving averages when colours are found, so that no photograph "
      "changes another's; the published code takes the moments of the batch. Accuracies before colours are "
      "clipped to sRGB, after rounding; MAE of RGB after it. PSNR is the mean over images, which "
      "photographs that are exactly grey inflate.",
      "NoGAN (DeOldify): the generator alone, the discriminator alone, then both for a short while. The checkpoint is "
      "chosen by the Frechet distance of random features of held-out images, among those whose MAE is below 0.9 of "
      "that of another image's colours; all numbers are of that checkpoint.",
    ),
  },
)

_CONFIG = "configs/colouriser.py"
_measure = functools.partial(measured.of_runs, measure=colours.measure)
_CAVEAT = "Fewer images, smaller networks and another recipe: its numbers are not comparable with the published ones."


def _nogan(seeds: int) -> tuple[dict[str, Any], dict[str, Any]]:
  """(the first stage, the two that start from others)."""
  stage = lambda name, start: [{"arg.stage": name, "init_from": start, "seed": seed} for seed in range(seeds)]
  first = {"unet": [{"arg.stage": "generator", "seed": seed} for seed in range(seeds)]}
  return first, {"discriminator": stage("discriminator", "unet"), "nogan": stage("both", "discriminator")}


def _budget(what: str, minutes: float, config: str, seeds: int) -> Budget:
  first, after = _nogan(seeds)
  return Budget(what, minutes=minutes, caveat=_CAVEAT, config=config, cells=first, after=after, measure=_measure)


RUNS = {
  "table=1": {
    "quick": _budget(
      "cifar10/small (3,500 images), a quarter of the channels, 8 epochs, NoGAN, one seed", 25, _CONFIG, 1
    ),
    "short": _budget(
      "cifar10/small (3,500 images), a quarter of the channels, 8 epochs, NoGAN, three seeds", 75, _CONFIG, 3
    ),
    "paper": Budget(
      "cifar10/full, full width, batch normalisation, 200 epochs of batch 128, U-Net and GAN",
      minutes=100 * 24 * 60,
      full=True,
      config=f"{_CONFIG}:net=nazeri2018,data=cifar10/full",
      cells={
        "paper-unet": [{"arg.stage": "generator", "seed": 0}],
        "paper-gan": [{"arg.stage": "both", "seed": 0}],
      },
      measure=_measure,
    ),
    "test": _budget("noise, 40 steps of tiny networks, two seeds: for tests", 1, f"{_CONFIG}:test", 2),
  },
}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the runs that are finished and measured."""
  return colours.report(RUNS[item][name], PAPER.published[item], _LABELS, _COLUMNS, folder, game="nogan")


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  return {
    "system": "colours for grey photographs: % within 2 and 5 %, MAE in %, colourfulness",
    "data": "CIFAR-10",
    "published": "U-Net 13.7, 37.2, 7.9; GAN 24.1, 65.5, 5.1 (unverified)",
    "ours": colours.ours(numbers, _LABELS, ("within_2", "within_5", "mae", "colourfulness")),
  }
