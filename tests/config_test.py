"""Every config runs with `test`, names its paper and its command, and rejects unknown arguments."""

import importlib.util
import json

import numpy as np
import pytest

from dgm_jax.configs import base
from dgm_jax.core import config_args, errors
from dgm_jax.data.files import tokens
from dgm_jax.training import build, checks, train
from helpers import tables

every_config = pytest.mark.parametrize("path", tables.CONFIGS, ids=lambda p: p.stem)


def load(path):
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_every_config_is_listed():
  files = {p.stem for p in (tables.ROOT / "configs").glob("*.py")}
  assert files - {"__init__", "base"} == {p.stem for p in tables.CONFIGS} == set(tables.CONFIG_ARGUMENTS)


def test_base_is_not_offered_as_a_config():
  folder = tables.ROOT / "configs"
  for name in ("base", "configs/base.py", f"{folder / 'base.py'}:test"):
    with pytest.raises(errors.UserError, match=r"Config 'base' needs model=\.\.\."):
      config_args.load(name)
  with pytest.raises(errors.UserError, match="Unknown config file") as raised:
    config_args.load(f"{folder / 'bases.py'}:test")
  sentence = str(raised.value)
  assert "configs/iwae_mnist.py" in sentence
  assert "configs/base.py" not in sentence and "__init__.py" not in sentence


@every_config
def test_every_config_has_the_settings_of_base(path):
  get_config = load(path).get_config
  for arg in ("", "test"):
    assert list(get_config(arg)) == list(base.default())


# Training examples, without those for validation; a million where it is not said.
NUM_TRAIN = base.NUM_TRAIN | {"cifar10/small": 3500, "cifar10/full": 45_000}
QUICK = {"colouriser": ["stage=discriminator", "stage=both", "net=nazeri2018", "stage=both,net=nazeri2018"]}


@pytest.mark.parametrize("path", [p for p in tables.CONFIGS if p.stem != "course_mnist"], ids=lambda p: p.stem)
def test_the_numbers_of_quick_fit_together(path):
  for arg in {"", *tables.CONFIG_ARGUMENTS[path.stem], *QUICK.get(path.stem, [])}:
    config = load(path).get_config(",".join(filter(None, ["quick", arg])))
    n = NUM_TRAIN.get(config.data.name, 1_000_000)
    checks.check_numbers(config, n, build._players(config)[1])
    assert checks.num_steps(config, n, build._players(config)[1]) >= 1


def test_quick_colours_are_quicker():
  for arg in tables.CONFIG_ARGUMENTS["colouriser"] + QUICK["colouriser"]:
    quick, full = (config_args.load(f"colouriser:{','.join(filter(None, [a, arg]))}") for a in ("quick", ""))
    assert checks.num_steps(quick, 3500) < checks.num_steps(full, 3500)


@every_config
def test_docstring_has_paper_number_and_command(path):
  text = load(path).__doc__
  assert "Paper: https://" in text
  assert "NLL" in text
  assert f"python -m dgm_jax.main --config=configs/{path.name}" in text


@every_config
def test_config_is_locked(path):
  with pytest.raises((KeyError, AttributeError)):
    load(path).get_config().learning_rate = 1


SLOW = {  # arguments that take a minute to compile; their parts have their own tests
  "stage=both,loss=bins",
  "method=aggressive",
  "net=lin2018,pack=2",
  "norm=act",
  "online,c=5",
  "net=residual,k=5",
  "prior=conditional,k=5",
  "objective=simple,schedule=cosine",
  "layers=2,reading=code",
  "gradient=rws,k=5",
  "q=iaf",
  "iota=constant",
  "process=linear,decoder=linear,iota=constant",
  "method=wake_sleep,nz=2",
  "posterior=diagonal,nz=2",
  "net=conv,method=dropout",
  "method=bayes",
  "method=mse",
  "method=dropout",
  "method=nmf",
  "positions=rotary",
  "prior=made",
  "cell=gru,layers=2",
  "method=lm",
  "inputless,method=plain",
  "net=transformer,method=cyclical",
  "grey,net=gated",
  "net=row_lstm",
  "model=dcgan",
  "model=diffusion",
  "library=observed,k=3,likelihood=nb",
  "model=scanvi,likelihood=nb",
  "by=character,loss=elbo,decoder=autoregressive",
  "tokens=rule",
}
_LONG = {"conv_vae_mnist", "diffusion_mnist", "flow_vae_mnist", "dlgm_mnist", "cvae_mnist", "ladder_vae_mnist"}
_LONG |= {"miwae_mnist", "mixture_uci", "kmeans_mnist", "prodlda_text", "lda_text", "hmm_text", "not_miwae_uci"}
_LONG |= {
  "scvi_cells",
  "maf_mnist",
  "flow_uci",
  "flow_plane",
  "glow_cifar10",
  "densities_fashion",
  "made_binary",
  "made_uci",
  "orderless_mnist",
  "sbn_mnist",
  "planar_vae_mnist",
  "m2_mnist",
  "pixel_vae_mnist",
  "pixelcnn_cifar10",
  "dcgan_mnist",
  "sngan_cifar10",
  "biggan_cifar10",
  "biggan_imagenet",
  "selfies_vae_moses",
  "world_m",
  "world_v",
  "grammar_vae_equations",
  "scvi_simulated",
  "colouriser",
  "samples_mnist",
  "transformer_text",
  "pixelcnn_mnist",
  "goodfellow_mnist",
  "bigan_mnist",
  "aevb_mnist",
}
_LONG |= {"flow_matching_mnist", "flow_matching_plane", "ffjord_plane", "vdm_mnist", "densities_mnist"}
_WITHOUT_PICTURES = {"gan_grid", "scvi_simulated", "scvi_cells", "world_m"}
# main_test runs iwae_mnist; of the rest another config has the same parts
_REPEATED = {
  ("iwae_mnist", ""),
  ("vae_mnist", "layers=2"),
  ("gaussian_vae_frey", ""),
  ("made_mnist", "masks=3"),
  ("ppca_mnist", "d=5,by=gradient"),
  ("bernoulli_mixture_mnist", ""),
  ("linear_vae_mnist", "d=8"),
}
RUNS = [
  pytest.param(p, a, marks=[pytest.mark.slow] * (a in SLOW or p.stem in _LONG or (p.stem, a) in _REPEATED))
  for p in tables.CONFIGS
  for a in tables.CONFIG_ARGUMENTS[p.stem]
]


@pytest.mark.parametrize("path,arg", RUNS, ids=lambda v: getattr(v, "stem", v))
def test_every_config_runs(path, arg, tmp_path):
  config = load(path).get_config(",".join(filter(None, ["test", arg])))
  results = train.train_and_evaluate(config, tmp_path / "run")
  assert results == json.loads((tmp_path / "run" / "results.json").read_text())
  assert results["transforms"] == list(config.data.transforms)
  if "importance_sampling" in config.evaluate:
    assert results["test/likelihood_samples"] == 20
    of_mask = 784 * np.log(2) if path.stem == "not_miwae_uci" else 0.0  # its log p(x, m) has log p(m|x), too
    assert results["test/nll"] < 400 + of_mask
    assert results["test/elbo"] < results["test/log_px"]
  elif config.principle == "supervised":
    assert results["test/nll"] == pytest.approx(-results["test/log_py"])
    assert ("test/rmse" in results) != ("test/ece" in results and 0 < results["test/auroc_rotated"] < 1)
  else:
    assert config.principle in ("own_bound", "em", "maximum_likelihood", "adversarial")
    assert any(name in results for name in ("test/elbo", "test/distortion", "test/log_px", "test/d_real"))
  files = {str(p.relative_to(tmp_path / "run")) for p in (tmp_path / "run").rglob("*") if p.is_file()}
  assert {"config.json", "run.json", "metrics.jsonl"} <= files
  without = config.principle == "maximum_likelihood" or config.model.name in (
    "gan", "dcgan", "residual_gan", "biggan", "flow_matching", "variational_diffusion",
  )  # fmt: skip
  names = ("samples",) if without else ("samples", "reconstructions")
  pictures = {f"figures/{name}_00000040.png" for name in names}
  strings = ("grammar_vae_equations", "selfies_vae_moses", "molecule_vae")
  is_text = path.stem in ("hmm_text", "lstm_text", "sentence_vae_text", "transformer_text", *strings)
  assert pictures <= files or config.principle == "supervised" or is_text or path.stem in _WITHOUT_PICTURES
  assert "figures/learning_curves.png" in files
  if is_text:
    text = (tmp_path / "run" / "figures" / "samples_00000040.txt").read_text()
    by_line = path.stem in ("hmm_text", "sentence_vae_text", *strings)
    assert len(text.removesuffix("\n").split("\n") if by_line else text.split(f"\n{tokens.BETWEEN}\n")) == 8
  if "bits_per_character" in config.evaluate:
    assert 2 < results["test/bits_per_character"] < 6.5
    assert results["test/normalisation"] == pytest.approx(1, abs=1e-4)
    assert results["test/characters"] + 1 == sum(len(line.strip()) + 1 for line in _last_lines())
  assert any(f.startswith("tensorboard/events") for f in files)
  (start,) = json.loads((tmp_path / "run" / "run.json").read_text())
  assert {"command", "git_commit", "git_dirty", "versions", "devices", "seed", "wall_s"} <= start.keys()
  assert start["wall_s"]["total"] > 0
  about, *rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
  assert about.items() <= results.items()
  assert [row["step"] for row in rows] == [0, 10, 20, 30, 40]


def _last_lines():
  """The lines of the licence that the configs of windows hold out."""
  text = (tables.ROOT / "dgm_jax" / "data" / "sets" / "licence.txt").read_text()
  lines = [line for line in text.split("\n") if line.strip()]
  return lines[-round(0.1 * len(lines)) :]


def test_arguments_compose():
  spec = {"k": 5, "layers": (1, 2), "data": ("mnist", "mnist5k"), "quick": False}
  a = config_args.parse("quick,k=50,data=mnist5k", **spec)
  assert (a.k, a.layers, a.data, a.quick, a.given) == (50, 1, "mnist5k", True, {"quick", "k", "data"})
  assert config_args.parse("", **spec).k == config_args.parse(None, **spec).k == 5


@pytest.mark.parametrize("arg,named", [
  ("quik", "Did you mean 'quick'"),
  ("k", "needs a value: k="),
  ("k=many", "'many' must be an integer"),
  ("layers=3", "Choices: 1, 2"),
])  # fmt: skip
def test_bad_arguments_are_named(arg, named):
  with pytest.raises(errors.UserError, match=named):
    config_args.parse(arg, k=5, layers=(1, 2), quick=False)


@pytest.mark.parametrize(
  "arg,name", [("", "mnist"), ("test", "mnist5k"), ("quick", "mnist5k"), ("quick,data=mnist", "mnist")]
)
def test_small_runs_default_to_the_embedded_digits(arg, name):
  assert load(tables.ROOT / "configs" / "iwae_mnist.py").get_config(arg).data.name == name
