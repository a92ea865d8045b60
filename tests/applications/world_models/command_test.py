"""The stages and the command: a whole world model of the toy, and mistakes in one sentence."""

import json

import numpy as np
import pytest
import scipy.stats
from PIL import Image

import dgm_jax
from dgm_jax.applications.world_models import (
  budgets,
  command,
  episodes,
  evolution,
  evolving,
  plans,
  playing,
  scoring,
  seeds,
)
from dgm_jax.applications.world_models.world_model import WorldModel, changed
from dgm_jax.core import errors
from dgm_jax.data.files import rollouts

TEST = ["dodge", "--budget=test"]


def episode(n, seed, latents=0):
  """Arrays of an episode of n steps, with frames or moments."""
  rng = np.random.default_rng(seed)
  seen = {"moments": rng.normal(size=(n, 2 * latents)).astype(np.float32)} if latents else {
    "frames": rng.integers(0, 256, (n, 64, 64, 3), np.uint8)
  }  # fmt: skip
  numbers = {"action": rng.uniform(-1, 1, (n, 1)).astype(np.float32), "reward": np.ones(n, np.float32)}
  return seen | numbers | {"done": np.arange(n) == n - 1, "seed": np.asarray(seed)}


def test_sequences_overlap_by_a_step_and_end_with_the_episode():
  arrays = episode(12, 0, latents=2)
  x = rollouts.pieces(arrays, 5)  # of steps 0-4, 4-8, 8-11
  assert x.shape == (3, 5, 2 * 2 + 1 + 4)
  np.testing.assert_array_equal(x[1, :, :4], arrays["moments"][4:9])
  np.testing.assert_array_equal(x[..., -1], [[1] * 5, [1] * 5, [1, 1, 1, 1, 0]])  # valid
  np.testing.assert_array_equal(x[..., -2].sum(1), [1, 0, 0])  # the episode begins once
  assert x[2, 3, -3] == 1 and x[..., -3].sum() == 1  # and ends once
  assert not x[2, 4].any()
  assert rollouts.pieces(episode(1, 0, latents=2), 5)[0, :, -1].tolist() == [1, 0, 0, 0, 0]


def test_a_damaged_rollout_is_named_and_left_out(tmp_path, caplog):
  for i in range(3):
    rollouts.write(tmp_path, i, episode(4 + i, i))
  whole = (tmp_path / "000001.npz").read_bytes()
  (tmp_path / "000001.npz").write_bytes(whole[: len(whole) // 2])
  paths, steps, shape = rollouts.sound(tmp_path, "frames")
  assert [p.stem for p in paths] == ["000000", "000002"] and steps == [4, 6] and shape == (64, 64, 3)
  assert "000001.npz is damaged" in caplog.text and "left out" in caplog.text
  assert rollouts.sound(tmp_path, "frames", least=4)[1] == [6]
  with pytest.raises(errors.UserError, match="no episode of more than 9 steps"):
    rollouts.sound(tmp_path, "frames", least=9)
  found = []
  assert rollouts.rows_of(paths, steps, 5, lambda path, rows: found.append((path.stem, rows.tolist()))) == 5
  assert found == [("000000", [0, 2]), ("000002", [0, 2, 5])]


def test_files_of_something_else_are_named(tmp_path):
  rollouts.write(tmp_path, 0, episode(3, 0) | {"reward": np.ones(2, np.float32)})
  with pytest.raises(errors.UserError, match="its arrays have lengths"):
    rollouts.read(tmp_path / "000000.npz", "frames")
  rollouts.write(tmp_path, 1, episode(3, 0, latents=2))
  with pytest.raises(errors.UserError, match="has no frames"):
    rollouts.read(tmp_path / "000001.npz", "frames")
  with pytest.raises(errors.UserError, match="has no rollouts"):
    rollouts.listed(tmp_path.parent / tmp_path.name / "..")


@pytest.mark.parametrize("words,named", [
  ([*TEST, "--population=3"], "population = 3; CMA-ES needs 4"),
  ([*TEST, "--tau=0"], "tau = .*must be positive"),
  ([*TEST, "--tau=one"], "numbers separated by commas"),
  ([*TEST, "--stage=x"], "Choices: c, m, rollouts, score, v"),
  ([*TEST, "--controller=y"], "Unknown controller 'y'"),
  (["dodge", "--budget=huge"], "Choices: paper, quick, short, test"),
  ([*TEST, "--stage=v"], "no finished stage 'rollouts', which this one needs"),
  ([*TEST, "--stage=c"], "no finished stage 'rollouts'"),
  ([*TEST, "--stage=score"], "no finished stage 'rollouts'"),
  (["score"], "holds no world model"),
  (["play", "--out=x.gif"], "holds no world model"),
  (["other", "--env=CartPole-v1"], "no picture"),
])  # fmt: skip
def test_mistakes_are_one_sentence(words, named, tmp_path):
  with pytest.raises(errors.UserError, match=named) as raised:
    command.main([*words, f"--workdir={tmp_path / 'w'}"])
  assert "\n" not in str(raised.value)


def test_a_folder_of_something_else_is_refused(tmp_path):
  plan = plans.Plan(tmp_path / "w", "dodge", budgets.of("dodge", "test"), test=True)
  plan.open()
  plan.open()
  with pytest.raises(errors.UserError, match="is of the environment 'dodge', not 'other'"):
    other = plans.Plan(tmp_path / "w", "dodge", budgets.of("dodge", "test"))
    other.environment = "other"
    other.open()
  with pytest.raises(errors.UserError, match=r"other settings: budget.population \(4 there, 8 now\)"):
    plans.Plan(tmp_path / "w", "dodge", budgets.of("dodge", "test")._replace(population=8), test=True).open()
  plans.Plan(tmp_path / "w", "dodge", budgets.of("dodge", "test")._replace(generations=8), test=True).open()
  (tmp_path / "x").mkdir()
  (tmp_path / "x" / "mine.txt").write_text("mine")
  with pytest.raises(errors.UserError, match="holds files that are not a world model's"):
    plans.Plan(tmp_path / "x", "dodge", budgets.of("dodge", "test")).open()
  assert plans.of_folder(tmp_path / "w").budget == budgets.of("dodge", "test")


def test_settings_are_checked():
  b = budgets.of("dodge", "test")
  assert changed(b, {"taus": 1.3, "sigma": 1}).taus == (1.3,)
  for given, named in (({"tau": 1.0}, "Unknown setting 'tau'"), ({"population": "x"}, "must be of the type of 4")):
    with pytest.raises(errors.UserError, match=named):
      changed(b, given)


def test_summaries_have_deviation_and_error():
  found = scoring.summary(np.array([1.0, 2.0, 3.0, 4.0]))
  assert (found["mean"], found["episodes"]) == (2.5, 4)
  assert found["sd"] == pytest.approx(np.std([1, 2, 3, 4], ddof=1))
  assert found["stderr"] == pytest.approx(found["sd"] / 2)


def test_the_best_snapshot_is_chosen_by_selection_alone(tmp_path):
  from dgm_jax.core import files

  for generation, score in ((1, 3.0), (2, 5.0), (3, 4.0)):
    path = tmp_path / "snapshots" / f"{generation:06d}.npz"
    files.save_arrays(path, weights=np.full(2, generation), total=np.array([score, score]))
  assert evolving.chosen(tmp_path)["generation"] == 2
  np.testing.assert_array_equal(evolving.weights_of(tmp_path), [2, 2])


def test_a_film_is_as_long_as_its_longest_row(tmp_path):
  rows = [np.full((n, 64, 64, 3), 40 * n, np.uint8) + np.arange(n, dtype=np.uint8)[:, None, None, None] for n in (2, 5)]
  playing.write(tmp_path / "x.gif", rows)
  with Image.open(tmp_path / "x.gif") as film:
    assert film.n_frames == 5 and film.size == (3 * 130, 3 * 64)


@pytest.mark.slow
def test_a_world_model_of_the_toy(tmp_path, capsys):
  """All stages at test size; a finished one is not repeated; a lost generation comes back bit for bit."""
  folder = tmp_path / "w"
  words = [*TEST, f"--workdir={folder}"]
  assert command.main(words) == 0
  assert "Random play: every" in capsys.readouterr().out
  first = json.loads((folder / "score" / "results.json").read_text())
  assert first["real"]["episodes"] == 3 and first["environment"] == "dodge"
  assert {"every", "held", "still"} == set(first["random_play"])
  assert command.main(words) == 0
  assert "generation" not in capsys.readouterr().out
  run = folder / "c_tau_1.00"
  table = (run / evolution.TABLE).read_text()
  weights = [p.read_bytes() for p in sorted((run / "snapshots").glob("*"))]
  (run / evolution.TABLE).write_text(table.splitlines()[0] + "\n")
  (run / "results.json").unlink()
  for path in (run / "snapshots").glob("*"):
    path.unlink()
  assert command.main(words) == 0
  assert (run / evolution.TABLE).read_text() == table
  arrays = [np.load(p)["weights"] for p in sorted((run / "snapshots").glob("*"))]
  assert len(arrays) == len(weights) and np.isfinite(arrays).all()
  out = tmp_path / "x.gif"
  assert command.main(["play", f"--workdir={folder}", f"--out={out}"]) == 0
  with pytest.raises(errors.UserError, match="exists; --overwrite"):
    command.main(["play", f"--workdir={folder}", f"--out={out}"])
  with pytest.raises(errors.UserError, match="is of the environment 'dodge', not 'doom'"):
    command.main(["doom", "--budget=test", f"--workdir={folder}"])
  world = dgm_jax.WorldModel.of_run(folder)
  assert world.dream(5, tau=1.1).total.shape == (1, 5)
  assert world.weights().shape == (8 // 2 + 16 + 1,)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
  """A world model of the toy, from nothing: minutes on two cores."""
  world = WorldModel("dodge", tmp_path_factory.mktemp("toy") / "w", "quick")
  return world, world.run()


@pytest.mark.slow
def test_the_toy_is_learned(learned):
  """A controller twice as good as random play."""
  found = learned[1]
  assert found["real"]["mean"] > 2 * found["random_play"]["held"]["mean"]


@pytest.mark.slow
def test_dreams_are_like_the_game(learned):
  """Lengths of dreams and of the game: means within 20 %, Kolmogorov distance at most 0.2, the order of controllers.

  Of three fixed controllers with 400 episodes each, whose distance has an upper 95 % limit by the bootstrap; and of ten
  controllers with 100 each, Spearman's correlation of the means at least 0.8.
  """
  world, _ = learned
  found, best = evolving.parts(world.plan), world.weights()
  rng = np.random.default_rng(0)
  drawn = 0.3 * rng.normal(size=(10, best.size)).astype(np.float32)
  # from standing still to the evolved controller
  ten = np.stack([a * best + (1 - a) * w for a, w in zip(np.linspace(0, 1, 10), drawn, strict=True)])

  def lengths(weights, count):
    dreamt = found.dreamer(found.m_params, weights, count, found.moments, 3).steps
    jobs = [(i, seed) for i in range(len(weights)) for seed in seeds.of("selection", 7, count)]
    with world.plan.vector() as vector:
      real = episodes.run(vector, found.agent, weights, jobs).steps.reshape(len(weights), count)
    return dreamt, real

  for dreamt, real in zip(*lengths(np.stack([0 * best, ten[0], best]), 400), strict=True):
    assert abs(dreamt.mean() / real.mean() - 1) < 0.2
    again = [
      scipy.stats.ks_2samp(rng.choice(dreamt, 400), rng.choice(real, 400)).statistic for _ in range(200)
    ]  # fmt: skip
    assert np.quantile(again, 0.95) <= 0.2
  dreamt, real = lengths(ten, 100)
  assert scipy.stats.spearmanr(dreamt.mean(1), real.mean(1)).statistic >= 0.8
