"""Every command in every page: parsed and its config built (fast), and run at test size from an empty folder (slow)."""

import argparse
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from absl import flags
from PIL import Image

from dgm_jax import __main__ as door
from dgm_jax.core import config_args
from dgm_jax.experiments.harness import paper
from dgm_jax.sweeps import axes, axis_texts, definition
from dgm_jax.sweeps import command as sweep_command
from dgm_jax.training import build
from helpers import processes, tables

_FOLDERS = ("", ".github", "configs", "experiments", "experiments/course", "scripts")
PAGES = sorted(
  {p for folder in _FOLDERS for p in (tables.ROOT / folder).glob("*.md")} | set((tables.ROOT / "dgm_jax").rglob("*.md"))
)
_MODES = ("train", "evaluate", "sample", "debug")
# not run: placeholders such as FOLDER, clusters, downloads, an edited file
_ELSEWHERE = re.compile(
  r"[=\s][A-Z]{4,}\b|--launcher=(slurm|ray)|prepare-data \w|--distributed|--budget=paper|data=mnist\b"
)


def commands(page):
  """The commands of a page's shell blocks and of generated texts, as lists of words after `python -m dgm_jax`."""
  found = []
  for block in re.findall(r"```(?:bash|text|sh)\n(.*?)```", page.read_text(), re.DOTALL):
    for line in re.sub(r"\\\n\s*", " ", block).splitlines():
      if made := re.match(r"\s*(?:python -m )?dgm_jax(\.main)? ?(.*)", line):
        words = shlex.split(made[2], comments=True)
        if words and (made[1] or words[0] in door.COMMANDS):
          found.append(["train", *words] if made[1] and not any("--mode" in w for w in words) else words)
  return found


ALL = [(page, words) for page in PAGES for words in commands(page)]
each = pytest.mark.parametrize(
  "page,words", ALL, ids=[f"{p.relative_to(tables.ROOT).parent}-{' '.join(w)[:60]}" for p, w in ALL]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A folder with the files that the pages' commands name, in which the commands of a page run one after another."""
  root = tmp_path_factory.mktemp("pages")
  rows = "\n".join(f"{i % 7},{'' if i % 5 == 0 else i * 0.5},{i % 3},{'ab'[i % 2]}" for i in range(120))
  for name in ("data", "train", "new", "mine", "diabetes"):
    (root / f"{name}.csv").write_text(f"x,y,sex,site\n{rows}\n")
  (root / "mine.csv").write_text("a,b,c\n" + "\n".join(f"{i % 7},{i * 0.1},{i % 11}" for i in range(200)) + "\n")
  np.savez(root / "mine.npz", x=np.random.default_rng(0).integers(0, 256, (300, 28, 28)).astype(np.uint8))
  np.save(root / "digits.npy", np.random.default_rng(0).integers(0, 2, (20, 784)).astype(np.uint8))
  (root / "lines.txt").write_text("\n".join(f"the cat number {i % 9} sat on mat {i % 7}" for i in range(200)))
  (root / "photos").mkdir()
  photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8))
  photo.save(root / "photos" / "one.png")
  for page in PAGES:  # the files that a page shows: `name.py` and a block of Python
    for name, code in re.findall(r"`(\w+\.py)`[^`]*```python\n(.*?)```", page.read_text(), re.DOTALL):
      (root / name).write_text(code)
  return root


class Parsed(Exception):
  """A command line was accepted."""


def _flag(words, name):
  """The value of --NAME=VALUE or --NAME VALUE; None without it."""
  for word, following in zip(words, [*words[1:], ""], strict=True):
    if word == f"--{name}":
      return following
    if word.startswith(f"--{name}="):
      return word.partition("=")[2]
  return None


def _check_run(words):
  """Flags exist, the config is built, and its overrides have the config's types."""
  importlib.import_module("dgm_jax.main")
  config = _flag(words, "config")
  placeholder = config is not None and config.partition(":")[0].isupper()
  if not placeholder:
    load = lambda text: build.with_evaluations(config_args.load(text), config_args.overrides(words))
    config_args.checked_arguments(["dgm_jax", *words], load)
  overrides = {w.partition("=")[0][9:]: w.partition("=")[2] for w in words if w.startswith("--config.")}
  if config and not placeholder:
    definition.typed_common(config, overrides)
  for word in words:
    name = word.removeprefix("--").partition("=")[0]
    if word.startswith("--") and not name.startswith("config."):
      assert name in flags.FLAGS, word


def _check_sweep(words):
  args, given, _ = sweep_command.parsed(words)
  common = definition.typed_common(args.config, given["config"])
  values = {path: axis_texts.parse_values(path, text) for path, text in given["sweep"].items()}
  overrides = definition.overrides_of(args.config, args.name, values)
  if args.search:
    axes.space_of(definition.typed_space(args.config, common, overrides))
  else:
    assert definition.make_runs(args.config, common, overrides[:2])


def _check_paper(words):
  names = [w for w in words if not w.startswith("-")]
  for name in names:
    item = next((f"{k}={_flag(words, k)}" for k in ("table", "figure") if _flag(words, k)), None)
    budget = _flag(words, "budget") or "quick"
    if item and budget.islower():
      assert paper.budget(paper.load(name), item, budget)


@each
def test_every_command_is_parsed_and_its_config_is_built(page, words, folder, monkeypatch):
  monkeypatch.chdir(folder)
  name, *rest = words
  if name in _MODES or words[0].startswith("--"):
    _check_run(rest if name in _MODES else words)
    return
  if name == "sweep":
    _check_sweep(rest)
    return
  if name == "reproduce":
    _check_paper(rest)
  parse = argparse.ArgumentParser.parse_known_args

  def parsed(self, args=None, namespace=None):
    _, unknown = parse(self, args, namespace)
    assert not unknown, unknown
    raise Parsed

  monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", parsed)
  with pytest.raises(Parsed):
    importlib.import_module(door.COMMANDS[name].module).main(rest)


def test_a_wrong_command_is_noticed(tmp_path):
  page = tmp_path / "README.md"
  page.write_text(
    "```bash\npython -m dgm_jax train --config=iwae_mnist:k=5 \\\n  --workdir=x --config.optim.lrr=1  # x\n```\n"
  )
  [words] = commands(page)
  assert words == ["train", "--config=iwae_mnist:k=5", "--workdir=x", "--config.optim.lrr=1"]
  with pytest.raises(Exception, match="lrr"):
    _check_run(words[1:])


def _at_test_size(words):
  """The same command with the config's argument `test`, the budget `test` and two trials."""
  made = []
  for word in words:
    flag, equals, value = word.partition("=")
    if flag == "--config":
      name, _, argument = value.partition(":")
      kept = [a for a in argument.split(",") if a and a not in ("quick", "test")]
      word = f"--config={name}:{','.join([*kept, 'test'])}"
    elif flag in ("--budget", "--trials", "--batch"):
      word = f"{flag}{equals}{ {'--budget': 'test', '--trials': 4, '--batch': 2}[flag] }"
    made.append(word)
  return made + (["--steps=100", "--samples=20"] if words[0] == "impute" else [])


@pytest.mark.slow
def test_the_python_of_the_front_page_runs(tmp_path):
  [code] = re.findall(r"```python\n(.*?)```", (tables.ROOT / "README.md").read_text(), re.DOTALL)
  code = code.replace(",quick", ",test")
  env = os.environ | {"PYTHONPATH": str(tables.ROOT)}
  done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-2000:]
  assert -115 < float(done.stdout.split()[0]) < -85  # log p(x) of test digits


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """The folder of a finished run, for commands about runs that another page or a block of Python trains."""
  folder = tmp_path_factory.mktemp("trained") / "run"
  done = processes.main("--config=iwae_mnist:test,k=5", f"--workdir={folder}")
  assert done.returncode == 0, done.stderr
  return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(tables.ROOT).parent) + "/" + p.name for p in PAGES])
def test_every_command_runs_at_test_size(page, folder, trained, tmp_path):
  work = tmp_path / "work"
  shutil.copytree(folder, work)
  for words in commands(page):
    text = shlex.join(words)
    if _ELSEWHERE.search(text):
      continue
    if words[0] in ("evaluate", "sample", "debug", "compare", "pack", "score"):
      for name in re.findall(r"\bruns/\w+", text):
        if not (work / name).exists():
          shutil.copytree(trained, work / name)
    door_words = words if not words[0].startswith("--") else ["evaluate", *[w for w in words if "--mode" not in w]]
    command = [sys.executable, "-m", "dgm_jax", *_at_test_size(door_words)]
    env = os.environ | {"PYTHONPATH": str(tables.ROOT)}
    done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{text}\n{done.stdout[-1500:]}\n{done.stderr[-2500:]}"
