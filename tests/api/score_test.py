"""dgm_jax score: the test set in a file gets the values of the run's own evaluation; mistakes in one sentence."""

import csv
import types

import numpy as np
import pytest

from dgm_jax.api import score_command
from dgm_jax.configs import hmm_text, mixture_uci, realnvp_mnist
from dgm_jax.core import config_args, errors, files
from dgm_jax.data.files import tokens
from dgm_jax.training import restore, train


def scored(path):
  with open(path, newline="") as f:
    return list(csv.DictReader(f))


def column(rows, name="log_px"):
  return np.array([float(row[name]) for row in rows])


def test_the_test_set_in_a_file_gets_the_values_of_the_run(finished, tmp_path, capsys):
  folder, _ = finished
  run = folder / "runs" / "first"
  _, experiment, _ = restore.of_run(run)
  np.savez(tmp_path / "digits.npz", x=experiment.splits.test["x"])
  out = tmp_path / "scores.csv"
  assert score_command.main([f"--workdir={run}", str(tmp_path / "digits.npz"), f"--out={out}"]) == 0
  rows, values = scored(out), files.load_arrays(run / "values.npz")
  np.testing.assert_allclose(column(rows), values["test/log_px"], rtol=1e-6)
  np.testing.assert_allclose(column(rows, "stderr"), values["test/log_px_error"], rtol=0.01)
  assert {row["kind"] for row in rows} == {"bound"}
  assert [row["row"] for row in rows[:3]] == ["0", "1", "2"]
  said = capsys.readouterr().out
  assert "bound, by importance_sampling" in said and f"{column(rows).mean():.2f}" in said
  with pytest.raises(errors.UserError, match=r"scores.csv exists; --overwrite replaces it"):
    score_command.main([f"--workdir={run}", str(tmp_path / "digits.npz"), f"--out={out}"])


@pytest.mark.slow
def test_a_flow_of_grey_levels_has_the_statistics_and_the_noise_of_its_evaluation(tmp_path):
  config = realnvp_mnist.get_config("test,condition,hidden=8")
  with config.unlocked():
    config.evaluate = {"exact_likelihood": config.evaluate.exact_likelihood.to_dict()}
    config.num_steps, config.eval_every, config.figures_every = 10, 10, 10
  train.train_and_evaluate(config, tmp_path / "flow")
  _, experiment, _ = restore.of_run(tmp_path / "flow")
  test = experiment.splits.test
  np.savez(tmp_path / "digits.npz", x=test["x"], y=test["y"])
  found = score_command.score_file(tmp_path / "flow", tmp_path / "digits.npz")
  values = files.load_arrays(tmp_path / "flow" / "values.npz")["test/log_px"]
  np.testing.assert_allclose(found.log_p, values, rtol=1e-5)
  assert found.kind == "bound" and np.isnan(found.error).all()
  np.savez(tmp_path / "x.npz", x=test["x"][:5])
  with pytest.raises(errors.UserError, match=r"x.npz: the model needs the y of each example"):
    score_command.score_file(tmp_path / "flow", tmp_path / "x.npz")


def test_a_table_is_read_by_the_columns_of_the_run(tmp_path):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(60, 3)) @ [[2, 0, 0], [1, 1, 0], [0, 0, 3]]
  text = "a,b,c\n" + "".join(f"{u!r},{v!r},{w!r}\n" for u, v, w in x.tolist())
  (tmp_path / "mine.csv").write_text(text)
  config = mixture_uci.get_config("test,data=array,c=2")
  with config.unlocked():
    config.data.path = str(tmp_path / "mine.csv")
  train.train_and_evaluate(config, tmp_path / "run")
  turned = "c,more,a,b\n" + "".join(f"{w!r},7,{u!r},{v!r}\n" for u, v, w in x.tolist())
  (tmp_path / "turned.csv").write_text(turned)
  one = score_command.score_file(tmp_path / "run", tmp_path / "mine.csv")
  other = score_command.score_file(tmp_path / "run", tmp_path / "turned.csv")
  np.testing.assert_array_equal(one.log_p, other.log_p)
  assert (one.kind, one.method, float(one.error.max())) == ("exact", "density", 0.0)
  (tmp_path / "gap.csv").write_text("a,b,d\n1,2,3\n")
  with pytest.raises(errors.UserError, match="'c'"):
    score_command.score_file(tmp_path / "run", tmp_path / "gap.csv")


def test_lines_are_tokens_of_the_run():
  about = {"vocabulary": (*tokens.SPECIAL, "the", "cat"), "tokens": "word"}
  found = tokens.rows_of(["the cat", "cat dog the"], about, 5)
  assert found["x"].tolist() == [[3, 4, 2, 0, 0], [4, 1, 3, 2, 0]]
  assert found["length"].tolist() == [3, 4]
  with pytest.raises(errors.UserError, match="Line 2 has 3 tokens; the model's lines have at most 2"):
    tokens.rows_of(["the cat", "cat dog the"], about, 3)


@pytest.mark.parametrize("words,named", [
  (["none.npy", "--out=a.csv"], "none.npy does not exist"),
  (["x.npy", "--out=a.txt"], "name a .csv file"),
  (["x.npy", "--out=a.csv", "--num_samples=-1"], "--num_samples=-1"),
  (["x.npy", "--out=a.csv"], "holds no run"),
])  # fmt: skip
def test_mistakes_in_the_command(tmp_path, monkeypatch, words, named):
  monkeypatch.chdir(tmp_path)
  np.save(tmp_path / "x.npy", np.zeros((2, 784), np.uint8))
  with pytest.raises(errors.UserError, match=named):
    score_command.main([*words, f"--workdir={tmp_path}"])


def test_a_text_is_for_a_run_of_lines(tmp_path):
  made = types.SimpleNamespace(model=types.SimpleNamespace(data_shape=(4,)), splits=types.SimpleNamespace(about={}))
  with pytest.raises(errors.UserError, match="is a text, and the run is not of text"):
    score_command.read(tmp_path / "a.txt", {"data": {"name": "x"}}, made)
  made.splits.about = {"tokens": "word", "vocabulary": ("a",), "windows": {}}
  with pytest.raises(errors.UserError, match="windows of a text, not of lines"):
    score_command.read(tmp_path / "a.txt", {"data": {"name": "x"}}, made)


@pytest.mark.slow
def test_lines_of_the_test_set_get_the_values_of_the_run(tmp_path):
  (tmp_path / "lines.txt").write_text("\n".join(f"the cat number {i % 9} sat on mat {i % 7}" for i in range(200)))
  config = hmm_text.get_config("test,data=text")
  with config.unlocked():
    config.data.path = str(tmp_path / "lines.txt")
  train.train_and_evaluate(config, tmp_path / "run")
  _, experiment, _ = restore.of_run(tmp_path / "run")
  test = experiment.splits.test
  (tmp_path / "test.txt").write_text("\n".join(tokens.decode(test["x"], experiment.splits.about)))
  found = score_command.score_file(tmp_path / "run", tmp_path / "test.txt")
  values = files.load_arrays(tmp_path / "run" / "values.npz")
  np.testing.assert_allclose(found.log_p, values["test/log_px"], rtol=1e-5)
  assert found.kind == "exact"


@pytest.mark.slow
@pytest.mark.parametrize("name,kind", [("diffusion_mnist", "bound"), ("vq_vae_mnist", "bound"), ("gan_grid", None)])
def test_models_without_a_density_have_a_bound_or_say_so(tmp_path, name, kind):
  config = config_args.load(f"{name}:test")
  train.train_and_evaluate(config, tmp_path / "run")
  _, experiment, _ = restore.of_run(tmp_path / "run")
  np.savez(tmp_path / "some.npz", x=experiment.splits.test["x"][:8])
  if kind is None:
    with pytest.raises(errors.UserError, match=r"no log p\(x\)"):
      score_command.score_file(tmp_path / "run", tmp_path / "some.npz")
    return
  found = score_command.score_file(tmp_path / "run", tmp_path / "some.npz", num_samples=3)
  assert (found.kind, len(found.log_p)) == (kind, 8) and np.isfinite(found.log_p).all()
