"""One table from PixelCNN to diffusion: kinds, two numbers of a diffusion model, errors; samples by evaluations."""

import math

import numpy as np
import pytest

from dgm_jax.core import files
from dgm_jax.experiments.papers.lipman2023 import evaluations
from dgm_jax.experiments.papers.lipman2023 import paper as lipman2023
from helpers import made_runs, measured_runs

BIT = 784 * math.log(2)
_ESTIMATE = {
  "test/likelihood_kind": "estimate", "test/likelihood_examples": 1000, "test/solver": "rk4, 50 steps",
  "test/solver_error": 0.5, "test/log_px_error": 2.0, "test/log_px_halved": -1101.0,
}  # fmt: skip


@pytest.fixture
def found(tmp_path):
  folder = made_runs.make(tmp_path, "lipman2023", "table=digits", {"pixelcnn": [[-1.0] * 4], "vdm": [[-1.0] * 4]})
  more = {
    "pixelcnn": {"test/nll": 1.0 * BIT, "test/log_px_stderr": 3.0, "test/likelihood_kind": "exact"},
    "vdm": _ESTIMATE
    | {"test/nll": 2.0 * BIT, "test/log_px_stderr": 9.0, "test/elbo": -1.5 * BIT, "test/elbo_stderr": 4.0},
  }
  for cell, _, name in measured_runs.of(lipman2023, "table=digits"):
    if cell in more:
      path = folder / "runs" / name / "results.json"
      kept = {k: v for k, v in files.read_json(path).items() if not k.startswith("test/")}
      files.write_json(path, kept | more[cell])
      measured_runs.measure(folder, name, parameters=np.asarray(12345))
  return lipman2023.report("table=digits", "test", folder)


def test_every_number_has_its_kind_and_a_diffusion_model_has_two(found):
  [table] = found["tables"]
  rows = [[cell["text"] for cell in row] for row in table["rows"]]
  assert [row[0] for row in rows] == [
    "Gated PixelCNN, discretised logistics", "flow matching, U-Net", "variational diffusion, U-Net",
    "variational diffusion, U-Net: reverse process",
  ]  # fmt: skip
  assert rows[0][2].startswith("1.000 ± ") and rows[0][4] == "exact" and rows[0][5] == "12,345"
  assert rows[1][2] == "not finished"
  assert rows[2][2].startswith("2.000 ± ")
  assert rows[2][4] == "estimate of a bound (rk4, 50 steps, solver ± 0.5 a digit, trace ± 2.00 a digit)"
  assert rows[3][2].startswith("1.500 ± ") and rows[3][4] == "bound"
  assert "Estimates are of the first 1,000 test digits" in table["note"]
  assert len({len(row) for row in rows}) == 1 == len({len(table["columns"]), len(rows[0])})


def test_no_order_of_the_two_numbers_is_asserted(found):
  [said] = found["sentences"]
  assert "another density" in said and "better" not in said and "worse" not in said
  assert found["numbers"]["cells"]["pixelcnn"]["hours"] == pytest.approx(2 / 3600)
  assert "MAF 1.89" in lipman2023.summary(found["numbers"])["published"]


def test_distances_by_evaluations_and_what_they_show(tmp_path):
  errors = {"flow_matching": 0.01, "vdm": 0.001}
  for cell, _, name in measured_runs.of(lipman2023, "figure=evaluations"):
    distances = np.array([[[0.5 / count + 0.1, errors[cell]], [0.1, 0.01]] for count in evaluations.COUNTS])
    shown = np.random.default_rng(0).random((len(evaluations.COUNTS), 8, 6, 6, 1))
    gamma = {"gamma": np.linspace(-13, 5, 101)} if cell == "vdm" else {}
    measured_runs.measure(tmp_path, name, distances=distances, shown=shown, **gamma)
  found = lipman2023.report("figure=evaluations", "test", tmp_path)
  assert [f["title"] for f in found["figures"]] == [
    "Frechet distance by evaluations", "Samples by evaluations, from the same noise", "Noise schedule",
  ]  # fmt: skip
  assert (tmp_path / "evaluations.png").stat().st_size > 5000
  assert "20 evaluations are as good as 100" in found["sentences"][0]
  assert "20 evaluations are worse than 100: Frechet distance +0.02" in found["sentences"][1]
  assert "0.105 by 100" in lipman2023.summary(found["numbers"])["ours"]


def test_all_models_of_the_config_are_in_a_table():
  of = {cell for item in ("table=digits", "table=binary") for cell in lipman2023.RUNS[item]["short"].cells}
  assert of == set(lipman2023.densities_mnist._MODELS) == set(lipman2023._LABELS)
