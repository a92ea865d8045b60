"""Every config takes the user's own data, or says in one sentence why its model cannot."""

import json

import numpy as np
import pytest
from ml_collections import ConfigDict

from dgm_jax.core import config_args, errors
from dgm_jax.training import build, train
from helpers import tables

N = 130  # 104 training examples
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "omicron"]

# config: what it is trained on here.  Of the configs with `array` the first kind is built by the fast test.
_BINARY = (
  "aevb",
  "bernoulli_mixture",
  "diffusion",
  "dlgm",
  "flow_vae",
  "iwae",
  "ladder_vae",
  "made",
  "nade",
  "planar_vae",
  "sbn",
  "vae",
)
KINDS = {f"{name}_mnist": ("binary", "images") for name in (*_BINARY, "vae", "vq_vae")}
KINDS |= dict.fromkeys(("kmeans_mnist", "linear_vae_mnist", "ppca_mnist"), ("table", "images", "binary"))
KINDS |= dict.fromkeys(("mixture_uci", "miwae_uci", "not_miwae_uci", "uci_regression"), ("table",))
KINDS |= dict.fromkeys(
  (
    "pixelcnn_mnist",
    "pixelcnn_cifar10",
    "glow_cifar10",
    "densities_fashion",
    "conv_vae_mnist",
    "miwae_mnist",
    "gaussian_vae_frey",
    "course_mnist",
    "cvae_mnist",
  ),
  ("images",),
)
KINDS |= {"orderless_mnist": ("binary",), "pixel_vae_mnist": ("images",), "made_binary": ("binary",)}
KINDS |= dict.fromkeys(("maf_mnist", "realnvp_mnist", "flow_uci", "flow_plane", "made_uci"), ("table",))
KINDS |= {"classifier_mnist": ("classes", "images"), "m2_mnist": ("classes",)}
KINDS |= dict.fromkeys(("hmm_text", "lstm_text", "sentence_vae_text", "transformer_text"), ("text",))
KINDS |= dict.fromkeys(("grammar_vae_equations", "selfies_vae_moses", "molecule_vae"), ("text",))
KINDS |= dict.fromkeys(("dcgan_mnist", "sngan_cifar10", "biggan_cifar10", "biggan_imagenet"), ("images",))
KINDS |= {"gan_grid": ("table",)} | dict.fromkeys(("goodfellow_mnist", "bigan_mnist"), ("images", "binary"))
KINDS |= {"samples_mnist": ("images", "binary")}
KINDS |= {"colouriser": ("photographs",)}
KINDS |= dict.fromkeys(("flow_matching_mnist", "vdm_mnist", "densities_mnist"), ("images",))
KINDS |= dict.fromkeys(("flow_matching_plane", "ffjord_plane"), ("table",))
KINDS |= dict.fromkeys(("lda_text", "prodlda_text"), ("bag_of_words", "counts"))
KINDS |= dict.fromkeys(("scvi_simulated", "scvi_cells"), ("counts",))
REFUSES = {"cubic_toy": "take uci_regression:data=array"}
REFUSES |= {"world_v": "take conv_vae_mnist:data=array", "world_m": "take lstm_text:data=text"}
REFUSES |= dict.fromkeys(("hmm_text", "lstm_text", "sentence_vae_text", "transformer_text"), "take data=text")
REFUSES |= {"grammar_vae_equations": "take data=text"}
REFUSES |= dict.fromkeys(("selfies_vae_moses", "molecule_vae"), "take data=molecules")
OPTIONS = {  # of config.data, beside the path
  "table": {"target": "y", "missing": "?"},
  "classes": {"target": "kind", "columns": "a,b,c", "separator": ";"},
  "text": {"tokens": "letter"},
  ("sentence_vae_text", "text"): {"vocabulary_size": 10},
  "bag_of_words": {"min_documents": 1, "max_share": 1.0},
}
ROWS = [(name, kind) for name, kinds in KINDS.items() for kind in kinds]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  """{kind: path} of small files, in the formats of users."""
  folder, g = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
  y = np.arange(N) % 10
  np.savez(folder / "photographs.npz", x=g.integers(0, 256, (N, 16, 16, 3), np.uint8))
  images = (255 * g.beta(0.2, 0.4, (N, 12, 12))).astype(np.uint8)
  np.savez(folder / "images.npz", x=images, y=y)
  z = g.normal(size=(N, 1))
  np.savez(folder / "binary.npz", x=(z + g.normal(size=(N, 9)) > 0).astype(np.uint8))
  x = z + 0.5 * g.normal(size=(N, 4))
  lines = ["a,b,c,y", *(",".join(f"{v:.3f}" for v in row) for row in x)]
  (folder / "table.csv").write_text("\n".join(lines) + "\n")
  kinds = [f"{row[0]:.3f};{row[1]:.3f};{row[2]:.3f};kind {k % 3};-" for row, k in zip(x, y, strict=True)]
  (folder / "classes.csv").write_text("\n".join(["a;b;c;kind;note", *kinds]) + "\n")
  np.savez(folder / "counts.npz", x=g.poisson(1.5, (N, 12)))
  (folder / "texts").mkdir()
  for i in range(N):
    (folder / "texts" / f"{i}.txt").write_text(" ".join(g.choice(WORDS, 20)) + "\n")
  found = {p.stem: p for p in folder.iterdir()}
  return found | {"text": found["texts"], "bag_of_words": found["texts"], "data_dir": folder / "data"}


def config(name: str, kind: str, files: dict) -> ConfigDict:
  """The config for the command line --config=NAME:test,data=... --config.data.path=..."""
  data = kind if kind in ("text", "bag_of_words") else "array"
  made = config_args.load(f"{name}:test,data={data}")
  with made.unlocked():
    made.data.update(path=str(files[kind]), **OPTIONS.get((name, kind), OPTIONS.get(kind, {})))
    if data == "array":
      made.data.data_dir = str(files["data_dir"])
  return made


def test_every_config_is_in_the_table():
  assert set(KINDS) | set(REFUSES) == {p.stem for p in tables.CONFIGS}


@pytest.mark.parametrize("name", KINDS)
def test_every_config_builds_with_own_data(name, files):
  experiment = build.build(config(name, KINDS[name][0], files))
  assert experiment.num_steps == 40
  num_train = len(experiment.splits.train["x"])
  assert 0 < experiment.batch_size <= num_train
  assert num_train < N or "windows" in experiment.splits.about


@pytest.mark.parametrize("name,sentence", REFUSES.items())
def test_a_model_that_cannot_use_a_table_says_so(name, sentence):
  """--config.data.name=array is the argument data=array."""
  with pytest.raises(errors.UserError, match=sentence) as raised:
    config_args.checked_arguments(["train", f"--config={name}:test", "--config.data.name=array"])
  assert "\n" not in str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize("name,kind", ROWS)
def test_every_config_trains_on_own_data(name, kind, files, tmp_path):
  results = train.train_and_evaluate(config(name, kind, files), tmp_path / "run")
  assert results["step"] == 40
  assert all(np.isfinite(v) for k, v in results.items() if k.startswith("test/") and isinstance(v, float))
  assert json.loads((tmp_path / "run" / "config.json").read_text())["data"]["path"] == str(files[kind])


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("kind", ["binary", "images", "table", "classes", "counts", "text", "bag_of_words"])
def test_data_that_do_not_fit_a_model_get_one_sentence(name, kind, files):
  try:
    build.build(config(name, kind, files))
  except errors.UserError as e:
    assert "\n" not in str(e)
    assert kind not in KINDS[name]
