"""The registry: every model, principle and evaluation by its file's name, found without importing anything."""

import pathlib
import re
import subprocess
import sys
import types

import pytest

from dgm_jax import evaluate, models, principles
from dgm_jax.core import errors, registry
from helpers import tables

pytestmark = pytest.mark.smoke

PACKAGES = {"model": models, "principle": principles, "evaluation": evaluate}


@pytest.mark.parametrize("kind", PACKAGES)
def test_names_are_unique_and_none_is_a_base(kind):
  [folder] = PACKAGES[kind].__path__
  defines = re.compile(rf"^{registry.DEFINITIONS[kind]}\b", re.MULTILINE)
  files = [path for path in pathlib.Path(folder).rglob("*.py") if defines.search(path.read_text())]
  found = registry.entries(PACKAGES[kind], kind)
  assert sorted(path.stem for path in files) == sorted(found)  # two files of a name would be two here and one there
  assert not {"base", "options", "paired", "__init__"} & found.keys()


def test_the_choices_are_those_of_before_under_their_present_names():
  assert set(registry.entries(principles, "principle")) == {
    "adversarial",
    "em",
    "latent",
    "maximum_likelihood",
    "monte_carlo_em",
    "own_bound",
    "supervised",
  }
  assert {"vae", "dlgm", "gaussian_mixture", "predictor", "neural_topics"} <= set(registry.entries(models, "model"))
  assert {"importance_sampling", "ais", "gaps", "active_units"} <= set(registry.entries(evaluate, "evaluation"))
  assert not {"compare", "ensemble", "latent_figures"} & set(registry.entries(evaluate, "evaluation"))


@pytest.mark.parametrize("kind", PACKAGES)
def test_every_entry_can_be_imported(kind):
  attribute = registry.DEFINITIONS[kind].split()[1]
  for name in registry.entries(PACKAGES[kind], kind):
    assert hasattr(registry.module(PACKAGES[kind], kind, name), attribute)


def test_two_files_of_one_name_are_refused(tmp_path):
  for folder in ("a", "b"):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "twin.py").write_text("class Model:\n  pass\n")
  package = types.SimpleNamespace(__path__=[str(tmp_path)], __name__="planted")
  with pytest.raises(errors.UserError, match=r"model 'twin' is defined twice: in .*a.twin\.py and .*b.twin\.py"):
    registry.entries(package, "model")


def test_an_unknown_name_gets_the_nearest():
  with pytest.raises(errors.UserError, match=r"Unknown model 'vea'\. Did you mean 'vae'"):
    registry.module(models, "model", "vea")


def test_a_file_of_that_name_in_the_current_folder_is_pointed_out(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "mine.py").write_text("class Model:\n  pass\n")
  with pytest.raises(errors.UserError, match=r"no model 'mine' in dgm_jax\.models; .* name it 'mine\.py'"):
    registry.module(models, "model", "mine")
  assert registry.definition(models, "model", "mine.py").__name__ == "Model"


def test_listing_imports_nothing():
  code = (
    "import sys; from dgm_jax import models; from dgm_jax.core import registry; registry.entries(models, 'model'); "
    "print(*[m for m in sys.modules if m.startswith('dgm_jax.models.') or m in ('flax', 'distrax')])"
  )
  done = subprocess.run([sys.executable, "-c", code], cwd=tables.ROOT, capture_output=True, text=True, check=True)
  assert done.stdout.split() == []
