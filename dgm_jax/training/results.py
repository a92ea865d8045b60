"""The reported results of a trained state, and what is needed to compare them."""

import math
import pathlib
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from dgm_jax.core import errors, figures, files, options
from dgm_jax.evaluate import chosen, degenerate, training_statistics
from dgm_jax.training import given_runs
from dgm_jax.training.comparable import about
from dgm_jax.training.experiment import Experiment, evaluation_key
from dgm_jax.training.workdir import own_files


def evaluate_finally(
  config: ConfigDict,
  experiment: Experiment,
  state: Any,
  workdir: pathlib.Path,
  merge: bool = False,
  values_file: str = "values.npz",
  fresh: bool = False,
  out: pathlib.Path | None = None,
) -> dict[str, Any]:
  """The results to report, on the test set, with what is needed to compare them (see `about`).

  Values of single examples and latent units are written to out/values_file under "test/NAME", figures to out/figures;
  without `out`, to the workdir.  With `merge`, other names in the workdir's file are kept.  With `fresh`, evaluations
  of the user's own are used as they are now, not as the run's copies of them.  "warnings" has sentences about a
  degenerate likelihood, if there are any.  With evaluate.exact_likelihood.statistics = "train" all evaluations are of
  the model with the training set's statistics, not only the likelihood.

  Raises:
    DivergenceError: a result is NaN or Inf.
  """
  key = evaluation_key()
  results, values, out = {}, {}, out or workdir
  if fresh:
    own_files.report_changes(workdir, config.to_dict(), evaluations=True)
  state = training_statistics.as_evaluated(experiment, state, key, config.evaluate.get("exact_likelihood", {}))
  for name, given in own_files.located(config, workdir, fresh=fresh).evaluate.items():
    evaluation = chosen.find(name, given).handed(given_runs.load)
    if name == "exact_likelihood":  # the state has these statistics
      evaluation = evaluation._replace(options={k: v for k, v in evaluation.options.items() if k != "statistics"})
    found = evaluation.run(experiment, state, key, experiment.splits.test, **evaluation.options)
    values |= {f"test/{k}": v for k, v in found.pop("values", {}).items()}
    with figures.writing(options.words(config.figure_formats)):
      for figure, draw in found.pop("figures", {}).items():
        draw(out / "figures" / f"{figure}.png")
    results |= {f"test/{k}": v for k, v in found.items()}
  bad = [k for k, v in results.items() if isinstance(v, float) and not math.isfinite(v)]
  if bad:
    step = int(state.step)
    raise errors.DivergenceError(f"The evaluation gave {bad[0]} = {results[bad[0]]} at step {step}.", step)
  path = workdir / values_file
  if values:
    files.save_arrays(out / values_file, **((files.load_arrays(path) if merge and path.exists() else {}) | values))
  found = _degenerate(experiment, state)
  for sentence in found:
    print(f"Warning: {sentence}", flush=True)
  warned = {"warnings": found} if found else {}
  return results | warned | {"step": int(state.step)} | about(config, experiment)


def _degenerate(experiment: Experiment, state: Any) -> list[str]:
  """degenerate.warnings, whose failure on a model of an unforeseen kind must not lose the results of a run."""
  try:
    return degenerate.warnings(experiment, state)
  except Exception as e:
    logging.warning("Whether the likelihood is degenerate could not be judged (%s: %s).", type(e).__name__, e)
    return []
