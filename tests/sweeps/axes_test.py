"""Axes are multiplied, zipped and chained; run names are stable; values have the config's types."""

import math
import pathlib

import pytest
from absl import flags
from ml_collections import config_flags

from dgm_jax.core import errors
from dgm_jax.sweeps import axes, axis_texts, definition
from helpers import tables

pytestmark = pytest.mark.smoke

IWAE = str(tables.ROOT / "configs/iwae_mnist.py")
TEST = f"{IWAE}:test"


def test_products_have_every_combination_once():
  found = axes.product({"a": [1, 2], "b": ["x", "y"]}, [{"c": 0}, {"c": 1}, {"c": 2}])
  assert len(found) == 12
  assert len({tuple(o.items()) for o in found}) == 12


def test_nested_products_are_products_of_all_axes():
  a, b, c = {"a": [1, 2]}, {"b": [3, 4]}, {"c": range(3)}
  assert axes.product(axes.product(a, b), c) == axes.product(a, b, c) == axes.product(a | b | c)


def test_zip_pairs_values_and_chain_concatenates():
  zipped = axes.zip_({"a": [1, 2], "b": [3, 4]})
  assert zipped == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
  assert axes.chain(zipped, [{"c": 0}]) == [*zipped, {"c": 0}]


def test_more_draws_or_axes_do_not_change_the_other_draws():
  space = {"optim.lr": axes.log_uniform(1e-4, 1e-2), "batch_size": [50, 100]}
  few, many = axes.random(5, 0, space), axes.random(50, 0, space | {"seed": axes.integers(0, 9)})
  assert few == [{k: o[k] for k in space} for o in many[:5]]
  assert few != axes.random(5, 1, space)
  logs = [math.log10(o["optim.lr"]) for o in many]
  assert -4 <= min(logs) < -3.5
  assert -2.5 < max(logs) <= -2


@pytest.mark.parametrize(
  "make, sentence",
  [
    (lambda: axes.zip_({"a": [1, 2], "b": [1, 2, 3]}), "a has 2, b has 3"),
    (lambda: axes.product({"a": []}), "Axis 'a' has no values"),
    (lambda: axes.product({"a": [1]}, {"a": [2]}), "Axis 'a' is given twice"),
    (lambda: axes.log_uniform(0, 1), "0 < low < high"),
    (lambda: axis_texts.parse_values("seed", "3:3"), "range 3:3 is empty"),
    (lambda: axis_texts.parse_values("a", "1,,2"), "a value is missing"),
    (
      lambda: axis_texts.parse_values("seed", "0:100000000000"),
      "has 100,000,000,000 values; .* at most 1,000,000 runs",
    ),
    (lambda: axis_texts.parse_values("seed", "0:1e11"), "0:1e11: the ends of a range are integers"),
    (lambda: axes.product({"seed": range(10**11)}), "'seed' has more values than"),
    (lambda: axes.product({"seed": range(2000), "a": range(2000)}), "has 4,000,000 runs; .* at most 1,000,000"),
    (lambda: axis_texts.parse_values("a", "loguniform(1,2)"), "Did you mean 'log_uniform'"),
    (lambda: axis_texts.parse_values("a", "uniform(1)"), "two numbers are needed"),
    (lambda: axes.space_of([{"a": 1, "b": 1}, {"a": 2, "b": 2}]), "full product of its axes"),
  ],
)
def test_invalid_axes_raise(make, sentence):
  with pytest.raises(errors.UserError, match=sentence.replace("(", r"\(")):
    make()


@pytest.mark.parametrize(
  "text, values",
  [
    ("1e-4,1e-3", ["1e-4", "1e-3"]),
    ("0:3", [0, 1, 2]),
    ("0:2,7", [0, 1, "7"]),
    ("(1,2),(3,)", ["(1,2)", "(3,)"]),
    ("log_uniform(1e-4,1e-2)", [axes.log_uniform(1e-4, 1e-2)]),
  ],
)
def test_command_line_values_are_parsed(text, values):
  assert axis_texts.parse_values("a", text) == values


def test_run_names_depend_only_on_the_overrides_and_are_unique():
  assert axes.run_name({"seed": 3, "optim.lr": 1e-3}) == axes.run_name({"optim.lr": 1e-3, "seed": 3})
  assert axes.run_name({"seed": 3, "optim.lr": 1e-3}) == "optim.lr=0.001,seed=3"
  odd = [{"a": "x/y"}, {"a": "x:y"}, {"a": "x y"}, {"a": "x" * 300}, {"a": "x" * 299 + "y"}, {}, {"a": (1, 2)}]
  names = [axes.run_name(o) for o in odd]
  assert len(set(names)) == len(odd)
  assert all(len(n) <= 100 and pathlib.PurePosixPath(n).name == n and " " not in n and ":" not in n for n in names)


@pytest.mark.parametrize(
  "path, text, value",
  [
    ("seed", "7", 7),
    ("optim.lr", "1e-3", 0.001),
    ("optim.lr", 1, 1.0),
    ("optim.decay_biases", "true", True),
    ("objective.bound", "elbo", "elbo"),
    ("model.args.hidden", "(8,)", (8,)),
    ("max_minutes", "3", 3.0),
    ("num_epochs", "2", 2),
  ],
)
def test_values_have_the_types_of_the_config(path, text, value):
  run = definition.make_run(TEST, {}, {path: text})
  assert run.overrides == {path: value}
  assert type(run.overrides[path]) is type(value)


@pytest.mark.parametrize(
  "overrides, sentence",
  [
    ({"optim.lrr": 1}, "Did you mean 'lr'"),
    ({"seed.x": 1}, "config.seed is a value"),
    ({"seed": "1e-3"}, "'1e-3' is not of the config's type int"),
    ({"seed": 1.5}, "is not of the config's type int"),
    ({"optim.lr": "fast"}, "'fast' is not of the config's type float"),
    ({"optim.lr": True}, "is not of the config's type float"),
    ({"optim.decay_biases": "2"}, "is not of the config's type bool"),
    ({"model.args.hidden": "8"}, "is not of the config's type tuple"),
    ({"arg.kk": 5}, "Did you mean 'k'"),
    ({"optim.lr": axes.log_uniform(1e-4, 1)}, "but a sweep needs values"),
    ({"batch_size": axes.log_uniform(1, 4)}, "does not draw values of the config's type int"),
  ],
)
def test_invalid_overrides_raise(overrides, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    definition.make_run(TEST, {}, overrides)


def test_empty_sweeps_and_duplicate_runs_raise():
  with pytest.raises(errors.UserError, match="empty"):
    definition.make_runs(TEST, {}, [])
  with pytest.raises(errors.UserError, match=r"'optim.lr=0.001' 2 times"):
    definition.make_runs(TEST, {}, [{"optim.lr": 1e-3}, {"optim.lr": "1e-3"}])
  with pytest.raises(errors.UserError, match="give only one of them"):
    definition.make_runs(TEST, {"seed": 1}, [{"seed": 2}])


def test_command_line_axes_multiply_the_sweep_of_the_config_and_replace_its_axes(tmp_path):
  config = tmp_path / "mine.py"
  config.write_text(
    "from dgm_jax.configs.iwae_mnist import get_config\n"
    "def sweep():\n  return [{'seed': 0, 'optim.lr': 0.1}, {'seed': 1, 'optim.lr': 0.1}]\n"
    "def sweep_none():\n  return []\n"
  )
  assert len(definition.overrides_of(str(config), "", {"batch_size": ["20", "50"]})) == 4
  assert definition.overrides_of(str(config), "", {"seed": [5]}) == [{"optim.lr": 0.1, "seed": 5}]
  with pytest.raises(errors.UserError, match=r"sweep_none\(\) of .* is empty"):
    definition.overrides_of(str(config), "none")
  with pytest.raises(errors.UserError, match="Choices: none"):
    definition.overrides_of(str(config), "all")


@pytest.mark.parametrize(
  "overrides",
  [
    {"optim.lr": 0.1 + 0.2, "seed": 3},
    {"model.args.hidden": "(16,8)", "data.transforms": "('binarize:threshold',)"},
    {"arg.k": 5, "arg.layers": 2, "objective.gradient": "dreg"},
    {"data.name": "mnist5k", "num_epochs": 3, "optim.decay_biases": True},
  ],
)
def test_the_command_of_a_run_reproduces_its_config(overrides, monkeypatch):
  run = definition.make_run(TEST, {"log_every": "20"}, overrides)
  argv = ["main", *run.command[3:]]
  monkeypatch.setattr("sys.argv", argv)  # where config_flags looks for --config.PATH
  own = flags.FlagValues()
  config_flags.DEFINE_config_file("config", None, "", lock_config=True, flag_values=own)
  own(argv)
  assert own.config.to_dict() == run.config


@pytest.mark.parametrize("file", ["iwae_mnist", "vae_mnist", "conv_vae_mnist"])
def test_sweeps_of_the_configs_are_valid(file):
  path = str(tables.ROOT / f"configs/{file}.py")
  names = [k.removeprefix("sweep_") for k in definition.config_args.functions(path) if k.startswith("sweep_")]
  assert names
  for name in ["", *names]:
    assert len(definition.make_runs(f"{path}:test", {}, definition.overrides_of(path, name))) >= 6


def test_the_sweep_of_table_1_has_all_cells():
  runs = definition.make_runs(IWAE, {}, definition.overrides_of(IWAE, "table1"))
  cells = {(run.config["model"]["name"], run.config["objective"]["num_samples"]) for run in runs}
  assert cells == {(model, k) for model in ("vae", "dlgm") for k in (1, 5, 50)}
