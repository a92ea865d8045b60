"""Comparisons of runs: planted differences are found, runs that cannot be compared raise an error."""

import json

import numpy as np
import pytest
import scipy.stats

from dgm_jax.core import errors, figure_style
from dgm_jax.evaluate import compare
from helpers import drawn_text

pytestmark = pytest.mark.smoke

ABOUT = {
  "data": "toy",
  "data_digest": "abc",
  "transforms": ["scale"],
  "split_sizes": {"train": 9, "test": 200},
  "test/likelihood_samples": 50,
}
N = 200
EASE = 20 * np.random.default_rng(0).normal(size=N)  # some examples are far likelier than others


def plant(folder, shift, seed=0, name="results", about=None, **more):
  """Writes a run with log_px = EASE + shift + noise of 0.1."""
  folder.mkdir()
  (folder / f"{name}.json").write_text(json.dumps(ABOUT | (about or {})))
  log_px = EASE + shift + 0.1 * np.random.default_rng(seed).normal(size=N)
  np.savez(folder / "values.npz", **{"test/log_px": log_px, "test/units/kl": np.ones(3)}, **more)
  return str(folder)


def test_a_planted_difference_is_found_and_pairing_makes_it_sharp(tmp_path):
  runs = [compare.read(plant(tmp_path / "a", -90, 1)), compare.read(plant(tmp_path / "b", -89.9, 2, "evaluation"))]
  (found,) = compare.compare(runs[:1], runs[1:])
  a, b = (r.values["log_px"] for r in runs)
  t = scipy.stats.ttest_rel(b, a)
  assert found.difference / found.stderr == pytest.approx(t.statistic)
  assert abs(found.difference - 0.1) < 5 * found.stderr
  assert found.stderr == pytest.approx(0.1 * np.sqrt(2 / N), rel=0.2)  # unpaired: 20 sqrt(2 / N)
  assert (found.name, found.num_examples, found.first_spread) == ("log_px", N, None)


def test_seeds_are_averaged_and_their_spread_is_reported(tmp_path, capsys):
  shifts = {"a": (-90.0, -91.0, -92.0), "b": (-80.0, -82.0)}
  paths = {k: [plant(tmp_path / f"{k}{i}", s, i) for i, s in enumerate(v)] for k, v in shifts.items()}
  groups = [[compare.read(p) for p in paths[k]] for k in "ab"]
  (found,) = compare.compare(*groups)
  assert found.first == pytest.approx(EASE.mean() - 91, abs=0.05)
  assert found.difference == pytest.approx(10, abs=0.05)
  assert found.first_spread == pytest.approx(1, abs=0.05)
  assert found.second_spread == pytest.approx(np.sqrt(2), abs=0.05)
  means = [np.mean([r.values["log_px"] for r in g], 0) for g in groups]
  assert found.stderr == pytest.approx(np.std(means[1] - means[0], ddof=1) / np.sqrt(N))
  assert compare.main([",".join(paths["a"]), ",".join(paths["b"])]) == 0
  printed = capsys.readouterr().out
  assert f"{found.difference:.4f}" in printed
  assert f"{found.second_spread:.4f}" in printed
  assert "units/kl" not in printed


def test_json_has_the_paired_differences(tmp_path, capsys):
  paths = [plant(tmp_path / name, shift, i) for i, (name, shift) in enumerate({"a": -90, "b": -80, "c": -70}.items())]
  assert compare.main([*paths, "--json"]) == 0
  first, second = json.loads(capsys.readouterr().out)
  assert (first["first"], first["second"], second["second"]) == ([paths[0]], [paths[1]], [paths[2]])
  (expected,) = compare.compare([compare.read(paths[0])], [compare.read(paths[2])])
  assert second["differences"] == [expected._asdict()]
  assert second["warnings"] == []


def test_json_has_null_for_an_error_that_is_not_finite():
  one = compare.Difference("log_px", -1.0, -2.0, -1.0, float("inf"), None, None, 1)
  [found] = json.loads(compare.as_json([("a", "b,c", [one], ["careful"])]))
  assert found["differences"][0]["stderr"] is None
  assert (found["second"], found["warnings"]) == (["b", "c"], ["careful"])


@pytest.mark.parametrize(
  ("key", "value"),
  [("data_digest", "abd"), ("transforms", ["scale", "logit"]), ("split_sizes", {"train": 8}), ("data", "other")],
)
def test_runs_on_other_examples_are_an_error_of_one_sentence(tmp_path, capsys, key, value):
  runs = [plant(tmp_path / "a", 0), plant(tmp_path / "b", 0, about={key: value})]
  assert errors.run_command(lambda: compare.main(runs)) == 2
  error = capsys.readouterr().err
  assert f"cannot be compared: {key} is" in error
  assert error.count("\n") == 1


def test_the_error_for_missing_values_names_the_command_that_computes_them(tmp_path):
  path = plant(tmp_path / "a", 0)
  (tmp_path / "a" / "values.npz").unlink()
  with pytest.raises(errors.UserError, match=r"values.npz\); `python -m dgm_jax evaluate --workdir="):
    compare.read(path)
  with pytest.raises(errors.UserError, match="is not the folder of a run"):
    compare.read(str(tmp_path / "none"))
  assert errors.run_command(lambda: compare.main([path])) == 2


def test_the_figure_shows_each_difference_with_its_standard_errors(tmp_path, capsys, monkeypatch):
  paths = [plant(tmp_path / f"a_method_{i}", shift, i) for i, shift in enumerate((-90, -89.9, -89.5))]
  drawn, finish = [], figure_style.finish
  monkeypatch.setattr(figure_style, "finish", lambda figure: drawn.append(figure) or finish(figure))
  assert compare.main([*paths, f"--out={tmp_path / 'out'}", "--format=pdf,png"]) == 0
  assert f"{tmp_path}/out/differences.pdf" in capsys.readouterr().out
  assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["differences.pdf", "differences.png"]
  runs = [compare.read(path) for path in paths]
  [panel] = drawn[0].axes
  for i in (1, 2):
    [d] = compare.compare(runs[:1], [runs[i]])
    at = [
      line.get_xdata() for line in panel.lines if np.allclose(line.get_ydata(), 1 - i) and line.get_label() != "zero"
    ]
    expected = [[d.difference], *([d.difference - t * d.stderr, d.difference + t * d.stderr] for t in (1, 2))]
    for x in expected:
      assert any(len(x) == len(found) and np.allclose(x, found) for found in at)
  assert [t.get_text() for t in panel.get_yticklabels()] == ["a_method_1", "a_method_2"]
  assert panel.get_xlabel() == "difference (nats)"
  assert drawn_text.faults(drawn[0]) == []
  assert errors.run_command(lambda: compare.main([*paths, "--format=pdf"])) == 2


def test_runs_of_a_sweep_whose_names_have_commas_are_found(tmp_path):
  paths = [plant(tmp_path / f"lr=0.1,seed={i}", shift, i) for i, shift in enumerate((-90, -89.9))]
  assert compare.folders(",".join(paths)) == paths
  assert compare.folders(paths[0]) == paths[:1]
  assert compare.folders("runs/none,runs/nothing") == ["runs/none", "runs/nothing"]  # read() names them
  assert compare.main([*paths, f"--out={tmp_path / 'out'}"]) == 0


def test_warnings_name_values_of_unequal_sets_and_unequal_bounds(tmp_path):
  first = plant(tmp_path / "a", 0, **{"test/ais_log_px": np.zeros(10)})
  second = plant(tmp_path / "b", 0, about={"test/likelihood_samples": 5000}, **{"test/ais_log_px": np.zeros(20)})
  runs = [compare.read(p) for p in (first, second)]
  assert [d.name for d in compare.compare(runs[:1], runs[1:])] == ["log_px"]
  text = " ".join(compare.warnings(runs[:1], runs[1:]))
  assert "likelihood_samples differs" in text
  assert "ais_log_px is left out: the runs have it for 10, 20 examples" in text


def test_the_kind_of_a_likelihood_is_printed_and_a_bound_minus_an_exact_number_gets_a_caveat(tmp_path, capsys):
  exact = {"test/likelihood_kind": "exact"}
  about = {"a": exact, "b": {}, "c": {"test/likelihood_kind": "bound", "test/num_draws": 5}}
  runs = {name: compare.read(plant(tmp_path / name, 0, about=about[name])) for name in about}
  found = {name: compare.compare([runs["a"]], [run])[0] for name, run in runs.items()}
  assert [(d.first_kind, d.second_kind) for d in found.values()] == [
    ("exact", kind) for kind in ("exact", "bound", "bound")
  ]
  caveats = {name: [s for s in compare.warnings([runs["a"]], [run]) if "log_px is" in s] for name, run in runs.items()}
  assert caveats["a"] == []
  assert caveats["b"][0].startswith("log_px is exact in the first and bound in the second")
  assert compare.main([runs["b"].path, runs["c"].path]) == 0
  printed = capsys.readouterr().out
  assert "kind of second" in printed
  assert "num_draws differs (none, 5)" in printed
  assert compare.compare([runs["a"], runs["b"]], [runs["c"]])[0].first_kind == "exact and bound"
