"""The command `sample` of a run of text: prompts, what is written, and a sentence for each mistake."""

import jax
import numpy as np
import pytest

from dgm_jax.configs import made_mnist, transformer_text
from dgm_jax.core import errors
from dgm_jax.data.files import tokens
from dgm_jax.training import sampling, train
from dgm_jax.training.build import build
from dgm_jax.training.experiment import make_init
from helpers import processes


@pytest.fixture(scope="module")
def config():
  made = transformer_text.get_config("test")
  with made.unlocked():
    made.eval_every = made.figures_every = made.checkpoint_every = 40
    made.evaluate = {}
  return made


@pytest.fixture(scope="module")
def built(config):
  experiment = build(config)
  return experiment, jax.jit(make_init(experiment, 0))()


def continued(built, prompt, n=3, **options):
  return sampling.continued(*built, jax.random.key(0), n, "transformer", options, prompt)


def test_texts_begin_with_the_prompt_and_greedy_ones_are_equal(built):
  x = continued(built, "Lic\nen", temperature=0.0)
  assert x.shape == (3, 17)
  assert (x == x[0]).all()
  assert all(text.startswith("Lic\nen") for text in tokens.decode(x, built[0].splits.about))
  assert (continued(built, "L") != continued(built, "M")).any()


def test_a_run_writes_texts_and_the_command_continues_a_prompt(config, tmp_path):
  train.train_and_evaluate(config, tmp_path / "run")
  shown = (tmp_path / "run" / "figures" / "samples_00000040.txt").read_text()
  assert len(shown.split(f"\n{tokens.BETWEEN}\n")) == 8
  done = processes.dgm_jax("sample", f"--workdir={tmp_path / 'run'}", "--prompt=Licen", "--num_samples=2", "--top_k=5")
  assert done.returncode == 0, done.stderr
  text = (tmp_path / "run" / "samples.txt").read_text()
  assert text.startswith("Licen")
  assert text in done.stdout
  assert np.load(tmp_path / "run" / "samples.npz")["x"].shape == (2, 17)
  wrong = processes.dgm_jax("sample", f"--workdir={tmp_path / 'run'}", "--prompt=", "--num_samples=2")
  assert wrong.returncode == 2
  assert "is empty; give at least one token" in wrong.stderr


@pytest.mark.parametrize("prompt,options,named", [
  ("", {}, "is empty; give at least one token"),
  ("Lic\u20acnse", {}, "characters that are not in the vocabulary of the model: '\u20ac'. Choose from"),
  ("a" * 17, {}, "--prompt has 17 tokens; the model's texts have 17: give at most 16"),
  ("a", {"top_p": 0.0}, "top_p = 0.0"),
  ("a", {"temperature": -1.0}, "temperature = -1.0"),
])  # fmt: skip
def test_bad_prompts_get_one_sentence(built, prompt, options, named):
  with pytest.raises(errors.UserError) as raised:
    continued(built, prompt, **options)
  assert named in str(raised.value)
  assert "\n" not in str(raised.value)


def test_a_prompt_of_a_model_of_images_is_refused():
  experiment = build(made_mnist.get_config("test"))
  with pytest.raises(errors.UserError, match="--prompt is for autoregressive models of text"):
    sampling.continued(experiment, None, jax.random.key(0), 2, "made", {}, "a")


def test_data_that_are_no_tokens_are_refused(config, tmp_path):
  """Real x, and tokens beyond the classes."""
  for x, named in (
    (np.random.default_rng(0).normal(size=(50, 9)), r"expects x in \[0, 4\]"),
    (
      np.random.default_rng(0).random((50, 9)) * 4,
      "has a probability for each of 5 values, 0 .. 4; .* has other numbers",
    ),
    (np.arange(450).reshape(50, 9) % 6, r"expects x in \[0, 4\].*\[0, 5\]"),
  ):
    np.savez(tmp_path / "x.npz", x=x)
    own = config.copy_and_resolve_references()
    with own.unlocked():
      own.data = {"name": "array", "path": str(tmp_path / "x.npz"), "data_dir": str(tmp_path / "d"), "transforms": ()}
      own.data.source = "auto"
      own.model.args.likelihood_args = {"num_classes": 5}
    with pytest.raises(errors.UserError, match=named):
      build(own)
