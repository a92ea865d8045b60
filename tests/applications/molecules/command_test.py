"""The command `molecules` and the class MoleculeVAE: what they say and write, and mistakes in one sentence."""

import csv
import functools
import types

import jax
import numpy as np
import pytest

import dgm_jax
from dgm_jax import data
from dgm_jax.applications.molecules import command, page, search
from dgm_jax.applications.molecules.molecule_vae import INCOMPLETE, MoleculeVAE
from dgm_jax.configs import grammar_vae_equations
from dgm_jax.core import errors
from dgm_jax.data.files import tokenisation
from dgm_jax.data.splits import Splits
from dgm_jax.models.vae import sequence_vae
from dgm_jax.training import train
from helpers import own_options

pytest.importorskip("rdkit")
MOLECULES = ["CCO", "c1ccccc1", "CC(=O)O", "CCN", "C1CC1"]
SMALL = {"latent_dim": 2, "embedding_dim": 4, "encoder_args": {"hidden": (8,)}, "decoder_args": {"hidden": (8,)}}


def random_vae(splits, length):
  """A VAE with random parameters."""
  about = splits.about
  model = sequence_vae.Model((length,), num_tokens=len(about["vocabulary"]), grammar=about.get("grammar"), **SMALL)
  x = np.pad(splits.train["x"], ((0, 0), (0, length - splits.train["x"].shape[1])))
  params = jax.jit(model.init)(jax.random.key(0), {"x": x, "length": splits.train["length"]})["params"]
  flat, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(1), len(flat))
  params = tree.unflatten([a + 0.3 * jax.random.normal(k, a.shape) for a, k in zip(flat, keys, strict=True)])
  return MoleculeVAE(model, types.SimpleNamespace(params=params), about)


@functools.cache
def vae_of(kind):
  if kind == "equations":
    return random_vae(data.load("equations", num=30), 14)
  part = {"text": np.array(MOLECULES, object)}
  return random_vae(tokenisation.encode(Splits(part, None, part), kind, grammar="smiles"), 50 if kind == "rule" else 12)


@pytest.fixture(params=["rule", "selfies"])
def vae(request):
  return vae_of(request.param)


@pytest.fixture
def run(vae, monkeypatch):
  """The name of a run whose VAE is `vae`."""
  monkeypatch.setattr(MoleculeVAE, "of_run", classmethod(lambda cls, workdir, checkpoint: vae))
  return "run"


@pytest.mark.slow
def test_a_trained_run(tmp_path, capsys):
  results = train.train_and_evaluate(grammar_vae_equations.get_config("test,loss=elbo"), tmp_path / "vae")
  assert 0 <= results["test/strings_complete"] <= 1 and results["test/strings_log_px_z"] < 0
  capsys.readouterr()
  assert command.main(["generate", "--num=3", f"--workdir={tmp_path / 'vae'}"]) == 0
  assert len(capsys.readouterr().out.splitlines()) == 4
  found = dgm_jax.MoleculeVAE.of_run(tmp_path / "vae")
  assert found.latent_dim == 2 and not found.is_chemical


def test_codes_scores_and_draws(vae):
  codes = vae.encode(MOLECULES[:2])
  assert codes.mean.shape == (2, 2)
  assert [texts[0] for texts in vae.reconstruct(MOLECULES[:2])] == vae.decode(codes.mean)
  few, many = (vae.score(MOLECULES[:2], num_samples=k) for k in (20, 300))
  assert (np.abs(few.log_px - many.log_px) < 5 * few.stderr + 0.05).all()
  drawn = vae.generate(20, seed=1)
  assert drawn.text == vae.generate(20, seed=1).text
  for text, ok in zip(*drawn, strict=True):
    assert ok == vae.valid(text) and (text != INCOMPLETE or not ok)
  if vae._about["tokens"] == "selfies":
    assert all(ok for text, ok in zip(*drawn, strict=True) if text)  # every string of symbols is a molecule


def test_a_search_of_equations_and_of_molecules(vae):
  found = vae.optimise(MOLECULES, options=search.Options(1, 2, 3, 5, 2, 20))
  assert len(found) == 2 and all(f.text is None or vae.valid(f.text) for f in found)
  of_equations = vae_of("equations")
  assert not of_equations.is_chemical and of_equations.valid("1+x") and not of_equations.valid("1+")
  often = of_equations.decode_often(np.zeros((2, 2)), 4, 0)
  assert [len(texts) for texts in often] == [4, 4]


def test_every_command_shows_and_writes_what_it_found(run, vae, tmp_path, capsys):
  (tmp_path / "mine.smi").write_text("CCO ethanol\nCCN\n")
  flags, beam, file = [f"--workdir={run}"], "--beam=2", f"--file={tmp_path / 'mine.smi'}"
  for words in (["reconstruct", "--draws=1", "CCO"], ["interpolate", "CCO", "CCN", "--steps=3"]):
    out = tmp_path / f"{words[0]}.html"
    assert command.main([*words, beam, *flags, f"--out={out}"]) == 0
    text = out.read_text()
    assert text.startswith("<!doctype html>") and "<svg" in text and f"Page: {out}" in capsys.readouterr().out
  codes, scores = tmp_path / "codes.csv", tmp_path / "scores.csv"
  assert command.main(["encode", file, *flags, f"--out={codes}"]) == 0
  drawn = tmp_path / "drawn.smi"
  assert command.main(["generate", f"--codes={codes}", beam, *flags, f"--out={drawn}"]) == 0
  assert all(vae.valid(line) for line in drawn.read_text().splitlines())
  assert command.main(["generate", "--num=5", *flags, f"--out={tmp_path / 'drawn.csv'}"]) == 0
  assert len(list(csv.DictReader((tmp_path / "drawn.csv").open()))) == 5
  assert command.main(["score", file, *flags, f"--out={scores}", "--num_samples=20"]) == 0
  rows = list(csv.DictReader(scores.open()))
  assert [row["molecule"] for row in rows] == ["CCO", "CCN"] and float(rows[0]["stderr"]) >= 0
  best = tmp_path / "best.csv"
  search_flags = ["--rounds=1", "--batch=2", "--attempts=3", "--inducing=2"]
  assert command.main(["optimise", file, *flags, f"--out={best}", *search_flags]) == 0
  assert [row["round"] for row in csv.DictReader(best.open())] == ["1", "1"]
  codes.write_text(codes.read_text().replace(vae.fingerprint, "00000000"))
  with pytest.raises(errors.UserError, match="line 2: the code is of another model"):
    command.main(["generate", f"--codes={codes}", *flags])


@pytest.mark.parametrize("words,named", [
  (["reconstruct"], "reconstruct needs molecules"),
  (["reconstruct", "CC", ""], "molecule 2 is empty"),
  (["reconstruct", "CC", "--beam=0"], "--beam=0; it must be 1 or more"),
  (["interpolate", "CC"], "takes two molecules; there are 1"),
  (["interpolate", "CC", " "], "molecule 2 is empty"),
  (["interpolate", "CC", "CO", "--kind=round"], "linear, spherical"),
  (["generate", "CC"], "generate takes no molecules"),
  (["generate", "--out=x.txt"], "generate writes .smi or .csv or .html"),
  (["encode", "CC"], "name it with --out=TABLE.csv"),
  (["encode", "CC", "--out=none/x.csv"], "its folder does not exist"),
  (["score", "CC", "--out=taken.csv"], "taken.csv exists; --overwrite replaces it"),
  (["score", "--file=mine.smi", "--out=y.csv"], "mine.smi, line 2 is empty"),
  (["score", "--file=none.smi", "--out=y.csv"], "none.smi"),
  (["optimise", "CC", "--out=y.csv", "--method=best"], "ei, random"),
  (["optimise", "CC", "--out=y.csv", "--rounds=0"], "--rounds=0"),
  (["optimise", "CC", "--out=y.csv", "--attempts=0"], "--attempts=0; it must be 1 or more"),
  (["generate", "--beam=3"], "--beam is for the molecules of --codes"),
  (["generate", "--codes=x.csv", "--num=3"], "--num is for draws, not for the molecules of --codes"),
  (["score", "CC", "--out=y.csv", "CO"], "'CO': give all molecules in one place"),
  (["reconstruct", "CC"], "holds no run"),
])  # fmt: skip
def test_mistakes_in_the_command_are_found_before_the_run_is_loaded(tmp_path, monkeypatch, words, named):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "taken.csv").write_text("")
  (tmp_path / "mine.smi").write_text("CC\n\nCO\n")
  with pytest.raises(errors.UserError, match=named):
    command.main([*words, f"--workdir={tmp_path}"])
  assert not (tmp_path / "y.csv").exists()


COMMON = {"--help", "--workdir", "--out", "--checkpoint", "--overwrite"}
OWN = {
  "generate": {"--codes", "--num", "--temperature", "--seed", "--beam"},
  "reconstruct": {"--file", "--draws", "--seed", "--beam"},
  "interpolate": {"--file", "--steps", "--kind", "--beam"},
  "encode": {"--file"},
  "score": {"--file", "--num_samples", "--seed"},
  "optimise": {"--file", "--rounds", "--batch", "--attempts", "--inducing", "--method", "--seed"},
}


@pytest.mark.parametrize("name", OWN)
def test_the_help_of_a_command_has_its_own_options_alone(name, capsys):
  own_options.check_help(command.main, name, COMMON | OWN[name], capsys)


@pytest.mark.parametrize("words", [
  ["generate", "--file=mine.smi"],
  ["generate", "--rounds=2"],
  ["reconstruct", "CC", "--num=2"],
  ["interpolate", "CC", "CO", "--seed=1"],
  ["encode", "CC", "--beam=2"],
  ["score", "CC", "--codes=x.csv"],
  ["optimise", "CC", "--beam", "2"],
])  # fmt: skip
def test_options_of_other_commands_are_refused_in_a_sentence_with_the_choices(words):
  own_options.check_refusal(command.main, words, COMMON | OWN[words[0]])


@pytest.mark.parametrize("kind,line,named", [
  ("rule", "C1CC", "line 2 is no SMILES that RDKit accepts: 'C1CC'"),
  ("rule", "CC.O", "line 2 is a mixture"),
  ("rule", "[Si]C", r"line 2: 'Si\]C' at character 2|line 2: .*'\[Si\]C'"),
  ("rule", "CCCCCCCCCCCCCC", "line 2 has a derivation of 57 rules"),
  ("selfies", "CF", r"line 2: its token 2 is not among the \d+ of the run's alphabet: 'CF'"),
  ("selfies", "CCCCCCCCCCCCCC", "line 2 has 14 tokens; the run's have at most 11"),
])  # fmt: skip
def test_mistakes_in_molecules_name_the_line_and_write_nothing(tmp_path, monkeypatch, kind, line, named):
  monkeypatch.setattr(MoleculeVAE, "of_run", classmethod(lambda cls, workdir, checkpoint: vae_of(kind)))
  monkeypatch.chdir(tmp_path)
  (tmp_path / "mine.smi").write_text(f"CC\n{line}\n")
  with pytest.raises(errors.UserError, match=named) as raised:
    command.main(["score", "--workdir=run", "--file=mine.smi", "--out=y.csv"])
  assert [p.name for p in tmp_path.iterdir()] == ["mine.smi"] and "\n" not in str(raised.value)


def test_another_kind_of_run_or_version_is_refused():
  with pytest.raises(errors.UserError, match="takes runs of the model 'sequence_vae'"):
    dgm_jax.MoleculeVAE(object(), None, {})
  of = vae_of("selfies")
  about = dict(of._about) | {"versions": {"selfies": "1.0.0"}}
  with pytest.raises(errors.UserError, match=r"written by selfies 1.0.0; this is"):
    MoleculeVAE(of._model, types.SimpleNamespace(params={}), about)


def test_pages_escape_what_they_show():
  text = page.as_html("a < b", "c", [page.Part("d & e", [("1", "<script>")])])
  assert "<script>" not in text and "d &amp; e" in text
