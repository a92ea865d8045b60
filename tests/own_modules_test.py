"""Models and other modules of the user's own: README's model runs, mistakes get a sentence, a run keeps its files."""

import json
import re
import shutil

import jax
import numpy as np
import pytest
from absl import logging
from flax import linen as nn

import dgm_jax
from dgm_jax import models, principles
from dgm_jax.core import config_args, errors, registry, requirements
from dgm_jax.models.base import support
from dgm_jax.principles import initial
from dgm_jax.training import build, train
from dgm_jax.training.restore import restore
from dgm_jax.training.workdir import legacy_configs, own_files
from helpers import processes, tables

README = (tables.ROOT / "dgm_jax" / "models" / "README.md").read_text()
SECTION = README[README.index("## A model of your own") : README.index("## What a model must have")]
[MODEL] = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
COMMANDS = re.search(r"```bash\n(.*?)```", SECTION, re.DOTALL).group(1).splitlines()


def command(start):
  """The words of README's command `python -m dgm_jax START`, with `test` in place of `quick`."""
  [line] = [line for line in COMMANDS if line.startswith(f"python -m dgm_jax {start}")]
  return line.replace(",quick", ",test").split()[3:]


def run_in(folder, words):
  done = processes.dgm_jax(*words, cwd=folder)
  assert done.returncode == 0, done.stderr
  return done.stdout


@pytest.fixture(scope="module")
def readme(tmp_path_factory):
  """A folder with README's model and its run."""
  folder = tmp_path_factory.mktemp("readme")
  (folder / "my_iwae.py").write_text(MODEL)
  run_in(folder, command("train"))
  return folder


def test_the_model_of_the_readme_is_short_and_trains(readme):
  assert len([line for line in MODEL.splitlines() if line.strip()]) <= 25
  results = json.loads((readme / "runs" / "my_iwae" / "results.json").read_text())
  assert results["test/nll"] < 400
  config = json.loads((readme / "runs" / "my_iwae" / "config.json").read_text())
  assert config["model"] == {"name": "my_iwae.py", "args": {"hidden": 100, "latent_dim": 20}}
  assert config["objective"]["bound"] == "iwae"


def test_the_run_keeps_the_file_and_needs_no_other(readme, tmp_path):
  run = tmp_path / "moved"
  shutil.copytree(readme / "runs" / "my_iwae", run)  # away from my_iwae.py, of which the current folder has none
  assert (run / "own" / "my_iwae.py").read_text() == MODEL
  sha256 = json.loads((run / "own" / "index.json").read_text())["my_iwae.py"]["sha256"]
  assert json.loads((run / "run.json").read_text())[0]["own_files"] == {"my_iwae.py": sha256}
  loaded = dgm_jax.load(run)
  x = np.zeros((2, 28, 28, 1), np.float32)
  assert np.isfinite(loaded.log_px(x, k=5)).all()
  assert loaded.sample(3).shape == (3, 28, 28, 1)


def test_sampling_says_that_the_file_has_changed_and_uses_the_copy(readme):
  (readme / "my_iwae.py").write_text(MODEL.replace("nn.tanh", "nn.relu"))
  try:
    done = processes.dgm_jax(*command("sample"), cwd=readme)
  finally:
    (readme / "my_iwae.py").write_text(MODEL)
  assert done.returncode == 0, done.stderr
  assert "my_iwae.py has changed since runs/my_iwae was trained with it: its copy" in done.stderr
  assert np.load(readme / "runs" / "my_iwae" / "samples.npz")["x"].shape == (16, 28, 28, 1)


@pytest.mark.slow
def test_the_readme_evaluates_and_sweeps_in_lanes(readme):
  run_in(readme, command("evaluate"))
  printed = run_in(readme, command("sweep"))
  assert "4 runs in 1 compiled programs" in printed
  assert (readme / "runs" / "my_rates" / "own" / "my_iwae.py").read_text() == MODEL
  runs = list((readme / "runs" / "my_rates" / "runs").iterdir())
  assert len(runs) == 4
  for run in runs:
    assert (run / "results.json").exists() and (run / "own" / "my_iwae.py").read_text() == MODEL
  (readme / "my_iwae.py").write_text(f"{MODEL}\n# changed\n")  # the last test of this folder
  more = [word.replace("seed=0:2", "seed=0:3") for word in command("sweep")]
  done = processes.dgm_jax(*more, cwd=readme)
  assert done.returncode == 2 and "'my_iwae.py' has changed since runs/my_rates" in done.stderr


def test_the_table_of_the_readme_is_what_the_principles_check():
  rows = re.findall(r"^\| `(\w+)` \| (`.*?) \|", README[README.index("## What a model must have") :], re.MULTILINE)
  table = {name: tuple(re.findall(r"`([^`]+)`", cell)) for name, cell in rows if "config." not in cell}
  for name in registry.entries(principles, "principle"):
    assert table[name] == registry.module(principles, "principle", name).REQUIRES


def test_the_families_of_the_readme_are_the_models_there_are():
  section, listed = README[README.index("## Models of this folder") :], set()
  for _, names, trained in re.findall(r"^\| (`\w+/`)? ?\| (`.*?) \| (`.*?) \|$", section, re.MULTILINE):
    models_of_row = re.findall(r"`(\w+)`", names)
    for name in models_of_row:
      for principle in re.findall(r"`(\w+)`", trained.split(";")[0].split(", with")[0]):
        requires = registry.module(principles, "principle", principle).REQUIRES
        requirements.check(principle, requires, registry.definition(models, "model", name), name)
    listed |= set(models_of_row)
  assert listed == set(registry.entries(models, "model"))


def edited(*edits):
  text = MODEL
  for old, new in edits:
    assert old in text
    text = text.replace(old, new)
  return text


MISTAKES = {
  "missing method": ([("def infer", "def infers")], "", ["'latent' needs models with infer(batch)", "add 'infer'"]),
  "parameters": ([(", mean=False", "")], "", ["calls generate(key, n, mean=False)", "has the parameters"]),
  "no module": ([("(nn.Module)", "")], "", ["must be a class of flax.linen modules"]),
  "no data_shape": ([("data_shape:", "shape:"), ("self.data_shape", "self.shape")], "", ["needs a field `data_shape"]),
  "no value": ([("latent_dim: int = 20", "latent_dim: int")], "", ["needs latent_dim"]),
  "type": ([("hidden: int = 200", "hidden: int = '200'")], "", ["hidden = '200'", "must be of type int"]),
  "principle": ([], ",principle=own_bound", ["'own_bound' needs models with bound(key, batch)", "mine.py"]),
  "unknown principle": ([], ",principle=latnt", ["Unknown principle 'latnt'", "latent"]),
  "symbol": ([("class Model", "class Net")], "", ["has no 'Model'", "it defines Net"]),
  "evaluation": ([], ",evaluate=selection", ["evaluate.selection needs a model with log_prob"]),
}


@pytest.mark.parametrize("edits,arguments,words", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_get_one_sentence_before_data_are_loaded(edits, arguments, words, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(build, "load", lambda config: pytest.fail("data were loaded"))
  (tmp_path / "mine.py").write_text(edited(*edits))
  with pytest.raises(errors.UserError) as raised:
    build.build(config_args.load(f"base:model=mine.py{arguments}"))
  for word in words:
    assert word in str(raised.value)


@pytest.mark.parametrize("missing,words", [
  ("principle", ["The config has no 'principle'", "em, latent, maximum_likelihood, monte_carlo_em, own_bound"]),
  ("optim", ["The config has no 'optim'", "base.default()"]),
])  # fmt: skip
def test_a_config_without_a_setting_gets_one_sentence(missing, words):
  config = config_args.load("base:model=vae,test").copy_and_resolve_references()
  with config.unlocked():
    del config[missing]
  with pytest.raises(errors.UserError) as raised:
    build.build(config)
  for word in words:
    assert word in str(raised.value)


def test_base_needs_a_model():
  with pytest.raises(errors.UserError, match=r"Config 'base' needs model=\.\.\."):
    config_args.load("base")


@pytest.mark.parametrize("name,objective,evaluations", [
  ("own_bound", set(), {"means"}),
  ("maximum_likelihood", set(), {"exact_likelihood"}),
  ("em", {"update", "decay", "delay", "scale", "block"}, {"means"}),
  ("supervised", {"num_samples", "eval_samples", "kl_weight"}, {"predictive"}),
])  # fmt: skip
def test_base_has_the_options_of_each_principle(name, objective, evaluations):
  config = config_args.load(f"base:model=vae,principle={name}")
  assert (set(config.objective), set(config.evaluate)) == (objective, evaluations)
  assert config.model.args.get_type("hidden") is tuple


OWN = {
  "data.py": """
import numpy
from dgm_jax.data.splits import Splits

def load(n: int = 200, shift: float = 0) -> Splits:
  x = (numpy.random.default_rng(0).normal(size=(n, 3)) + shift).astype(numpy.float32)
  return Splits({"x": x[20:]}, None, {"x": x[:20]})
""",
  "parts.py": """
import distrax
import jax.numpy as jnp
from flax import linen as nn
from dgm_jax.distributions.factorised import Factorised
from dgm_jax.distributions.likelihoods.family import Family

def laplace(scale: float = 1.0) -> Family:
  return Family(lambda loc: Factorised(distrax.Laplace(loc, scale)), lambda mean: (mean,))

class Wide(nn.Module):
  latent_dim: int
  scale: float = 2.0

  def __call__(self, encode):
    return distrax.MultivariateNormalDiag(jnp.zeros(self.latent_dim), jnp.full(self.latent_dim, self.scale))
""",
  "principle.py": """
from dgm_jax.principles.latent import latent

REQUIRES = ("infer(batch)",)

def make(model, tx, *, samples: int = 2):
  return latent.make(model, tx, bound="iwae", num_samples=samples, eval_samples=3)
""",
  "score.py": """
NEEDS = ("infer",)

def evaluate(experiment, state, key, arrays, *, power: int = 1):
  return {"score": float(len(arrays["x"]) ** power)}
""",
}


def own_config(**values):
  config = config_args.load("base:model=vae,principle=principle.py,data=data.py,evaluate=score.py,test")
  with config.unlocked():
    config.model.args.update(latent_dim=2, hidden=(4,), likelihood="parts.py:laplace", prior="parts.py:Wide")
    config.model.args.likelihood_args.scale = 0.5
    config.update_from_flattened_dict({"evaluate.score.power": 2, "evaluate.means.batch_size": 20, **values})
  return config


def test_a_run_of_own_modules_keeps_them_and_notices_changes(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for name, text in OWN.items():
    (tmp_path / name).write_text(text)
  config = own_config(**{"data.shift": 5.0})
  assert config.objective.to_dict() == {"samples": 2}
  results = train.train_and_evaluate(config, "run")
  assert results["test/score"] == 400.0
  assert results["data"] == "data.py"
  assert own_files.digests(tmp_path / "run").keys() == set(OWN)
  with pytest.raises(errors.UserError, match=r"'parts\.py' has changed since run was made with it"):
    (tmp_path / "parts.py").write_text(OWN["parts.py"].replace("2.0", "3.0"))
    train.train_and_evaluate(config, "run")
  shutil.rmtree(tmp_path / "run" / "checkpoints" / "40")
  said = []
  monkeypatch.setattr(logging, "warning", lambda text, *args: said.append(text % args))
  experiment, state = restore(config, "run")
  assert int(state.step) == 20
  assert said == [
    f"{tmp_path}/parts.py has changed since run was trained with it: its copy, run/own/parts.py, is used."
  ]
  prior = experiment.model.bind({"params": state.params})._prior()
  np.testing.assert_allclose(prior.stddev(), 2.0)
  for name in OWN:
    (tmp_path / name).unlink()
  monkeypatch.chdir(tmp_path / "run")
  found = legacy_configs.read_config(tmp_path / "run")
  assert restore(type(config)(found), tmp_path / "run")[0].splits.train["x"].mean() > 4
  (tmp_path / "run" / "own" / "data.py").write_text(OWN["data.py"].replace("size=(n, 3)", "size=(n, 4)"))
  with pytest.raises(errors.UserError, match=r"own/data\.py is not the file that the run was made with"):
    restore(type(config)(found), tmp_path / "run")


@pytest.mark.parametrize("file,old,new,values,sentence", [
  ("data.py", OWN["data.py"].splitlines()[-1], "  return {}", {}, "must return a dgm_jax.data.splits.Splits"),
  ("parts.py", "return Family(", "return scale and (", {}, "must return a dgm_jax.distributions.likelihoods"),
  ("parts.py", "", "", {"model.args.prior": "parts.py:Wade"}, "'parts.py' has no 'Wade'; it defines Wide, laplace"),
  ("score.py", "*, power", "*, powers", {}, "Unknown option of evaluate.score 'power'. Did you mean 'powers'"),
  ("score.py", '"infer"', '"infers"', {}, "evaluate.score needs a model with infers; this one has no infers"),
  ("principle.py", "samples: int", "sample: int", {"objective.samples": 3}, "Unknown option of principle"),
])  # fmt: skip
def test_mistakes_in_own_modules_get_one_sentence(file, old, new, values, sentence, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for name, text in OWN.items():
    (tmp_path / name).write_text(text)
  config = own_config(**values)
  (tmp_path / file).write_text(OWN[file].replace(old, new))
  with pytest.raises(errors.UserError) as raised:
    build.build(config)
  assert sentence in str(raised.value)


def test_a_model_without_call_and_support_gets_the_natural_ones():
  class Bare(nn.Module):
    data_shape: tuple[int, ...] = (2,)
    likelihood: str = "bernoulli"

    def setup(self):
      self.net = nn.Dense(3)

    def touch(self, batch):
      return self.net(batch["x"])

  class Called(Bare):
    def __call__(self, batch):
      return self.touch(batch)

  key, batch = jax.random.key(0), {"x": np.ones((2, 2), np.float32)}
  assert requirements.defines(Called(), "__call__") and not requirements.defines(Bare(), "__call__")
  found = [initial.variables(m(), key, batch, lambda model, batch: model.touch(batch)) for m in (Bare, Called)]
  jax.tree.map(np.testing.assert_array_equal, *found)
  assert support(Bare()) == (0.0, 1.0)
  assert support(Bare(likelihood="of my own")) == (-np.inf, np.inf)
