"""The benchmark of imputation: masks by seed, errors by hand, and the test budget."""

import numpy as np
import pytest

from dgm_jax.applications.imputation import orderless
from dgm_jax.experiments.papers.imputation import masked, paper


@pytest.mark.parametrize("mechanism", ["mcar", "mar", "mnar"])
def test_masks_have_their_rates_and_follow_their_mechanism(mechanism):
  x = masked.load("diabetes").x
  found = np.stack([masked.hidden(x, mechanism, 0.3, seed) for seed in range(20)])
  again = masked.hidden(x, mechanism, 0.3, 3)
  np.testing.assert_array_equal(again, found[3])
  rates = found.mean((0, 1))
  if mechanism == "mar":
    always = [(~mask.any(0)).sum() for mask in found]
    assert set(always) == {round(0.3 * x.shape[1])}
    rates = [mask[:, mask.any(0)].mean() for mask in found]
  np.testing.assert_allclose(rates, 0.3, atol=0.03)
  if mechanism == "mnar":
    assert not (found & (x <= x.mean(0))).any()


def test_errors_of_the_mean_by_hand():
  table = masked.load("grapes")
  missing = masked.hidden(table.x, "mcar", 0.3, 0)
  found = masked.measure(table, "mean", missing, 0)
  seen = np.where(missing, np.nan, table.x)
  numbers = [((np.nanmean(seen[:, d]) - table.x[:, d]) / table.x[:, d].std())[missing[:, d]] for d in range(13)]
  assert found["mse"] == pytest.approx(np.square(np.concatenate(numbers)).mean())
  share = np.array([(seen[:, 13] == c).sum() for c in range(3)]) / (~np.isnan(seen[:, 13])).sum()
  truth = table.x[missing[:, 13], 13].astype(int)
  assert found["wrong"] == pytest.approx(np.mean(truth != share.argmax()))
  assert found["log_loss"] == pytest.approx(-np.log(share[truth]).mean())
  assert np.isnan(found["coverage"])


@pytest.mark.slow
def test_the_test_budget_is_computed_and_reported(tmp_path, monkeypatch):
  monkeypatch.setattr(orderless, "STEPS", 5)
  folder = tmp_path / "test"
  paper.RUNS["table=1"]["test"].compute(folder / "runs" / "computed")
  found = paper.report("table=1", "test", folder)
  cells = found["numbers"]["cells"]
  assert set(cells) == {f"grapes mcar 30%-{m}" for m in ("auto", "forest", "mean")}
  assert all(0 < c["mean"] < 3 for c in cells.values())
  assert len(found["tables"][-1]["rows"]) == 3
  assert "imputation" in paper.summary(found["numbers"])["system"]


def test_the_verdict_counts_settings_within_two_standard_errors():
  piece = lambda mse: {"mse": np.array(mse)}
  values = {
    "white mcar 30%": {"auto": piece([1.0, 1.1]), "forest": piece([1.2, 1.3])},
    "breast mcar 30%": {"auto": piece([1.0, 1.0]), "forest": piece([0.9, 0.9])},
    "red mcar 30%": {"auto": piece([9.0, 9.0]), "forest": piece([0.9, 0.9])},
  }
  text = paper._verdict(values)
  assert "in 1 of 2 settings" in text and "+11.1 % (breast" in text
