"""The command `sample` of an autoregressive run: truncated draws, completions, and a sentence for each mistake."""

import numpy as np
import pytest

import dgm_jax
from dgm_jax.configs import made_mnist, vae_mnist
from dgm_jax.core import errors
from dgm_jax.training import sampling, train
from dgm_jax.training.build import build
from helpers import processes


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """The folder of a MADE of four by three binary pixels, trained for a few steps."""
  folder, g = tmp_path_factory.mktemp("sample"), np.random.default_rng(0)
  np.savez(folder / "data.npz", x=(g.random((300, 4, 3, 1)) < 0.4).astype(np.uint8))
  config = made_mnist.get_config("test,data=array")
  with config.unlocked():
    config.data.update(path=str(folder / "data.npz"), data_dir=str(folder / "cache"))
    config.eval_every = config.figures_every = config.checkpoint_every = 40
  train.train_and_evaluate(config, folder / "run")
  return folder


def sample(run, *flags):
  return processes.dgm_jax("sample", f"--workdir={run / 'run'}", *flags)


def halves(run, n=5):
  """Examples whose first two rows are known, in a file; their mask."""
  mask = np.zeros((n, 4, 3, 1), np.uint8)
  mask[:, :2] = 1
  x = (np.random.default_rng(1).random((n, 4, 3, 1)) < 0.5).astype(np.float32)
  np.savez(run / "halves.npz", x=np.where(mask, x, np.nan))
  return x, mask


def test_greedy_draws_are_all_the_same(run):
  done = sample(run, "--num_samples=7", "--temperature=0")
  assert done.returncode == 0, done.stderr
  x = np.load(run / "run" / "samples.npz")["x"]
  assert x.shape == (7, 4, 3, 1)
  assert (x == x[0]).all()


def test_completions_keep_what_is_known_and_are_those_of_the_notebook_interface(run):
  x, mask = halves(run)
  done = sample(run, f"--complete={run / 'halves.npz'}", "--top_p=0.9")
  assert done.returncode == 0, done.stderr
  found = np.load(run / "run" / "samples.npz")
  np.testing.assert_array_equal(found["mask"], mask)
  np.testing.assert_array_equal(found["x"][mask > 0], x[mask > 0])
  assert set(np.unique(found["x"])) <= {0.0, 1.0}
  loaded = dgm_jax.load(run / "run")
  np.testing.assert_array_equal(loaded.complete(np.where(mask, x, np.nan), mask)[mask > 0], x[mask > 0])
  greedy = [loaded.complete(x, mask, temperature=0.0, seed=seed) for seed in range(2)]
  np.testing.assert_array_equal(*greedy)
  assert (loaded.sample(3, temperature=0.0) == loaded.sample(1, temperature=0.0)).all()
  with pytest.raises(errors.UserError, match=r"example 0 .*not the first in the order"):
    loaded.complete(x, 1 - mask)


def files(run):
  """{mistake: (flags, what the sentence says)}."""
  x, mask = halves(run)
  for name, arrays in {
    "rest": {"x": x, "mask": 1 - mask},
    "whole": {"x": x},
    "shape": {"x": x[:, :3], "mask": mask[:, :3]},
    "grey": {"x": 3.5 * x, "mask": mask},
  }.items():
    np.savez(run / f"{name}.npz", **arrays)
  complete = lambda name: [f"--complete={run / name}"]
  return {
    "temperature": (["--temperature=-1"], "temperature = -1.0; it must be 0"),
    "top_p": (["--top_p=0"], "top_p = 0.0; it must be a probability in (0, 1]"),
    "top_k": (["--top_k=-2"], "top_k = -2"),
    "no prefix": (complete("rest.npz"), "the model 'orderless' completes any mask"),
    "nothing missing": (complete("whole.npz"), "no entry is missing"),
    "other shape": (complete("shape.npz"), "x is of shape [5, 3, 3, 1]; [N, 4, 3, 1] is expected"),
    "no levels": (complete("grey.npz"), "in [0, 3.5]"),
    "no file": (complete("none.npz"), "does not exist"),
    "number": ([*complete("halves.npz"), "--num_samples=3"], "--num_samples and --prompt are not for --complete"),
  }


MISTAKES = ("temperature", "top_p", "top_k", "no prefix", "nothing missing", "other shape", "no levels", "no file")


@pytest.mark.parametrize("mistake", [*MISTAKES, "number"])
def test_mistakes_get_one_sentence(mistake, run):
  flags, said = files(run)[mistake]
  done = sample(run, *flags)
  assert done.returncode == 2
  (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
  assert said in line, line
  assert "Traceback" not in done.stderr


def test_the_options_are_for_sample_and_for_models_that_take_them(run):
  done = processes.dgm_jax("evaluate", f"--workdir={run / 'run'}", "--top_k=3")
  assert (done.returncode, "--top_k is for --mode=sample" in done.stderr) == (2, True)
  vae = build(vae_mnist.get_config("test"))
  with pytest.raises(errors.UserError, match="--top_k is for autoregressive models"):
    sampling.check(vae.model, "vae", {"top_k": 3})
  with pytest.raises(errors.UserError, match="--complete is for models that draw some entries"):
    sampling.complete(vae, None, None, {}, "vae", {})
