"""The command `sentences` and the class SentenceVAE: what they say, and mistakes in one sentence."""

import csv
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dgm_jax
from dgm_jax import data
from dgm_jax.applications.sentences import command, page, paths, sequences
from dgm_jax.applications.sentences.sentence_vae import Scores, SentenceVAE, perplexity
from dgm_jax.configs import sentence_vae_text
from dgm_jax.core import errors
from dgm_jax.models.vae import sequence_vae
from dgm_jax.training import train
from helpers import own_options

WORDS = ["w0 w1 w2", "w3 w4"]


@pytest.fixture(scope="module")
def vae():
  """A VAE of simulated sentences with random parameters."""
  splits = data.load("simulated_text", train_size=9, valid_size=5, test_size=5, num_words=6, length=6, hidden=8)
  small = {"hidden": (8,)}
  model = sequence_vae.Model(
    (6,), num_tokens=9, latent_dim=2, embedding_dim=4, encoder_args=small, decoder_args=small
  )  # fmt: skip
  params = jax.jit(model.init)(jax.random.key(0), {"x": splits.train["x"], "length": splits.train["length"]})["params"]
  flat, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(1), len(flat))
  params = tree.unflatten([a + 0.5 * jax.random.normal(k, a.shape) for a, k in zip(flat, keys, strict=True)])
  return SentenceVAE(model, types.SimpleNamespace(params=params), splits.about)


@pytest.fixture
def run(vae, monkeypatch):
  """The name of a run whose VAE is `vae`."""
  monkeypatch.setattr(SentenceVAE, "of_run", classmethod(lambda cls, workdir, checkpoint: vae))
  return "run"


@pytest.mark.slow
def test_a_trained_run(tmp_path, capsys):
  results = train.train_and_evaluate(sentence_vae_text.get_config("test"), tmp_path / "vae")
  assert results["test/perplexity"] == pytest.approx(np.exp(results["test/nats_per_token"]))
  capsys.readouterr()
  assert command.main(["sample", "--num=3", f"--workdir={tmp_path / 'vae'}"]) == 0
  assert len(capsys.readouterr().out.splitlines()) == 4
  found = dgm_jax.SentenceVAE.of_run(tmp_path / "vae")
  assert found.latent_dim == 2 and "w0" in found.vocabulary


def test_paths_have_their_ends_and_norms():
  a, b = jnp.asarray([2.0, 0.0]), jnp.asarray([0.0, 1.0])
  for kind in paths.KINDS:
    found = paths.between(a, b, 5, kind)
    np.testing.assert_allclose(found[jnp.asarray([0, -1])], jnp.stack([a, b]), atol=1e-6)
  np.testing.assert_allclose(paths.between(a, b, 3)[1], [1.0, 0.5])
  np.testing.assert_allclose(paths.between(a, 2 * b, 5, "spherical") ** 2 @ jnp.ones(2), 4 * np.ones(5), rtol=1e-5)
  np.testing.assert_allclose(paths.between(a, 2 * a, 3, "spherical")[1], 1.5 * a, rtol=1e-5)
  for steps, kind, named in ((1, "linear", "steps = 1"), (3, "round", "linear, spherical")):
    with pytest.raises(errors.UserError, match=named):
      paths.between(a, b, steps, kind)


def test_codes_reconstructions_and_paths_agree(vae):
  codes = vae.encode(WORDS)
  assert codes.mean.shape == codes.deviation.shape == (2, vae.latent_dim)
  greedy = vae.decode(codes.mean, beam=1)
  found = vae.reconstruct(WORDS, draws=2, beam=1)
  assert [texts[0] for texts in found] == greedy and [len(texts) for texts in found] == [3, 3]
  path = vae.interpolate(*WORDS, steps=4, beam=1)
  assert [path[0], path[-1]] == greedy and len(path) == 4
  np.testing.assert_allclose(vae.encode(WORDS[::-1]).mean[::-1], codes.mean, atol=1e-6)


def test_scores_and_draws(vae):
  few, many = (vae.score(WORDS, num_samples=k) for k in (20, 500))
  assert (np.abs(few.log_px - many.log_px) < 5 * few.stderr + 0.05).all()
  np.testing.assert_array_equal(few.length, [4, 3])
  assert vae.sample(5, seed=1) == vae.sample(5, seed=1) != vae.sample(5, seed=2)


def test_a_completion_keeps_the_beginning(vae):
  for c, line in zip(vae.complete(["w0 w1 w2 w3", "w4 w5"], share=0.5), ["w0 w1", "w4"], strict=True):
    assert c.known == line and c.text.startswith(line) and c.log_px_z < 0
  with pytest.raises(errors.UserError, match=r"sentence 1: share = 0.2 hides its only word"):
    vae.complete(["w1"])
  with pytest.raises(errors.UserError, match=r"sentence 1: share = 0.9 hides all its 5 words"):
    vae.complete(["w1 w2 w3 w4 w5"], share=0.9)


def test_every_command_shows_what_it_found(run, tmp_path, capsys):
  (tmp_path / "lines.txt").write_text("w0 w1\nw2 <b>\n")
  flags, beam, file = [f"--workdir={run}"], "--beam=2", f"--file={tmp_path / 'lines.txt'}"
  for words in (
    ["sample", "--num=3"],
    ["reconstruct", "--draws=1", "w0 w1", beam],
    ["interpolate", "w0 w1", "w2", "--steps=3", "--kind=spherical", beam],
    ["complete", file, beam],
  ):
    out = tmp_path / f"{words[0]}.html"
    assert command.main([*words, *flags, f"--out={out}"]) == 0
    text = out.read_text()
    assert text.startswith("<!doctype html>") and "http" not in text and "<b>" not in text
    assert f"Page: {out}" in capsys.readouterr().out
  codes, scores = tmp_path / "codes.csv", tmp_path / "scores.csv"
  assert command.main(["encode", file, *flags, f"--out={codes}"]) == 0
  assert command.main(["sample", f"--codes={codes}", beam, *flags]) == 0
  assert command.main(["score", file, *flags, f"--out={scores}", "--num_samples=10"]) == 0
  assert "perplexity" in capsys.readouterr().out
  rows = list(csv.DictReader(scores.open()))
  assert [row["sentence"] for row in rows] == ["w0 w1", "w2 <b>"] and float(rows[0]["stderr"]) >= 0
  text = codes.read_text()
  for changed, named in (
    (text.replace(text.splitlines()[1].split(",")[-2], "00000000"), "line 2: the code is of another model"),
    (text.replace("z2", "y2", 1), "has no codes of 2 dimensions"),
    (text.splitlines()[0] + "\n", "has no codes."),
    (text + "3,nan\n", r"line 4: 2 cells"),
  ):
    codes.write_text(changed)
    with pytest.raises(errors.UserError, match=named):
      command.main(["sample", f"--codes={codes}", *flags])


@pytest.mark.parametrize("words,named", [
  (["reconstruct"], "reconstruct needs sentences"),
  (["reconstruct", "w0", ""], "sentence 2 is empty"),
  (["reconstruct", "w0", "--beam=0"], "--beam=0; it must be 1 or more"),
  (["interpolate", "w0"], "takes two sentences; there are 1"),
  (["interpolate", "w0", "  "], "sentence 2 is empty"),
  (["interpolate", "w0", "w1", "--steps=1"], "--steps=1"),
  (["interpolate", "w0", "w1", "--kind=round"], "linear, spherical"),
  (["sample", "w0"], "sample takes no sentences"),
  (["sample", "--num=0"], "--num=0"),
  (["sample", "--out=x.txt"], "sample writes .html"),
  (["encode", "w0"], "name it with --out=TABLE.csv"),
  (["encode", "w0", "--out=none/x.csv"], "its folder does not exist"),
  (["score", "w0", "--out=taken.csv"], "taken.csv exists; --overwrite replaces it"),
  (["score", "--file=lines.txt", "--out=y.csv"], "lines.txt, line 2 is empty"),
  (["score", "--file=none.txt", "--out=y.csv"], "none.txt"),
  (["score", "w0", "--num_samples=1", "--out=y.csv"], "--num_samples=1"),
  (["complete", "w0", "--share=1"], "--share=1.0"),
  (["sample", "--beam=3"], "--beam is for the sentences of --codes"),
  (["sample", "--codes=x.csv", "--temperature=0.5"], "--temperature is for draws, not for the sentences of --codes"),
  (["sample", "--codes=x.csv", "--seed=0"], "--seed is for draws"),
  (["complete", "w0", "--file=lines.txt"], "not both"),
  (["reconstruct", "w0", "--beam=2", "w1"], "'w1': give all sentences in one place"),
  (["reconstruct", "w0"], "holds no run"),
])  # fmt: skip
def test_mistakes_in_the_command_are_found_before_the_run_is_loaded(tmp_path, monkeypatch, words, named):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "taken.csv").write_text("")
  (tmp_path / "lines.txt").write_text("w0\n\nw1\n")
  with pytest.raises(errors.UserError, match=named):
    command.main([*words, f"--workdir={tmp_path}"])
  assert not (tmp_path / "y.csv").exists()


COMMON = {"--help", "--workdir", "--out", "--checkpoint", "--overwrite"}
OWN = {
  "sample": {"--codes", "--num", "--temperature", "--top_k", "--top_p", "--seed", "--beam"},
  "reconstruct": {"--file", "--draws", "--seed", "--beam"},
  "interpolate": {"--file", "--steps", "--kind", "--beam"},
  "complete": {"--file", "--share", "--beam"},
  "encode": {"--file"},
  "score": {"--file", "--num_samples", "--seed"},
}


@pytest.mark.parametrize("name", OWN)
def test_the_help_of_a_command_has_its_own_options_alone(name, capsys):
  own_options.check_help(command.main, name, COMMON | OWN[name], capsys)


@pytest.mark.parametrize("words", [
  ["complete", "w0", "--codes=x.csv"],
  ["encode", "w0", "--beam=2"],
  ["score", "w0", "--beam", "2"],
  ["reconstruct", "w0", "--temperature=1"],
  ["interpolate", "w0", "w1", "--num=3"],
  ["sample", "--file=lines.txt"],
])  # fmt: skip
def test_options_of_other_commands_are_refused_in_a_sentence_with_the_choices(words):
  own_options.check_refusal(command.main, words, COMMON | OWN[words[0]])


def test_long_files_are_completed_in_blocks_with_the_same_ends(vae, monkeypatch):
  lines = ["w0 w1 w2", "w3 w4", "w5 w0 w1 w2", "w2 w2", "w4 w4 w4"]
  whole, rows = vae.complete(lines, beam=2), []
  monkeypatch.setattr(sequences, "ROWS", 2)
  program = vae._program

  def recorded(name, function):
    run = program(name, function)
    return lambda batch, *args: rows.append(len(batch["x"])) or run(batch, *args)

  monkeypatch.setattr(vae, "_program", recorded)
  found = vae.complete(lines, beam=2)
  assert [(c.known, c.text) for c in found] == [(c.known, c.text) for c in whole]
  np.testing.assert_allclose([c.log_px_z for c in found], [c.log_px_z for c in whole], rtol=1e-5)
  assert max(rows) == 2


def test_marks_in_a_sentence_are_unknown_words_and_perplexities_are_numbers(vae):
  np.testing.assert_allclose(vae.score(["w0 <pad> w1"]).log_px, vae.score(["w0 never w1"]).log_px, rtol=1e-5)
  assert np.isfinite(perplexity(Scores(np.float32([-1e9]), np.float32([0]), np.int32([2]))))


def test_codes_of_another_checkpoint_with_the_same_words_are_another_model_s(vae):
  moved = jax.tree.map(lambda a: a + 1e-3, vae._variables["params"])
  other = SentenceVAE(vae._model, types.SimpleNamespace(params=moved), vae._about)
  assert other.fingerprint != vae.fingerprint
  assert SentenceVAE(vae._model, types.SimpleNamespace(**vae._variables), vae._about).fingerprint == vae.fingerprint


def test_a_path_names_the_line_of_a_mistake(run, tmp_path):
  (tmp_path / "lines.txt").write_text("w0\nxx\n")
  with pytest.raises(errors.UserError, match=r"lines.txt, line 2 has no word"):
    command.main(["interpolate", f"--file={tmp_path / 'lines.txt'}", f"--workdir={run}"])


@pytest.mark.parametrize("words,named", [
  (["reconstruct", "w0 w1 w2 w3 w4 w5"], "sentence 1 has 6 tokens; the run's sentences have at most 5"),
  (["reconstruct", "w0", "never seen"], "sentence 2 has no word of the run's vocabulary: 'never seen'"),
  (["score", "--file=lines.txt", "--out=y.csv"], "lines.txt, line 2 has no word of the run's vocabulary"),
  (["sample", "--temperature=-1"], "temperature = -1"),
])  # fmt: skip
def test_mistakes_in_sentences_name_the_line_and_write_nothing(run, tmp_path, monkeypatch, words, named):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "lines.txt").write_text("w0\nxx\n")
  with pytest.raises(errors.UserError, match=named):
    command.main([*words, f"--workdir={run}"])
  assert [p.name for p in tmp_path.iterdir()] == ["lines.txt"]


def test_another_kind_of_run_is_refused():
  with pytest.raises(errors.UserError, match="takes runs of the model 'sequence_vae'"):
    dgm_jax.SentenceVAE(object(), None, {})


def test_pages_escape_what_they_show():
  text = page.as_html("a < b", "c", [page.Part("d & e", [("1", "<script>")])])
  assert "<script>" not in text and "d &amp; e" in text
