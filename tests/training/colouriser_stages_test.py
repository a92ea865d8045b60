"""The three stages of NoGAN as runs: what each starts from and moves, that it resumes bitwise, and what is kept."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from dgm_jax.core import config_args, errors
from dgm_jax.principles import adversarial_options
from dgm_jax.training import build, train
from dgm_jax.training.restore import restore

STAGES = {"generator": {"generator"}, "discriminator": {"discriminator"}, "both": {"generator", "discriminator"}}


def config(stage, start=""):
  made = config_args.load(f"colouriser:test,stage={stage}")
  with made.unlocked():
    made.init_from, made.evaluate, made.loggers, made.data.train_size = str(start), {}, (), 200
  return made


def half(folder, copy):
  """The folder of a run as it was after half of its steps."""
  (copy / "checkpoints").mkdir(parents=True)
  for file in ("config.json", "data.json", "metrics.jsonl"):
    (copy / file).write_text((folder / file).read_text())
  (folder / "checkpoints" / "20").rename(copy / "checkpoints" / "20")


def moved(first, second):
  same = lambda a, b: all(bool((x == y).all()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
  return {player for player in first.params if not same(first.params[player], second.params[player])}


@pytest.mark.slow
def test_stages_move_their_players_and_resume_bitwise(tmp_path):
  start, before = "", None
  for stage, players in STAGES.items():
    made, folder = config(stage, start), tmp_path / stage
    train.train_and_evaluate(made, folder)
    state = restore(made, folder, averaged=False)[1]
    if before is not None:
      assert moved(before, state) == players
    half(folder, tmp_path / f"{stage}-resumed")
    train.train_and_evaluate(made, tmp_path / f"{stage}-resumed")
    jax.tree.map(np.testing.assert_array_equal, restore(made, tmp_path / f"{stage}-resumed", averaged=False)[1], state)
    start, before = folder, state
  rows = [json.loads(line) for line in (tmp_path / "both" / "metrics.jsonl").read_text().splitlines()][1:]
  within = {row["step"]: row["test/colour_frechet_within"] for row in rows if "test/colour_frechet_within" in row}
  assert set(within) == {0, 20, 40}
  assert all("test/colour_mae" in row for row in rows if row["step"] in within)


def test_a_discriminator_alone_needs_a_trained_generator(tmp_path):
  made = config("discriminator")
  with pytest.raises(errors.UserError, match="needs a trained generator: name the folder of its run by init_from"):
    train.train_and_evaluate(made, tmp_path / "run")
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name,value", [("augment", "color"), ("consistency", 1.0), ("sample_consistency", 1.0)])
def test_changes_of_x_alone_are_refused_where_its_context_stays(name, value):
  assert adversarial_options.checked(**{name: value})
  with pytest.raises(errors.UserError, match=f"objective.{name} = {value!r} changes x alone"):
    adversarial_options.checked(conditions_on="context", **{name: value})


def test_the_checkpoint_is_chosen_on_the_split_that_the_data_hold_out():
  """Noise has no validation set; photographs have one, at every size of the run."""
  chosen = lambda *args: config_args.load(",".join(["colouriser:stage=both", *args])).keep_best.split("/")[0]
  assert chosen("test") == "test"
  assert chosen() == chosen("quick") == chosen("test", "data=cifar10/small") == chosen("test", "data=array") == "valid"


def test_stages_are_options_of_one_config_and_grey_images_are_refused(tmp_path):
  for stage, players in STAGES.items():
    made = config(stage)
    assert made.objective.train == ("both" if len(players) == 2 else stage)
    assert (made.objective.adversarial_weight == 0) == (stage == "generator")
  np.savez(tmp_path / "grey.npz", x=np.random.default_rng(0).integers(0, 256, (60, 16, 16), np.uint8))
  made = config_args.load("colouriser:test,data=array")
  with made.unlocked():
    made.data.path, made.data.data_dir = str(tmp_path / "grey.npz"), str(tmp_path)
  with pytest.raises(errors.UserError, match=r"takes colours, uint8 \[H, W, 3\]; x is uint8 of shape \[16, 16"):
    build.build(made)


def test_a_folder_of_photographs_is_trained_on_and_one_of_grey_files_refused(tmp_path):
  rng = np.random.default_rng(0)
  for kind, channels in (("colour", 3), ("grey", 1)):
    (tmp_path / kind).mkdir()
    for i in range(70):
      levels = rng.integers(0, 256, (24, 24, channels), np.uint8)
      Image.fromarray(levels if channels == 3 else levels[..., 0]).save(tmp_path / kind / f"{i}.jpg")
  made = config_args.load("colouriser:test,data=array")
  with made.unlocked():
    made.data.path, made.data.data_dir, made.data.image_size = str(tmp_path / "colour"), str(tmp_path), 16
  found = build.build(made)
  assert found.model.data_shape == (16, 16, 2) and found.splits.train["x"].shape[1:] == (16, 16, 3)
  with made.unlocked():
    made.data.image_size = 18
  with pytest.raises(errors.UserError, match="whose sides 4 divides; these are of 18 x 18 pixels: set data"):
    build.build(made)
  with made.unlocked():
    made.data.path, made.data.image_size = str(tmp_path / "grey"), 16
  with pytest.raises(errors.UserError, match="Transform 'lightness' takes"):
    build.build(made)
