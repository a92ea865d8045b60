"""Samples against the number of evaluations of the network that a draw takes, of diffusion models and flows."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax

from dgm_jax.core import errors, figure_style, figures, options
from dgm_jax.evaluate.sample_features import choose
from dgm_jax.evaluate.sample_features.measure import Measure
from dgm_jax.evaluate.sample_features.measure import Options as MeasureOptions

METRICS = ("frechet", "kernel", "manifold", "class_score")
NEEDS = ("draw_evaluations", "generate")  # of the model
RUNS = ("features",)
_NUMBERS = ("frechet", "kernel", "precision", "recall", "density", "coverage", "class_score")


def check(
  *,
  counts: Sequence[int] = (4, 8, 20, 50, 100),
  metrics: Sequence[str] = ("frechet", "kernel"),
  num_samples: int = 5000,
  seed: int = 0,
  features: str = "pixels",
  against: str = "test",
  batch_size: int = 500,
) -> None:
  """Raises UserError for an invalid option."""
  what = "evaluate.function_evaluations"
  errors.require(
    len(counts) >= 1 and all(isinstance(count, int) and count >= 1 for count in counts),
    f"{what}.counts = {tuple(counts)}; it takes numbers of evaluations, 1 or more.",
  )
  for name in options.words(metrics):
    errors.choose(f"metric {what}.metrics", name, METRICS)
  errors.require(num_samples >= 2, f"{what}.num_samples = {num_samples}; it must be 2 or more.")
  errors.require(batch_size >= 1, f"{what}.batch_size = {batch_size}; it must be 1 or more.")
  errors.require(0 <= seed < 2**32, f"{what}.seed = {seed}; it must be in 0 .. 2^32 - 1.")
  errors.choose(f"value of {what}.against", against, ("test", "valid", "train"))
  choose.check("features", features)


def with_evaluations(model: Any, count: int) -> Any:
  """The model whose draws take `count` evaluations of the network, or the next smaller number that its steps allow.

  Raises:
    UserError: a step of the model's solver takes more.
  """
  each = model.clone(draw_steps=1).draw_evaluations
  errors.require(
    count >= each, f"{count} evaluations do not make a step of the draws' solver, which takes {each}: choose more."
  )
  return model.clone(draw_steps=count // each)


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  counts: Sequence[int] = (4, 8, 20, 50, 100),
  metrics: Sequence[str] = ("frechet", "kernel"),
  num_samples: int = 5000,
  seed: int = 0,
  features: str = "pixels",
  against: str = "test",
  batch_size: int = 500,
) -> dict[str, Any]:
  """Metrics of samples by each number of evaluations of the network, from the same noise.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the test set.
    counts: numbers of evaluations of the network; see `with_evaluations`.
    metrics: of METRICS.
    num_samples, seed, features, against, batch_size: as of evaluate.samples.

  Returns:
    {evaluations_N_NAME: number}, with standard errors where they are known; evaluations_features, _num, _against say
    what was compared.  "figures" has the curves, and samples_by_evaluations, a row of eight samples for each number.

  Raises:
    UserError: see `with_evaluations`.
  """
  given = MeasureOptions(
    metrics=metrics, num_samples=num_samples, seed=seed, features=features, against=against, batch_size=batch_size,
    floor=False,
  )  # fmt: skip
  rows, found, about, shown = {}, {}, {}, []
  for count in sorted(set(counts)):
    model = with_evaluations(experiment.model, count)

    def sample(state, key, n, model=model):
      return model.bind({"params": state.params, **state.variables}).generate(key, n)

    system = experiment.system._replace(sample=sample)
    changed = experiment._replace(model=model, system=system)
    numbers = Measure(changed, **given._asdict())(state, key, arrays)
    rows[count] = {n: numbers.get(f"samples_{n}") for n in _NUMBERS if numbers.get(f"samples_{n}") is not None}
    rows[count] |= {
      f"{n}_stderr": numbers[f"samples_{n}_stderr"] for n in rows[count] if f"samples_{n}_stderr" in numbers
    }
    found |= {f"evaluations_{count}_{name}": value for name, value in rows[count].items()}
    about = {
      f"evaluations_{n}": numbers[f"samples_{n}"] for n in ("features", "num", "against") if f"samples_{n}" in numbers
    }
    shown.append(jax.device_get(jax.jit(sample, static_argnums=2)(state, jax.random.key(seed), 8)))
  drawn = {"evaluations": partial(_draw, rows=rows)}
  if len(experiment.model.data_shape) == 3:
    drawn["samples_by_evaluations"] = partial(_pictures, counts=sorted(set(counts)), rows=shown)
  return found | about | {"figures": drawn}


def _draw(path: Any, rows: dict[int, dict[str, float]]) -> None:
  """Each number against the evaluations, with its standard error."""
  names = [name for name in next(iter(rows.values())) if not name.endswith("_stderr")]
  picture = figures.new(figure_style.PAGE, 2.0 * -(-len(names) // 3))
  for i, name in enumerate(names):
    axis = picture.add_subplot(
      -(-len(names) // 3), 3, i + 1, title=name, xlabel="evaluations of the network", xscale="log"
    )
    error = [rows[count].get(f"{name}_stderr") or 0.0 for count in rows]
    axis.errorbar(list(rows), [rows[count][name] for count in rows], yerr=error, marker="o", markersize=3)
  figures.save(path, picture)


def _pictures(path: Any, counts: Sequence[int], rows: Sequence[Any]) -> None:
  """A row of samples for each number of evaluations."""
  picture = figures.new(figure_style.PAGE * 0.7, 0.6 * len(rows))
  for i, (count, x) in enumerate(zip(counts, rows, strict=True)):
    low, high = float(x.min()), float(x.max())
    for j, image in enumerate(x):
      axis = picture.add_subplot(len(rows), len(x), i * len(x) + j + 1, xticks=[], yticks=[])
      shade = (image - low) / max(high - low, 1e-6)
      axis.imshow(shade[..., 0] if shade.shape[-1] == 1 else shade, cmap="gray_r", vmin=0, vmax=1)
      if j == 0:
        axis.set_ylabel(str(count), fontsize=7)
  figures.save(path, picture)
