"""Mistakes in what is read from outside: each gets one sentence that names the place, the value and what to do."""

import io
import pathlib
import sys

import numpy as np
import pytest
from ml_collections import ConfigDict

from dgm_jax.configs import vae_mnist
from dgm_jax.core import config_args, errors, files, memory, paths, streams, writable
from dgm_jax.evaluate import compare
from dgm_jax.experiments.harness import measured, reports
from dgm_jax.sweeps import curves, definition, report, report_command, states
from dgm_jax.training import settings
from dgm_jax.training.build import build
from dgm_jax.training.processes import hosts
from dgm_jax.training.workdir import legacy_configs
from helpers import processes


def sentence_of(call, *args, **options) -> str:
  """The message of the UserError that a call raises."""
  with pytest.raises(errors.UserError) as raised:
    call(*args, **options)
  return str(raised.value)


FROM_VAE = (
  "from dgm_jax.configs import vae_mnist\n\ndef get_config(arg=None):\n  config = vae_mnist.get_config('test')\n"
)
CONFIG_FILES = {  # {what is wrong: (the file, what the sentence must say)}
  "syntax": (
    "def get_config(arg=None):\n  x = (1,\n  y = 2\n",
    ["cannot be read: SyntaxError: '(' was never closed", "line 2", "\n>    2    x = (1,\n     3    y = 2"],
  ),
  "import": ("import os\nimport nonsense_package\n", ["ModuleNotFoundError", "'nonsense_package'", "line 2", "> "]),
  "extra": ("raise ModuleNotFoundError('no', name='optuna')\n", ["optuna", "pip install '.[sweep]'"]),
  "exit": ("import sys\nsys.exit(3)\n", ["SystemExit: 3", "line 2", ">    2  sys.exit(3)"]),
  "binary": ("x = 1\0\n", ["cannot be read", "null bytes"]),
  "raises": (
    "def get_config(arg=None):\n  a = 1\n  return {}[a]\n",
    ["get_config of", "failed: KeyError: 1", "line 3", "\n     2    a = 1\n>    3    return {}[a]"],
  ),
  "arguments": ("def get_config():\n  return 1\n", ["get_config of", "TypeError", "positional argument"]),
  "nothing": ("x = 1\n", ["defines no get_config"]),
  "no function": ("get_config = [1]\n", ["defines no get_config"]),
  "None": (FROM_VAE, ["must return an ml_collections.ConfigDict", "it returned None", "`return config`"]),
  "dict": ("def get_config(arg=None):\n  return {}\n", ["must return an ml_collections.ConfigDict", "a dict"]),
}


@pytest.mark.parametrize("text,said", CONFIG_FILES.values(), ids=CONFIG_FILES)
def test_a_config_file_that_fails_is_quoted_around_the_line(text, said, tmp_path):
  file = tmp_path / "mine.py"
  file.write_text(text)
  sentence = sentence_of(config_args.load, f"{file}:quick")
  assert str(file) in sentence
  for words in said:
    assert words in sentence
  assert len(sentence.splitlines()) <= 5


def test_a_config_file_that_fails_ends_each_command_with_status_2(tmp_path):
  file = tmp_path / "mine.py"
  file.write_text("import nonsense_package\n")
  for words in (
    ["train", f"--workdir={tmp_path / 'run'}"],
    ["sweep", "--sweep.seed=0:2", f"--root={tmp_path / 'run'}"],
  ):
    done = processes.dgm_jax(*words, f"--config={file}")
    assert (done.returncode, done.stderr.count("error: ")) == (2, 1)
    assert "Traceback" not in done.stderr and ">    1  import nonsense_package" in done.stderr
  assert not (tmp_path / "run").exists()


SWEEPS = {
  "raises": ("  return [1 / 0]\n", ["sweep() of", "ZeroDivisionError", "> "]),
  "None": ("  pass\n", ["sweep() of", "mappings {path: value}", "None"]),
  "numbers": ("  return [1, 2]\n", ["mappings {path: value}", "[1, 2]"]),
  "empty": ("  return []\n", ["is empty"]),
}


@pytest.mark.parametrize("text,said", SWEEPS.values(), ids=SWEEPS)
def test_a_sweep_function_is_validated(text, said, tmp_path):
  (tmp_path / "mine.py").write_text(f"{FROM_VAE}  return config\n\ndef sweep():\n{text}")
  sentence = sentence_of(definition.overrides_of, str(tmp_path / "mine.py"))
  assert all(words in sentence for words in said), sentence


@pytest.fixture(scope="module")
def config():
  """A valid config, unlocked; tests change copies of it."""
  return vae_mnist.get_config("test").copy_and_resolve_references().unlock()


def _without(path):
  def change(config):
    *sections, name = path.split(".")
    for section in sections:
      config = config[section]
    del config[name]

  return change


def _with(path, value):
  def change(config):
    *sections, name = path.split(".")
    for section in sections:
      config = config[section]
    if name in config:
      del config[name]  # a ConfigDict converts what replaces a value
    config[name] = value

  return change


SETTINGS = {
  "no model": (_without("model"), ["no 'model.name'"]),
  "no principle": (_without("principle"), ["no 'principle'", "latent"]),
  "no optim": (_without("optim"), ["no 'optim'", "base.default()"]),
  "optim": (_with("optim", None), ["config.optim = None", "a section"]),
  "model": (_with("model", 5), ["no 'model.name'"]),
  "evaluation": (_with("evaluate.importance_sampling", 5), ["config.evaluate.importance_sampling = 5", "a section"]),
  "number": (_with("batch_size", 2.5), ["config.batch_size = 2.5", "an integer"]),
  "word": (_with("principle", 3), ["config.principle = 3", "a word"]),
  "nan": (_with("objective.alpha", float("nan")), ["config.objective.alpha = nan", "finite"]),
  "inf": (_with("max_minutes", float("inf")), ["config.max_minutes = inf", "finite"]),
  "beyond float32": (_with("optim.lr", 1e39), ["config.optim.lr = 1e+39", "finite"]),
  "in a tuple": (_with("optim.scales", (0.1, float("nan"))), ["config.optim.scales = nan", "finite"]),
  "steps": (_with("num_steps", 10**20), [f"config.num_steps = {10**20}", "2^31"]),
  "samples": (_with("objective.num_samples", 10**11), ["config.objective.num_samples = 100000000000", "2^31"]),
  "negative": (_with("objective.beta_steps", -(10**11)), ["config.objective.beta_steps", "2^31"]),
  "object": (_with("objective.alpha", object), ["config.objective.alpha", "is a type", "numbers, words"]),
  "formats": (_with("figure_formats", ("bmp",)), ["figure_formats", "'bmp'", "pdf, png, svg"]),
}


@pytest.mark.parametrize("change,said", SETTINGS.values(), ids=SETTINGS)
def test_a_setting_that_no_run_can_have_is_named(change, said, config):
  changed = ConfigDict(config.to_dict())
  change(changed)
  sentence = sentence_of(settings.check, changed)
  assert all(words in sentence for words in said), sentence


def test_the_seed_may_use_32_bits(config):
  settings.check(ConfigDict(config.to_dict() | {"seed": 2**32 - 1}))


@pytest.mark.parametrize(
  "path,value", [("num_epochs", 2**31 - 1), ("model.args.hidden", (10**8,)), ("objective.num_samples", 10**9)]
)
def test_what_fits_no_device_is_refused_before_anything_compiles(path, value, config, monkeypatch):
  monkeypatch.setattr(memory, "available", lambda device: 64e9)
  changed = ConfigDict(config.to_dict())
  changed.num_steps = 40 if path != "num_epochs" else None
  changed.update_from_flattened_dict({path: value})
  sentence = sentence_of(build, changed)
  assert "fewer than 2^31" in sentence if path == "num_epochs" else "A training step needs at least" in sentence
  assert path == "num_epochs" or ("64 GB are free" in sentence and "batch_size" in sentence)


@pytest.mark.parametrize(
  "error,said",
  [
    (MemoryError("Unable to allocate 8.00 TiB for an array"), ["not enough memory", "8.00 TiB", "batch_size"]),
    (type("JaxRuntimeError", (RuntimeError,), {})("RESOURCE_EXHAUSTED: Out of memory"), ["Out of memory", "chunk"]),
    (PermissionError(13, "Permission denied", "/x/y"), ["/x/y: Permission denied."]),
    (ModuleNotFoundError("no", name="sklearn.svm"), ["pip install '.[data]'"]),
    (RuntimeError("a fault of ours"), []),
    (OSError("a fault of ours"), []),
  ],
)
def test_what_the_system_refuses_is_a_sentence_and_other_errors_keep_their_traceback(error, said, capsys):
  def fail():
    raise error

  if not said:
    with pytest.raises(type(error)):
      errors.run_command(fail)
    return
  assert errors.run_command(fail) == 2
  printed = capsys.readouterr().err
  assert printed.startswith("error: ") and all(words in printed for words in said)


def _file(folder: pathlib.Path) -> pathlib.Path:
  (folder / "file").write_text("x")
  return folder / "file"


def _link(folder: pathlib.Path) -> pathlib.Path:
  (folder / "link").symlink_to("/none/x")
  return folder / "link"


FOLDERS = {
  "empty": (lambda folder: "", ["--workdir is empty"]),
  "long": (lambda folder: "ä" * 200, ["--workdir", "400 bytes", "255"]),
  "zero": (lambda folder: "a\0b", ["zero byte"]),
  "file": (_file, ["it is a file; name a folder"]),
  "below a file": (lambda folder: _file(folder) / "run", ["/file is a file; name a folder"]),
  "link": (_link, ["is a link to /none/x, which does not exist"]),
  "below a link": (lambda folder: _link(folder) / "run", ["is a link to /none/x, which does not exist"]),
  "unknown home": (lambda folder: "~no_such_user_/run", ["~no_such_user_/run", "home"]),
}


@pytest.mark.parametrize("make,said", FOLDERS.values(), ids=FOLDERS)
def test_names_of_folders_are_validated(make, said, tmp_path):
  sentence = sentence_of(paths.folder, "--workdir", make(tmp_path))
  assert all(words in sentence for words in said), sentence


def test_a_tilde_is_the_home_also_where_no_shell_replaces_it(monkeypatch, tmp_path):
  monkeypatch.setenv("HOME", str(tmp_path))
  assert paths.folder("--workdir", "~/runs/x") == tmp_path / "runs" / "x"


GIVEN = {  # {what: (flags besides --config and --workdir, what the sentence must say)}
  "argument twice": (["--config=vae_mnist:test,k=1,k=2"], ["'k' is given twice", "test,k=1,k=2"]),
  "value twice": (["--config=vae_mnist:test", "--config.seed=1", "--config.seed=2"], ["--config.seed is given twice"]),
  "value twice, spaced": (["--config=vae_mnist:test", "--config.seed", "1", "--config.seed=2"], ["given twice"]),
  "long name": ([f"--config={'x' * 300}"], ["config file", "300 bytes"]),
  "folder": (["--config=tests"], ["Unknown config file 'tests'"]),
  "empty": (["--config="], ["config file is empty"]),
}


@pytest.mark.parametrize("flags,said", GIVEN.values(), ids=GIVEN)
def test_arguments_of_a_config_are_validated(flags, said):
  sentence = sentence_of(config_args.checked_arguments, ["dgm_jax", *flags])
  assert all(words in sentence for words in said), sentence


def test_another_data_set_replaces_that_of_the_argument():
  """As a value of the config it stands beside the argument, whose name would otherwise be given twice."""
  flags = ["--config=vae_mnist:test,data=mnist5k", "--config.data.name=fashion_mnist"]
  [config, _] = config_args.checked_arguments(["dgm_jax", *flags])[1:]
  assert config == "--config=vae_mnist:test,data=fashion_mnist"
  assert config_args.with_arguments("a.py", {"k": "1"}) == "a.py:k=1"
  assert config_args.with_arguments("a.py:k=5,test", {"k": "1"}) == "a.py:test,k=1"
  assert config_args.with_arguments("a.py", {}) == "a.py"


RESULTS = '{"step": 40, "seed": 0, "test/nll": 1.0, "data": "toy", "split_sizes": {"train": 8}}'
CONFIG = '{"seed": 0, "data": {"name": "toy"}, "model": {"name": "vae", "args": {}}, "optim": {}, "evaluate": {}}'
PROCESS = '[{"seed": 0, "started": "2026-01-01", "wall_s": {"train": 2.0}}]'


def _write_run(run: pathlib.Path) -> None:
  """The files of a finished run, without checkpoints."""
  run.mkdir(parents=True)
  for name, text in (("config.json", CONFIG), ("results.json", RESULTS), ("run.json", PROCESS)):
    (run / name).write_text(text)
  np.savez(run / "values.npz", **{"test/log_px": np.zeros(4)})


def _read_sweep(root: pathlib.Path) -> None:
  report.read(root)
  curves.table(root)


READERS = {
  "run.json": measured.provenance,
  "config.json": legacy_configs.read_config,
  "results.json": lambda run: compare.read(str(run)),
  "values.npz": lambda run: compare.read(str(run)),
  "stop.json": lambda run: ((run / "results.json").unlink(), states.state(run)),
  "failure.json": lambda run: files.read_json(run / "failure.json"),
  "sweep.json": lambda run: _read_sweep(run.parents[1]),
  "sessions.json": lambda run: reports.add_session(run, 1.0),
}
BINARY, NPZ_OF_OBJECTS, NPZ_OF_WORDS = bytes(range(128, 256)), io.BytesIO(), io.BytesIO()
np.savez(NPZ_OF_OBJECTS, **{"test/log_px": np.array([{}, 1], object)})
np.savez(NPZ_OF_WORDS, **{"test/log_px": np.array(["a", "b"])})
DAMAGED = [  # (file, content, what the sentence must say besides the file's name)
  ("config.json", BINARY, ["utf-8"]),
  ("config.json", "[1]", ["'[1]'", "an object {...}"]),
  ("config.json", "3", ["'3'", "an object {...}"]),
  ("config.json", '{"optim": []}', ["'optim' is '[]'", "an object {...}"]),
  ("config.json", '{"data": "mnist"}', ["'data' is 'mnist'"]),
  ("results.json", BINARY, ["utf-8"]),
  ("results.json", "[]", ["an object {...}", "evaluates the run again"]),
  ("results.json", '"words"', ["'words'"]),
  ("results.json", '{"step": "forty"}', ["'step' is 'forty', not an integer"]),
  ("results.json", '{"step": 40', ["damaged"]),
  ("results.json", None, ["Is a directory"]),
  ("run.json", "{}", ["a list [...]", "new record"]),
  ("run.json", "[1]", ["entry 1 is '1'"]),
  ("run.json", '[{"seed": 0}]', ["'wall_s' of entry 1 is missing"]),
  ("run.json", '[{"wall_s": {"train": "long"}}]', ["'wall_s' of entry 1", "numbers"]),
  ("run.json", '[{"wall_s": 3}]', ["'wall_s' of entry 1 is '3'"]),
  ("stop.json", "{}", ["'reason' is missing", "remove it"]),
  ("stop.json", "[]", ["an object {...}"]),
  ("failure.json", '{"step": "x"}', ["'step' is 'x', not an integer or null"]),
  ("sweep.json", '{"format": 1, "config": "c"}', ["'runs' is missing"]),
  ("sweep.json", '{"format": 1, "runs": []}', ["'config' is missing"]),
  ("sweep.json", '{"format": 1, "config": "c", "runs": [{"name": "a"}]}', ["'overrides' of entry 1 is missing"]),
  ("sweep.json", '{"format": 1, "config": "c", "runs": [7]}', ["entry 1 is '7'"]),
  ("sweep.json", '{"format": 1, "config": "c", "runs": [], "common": 1}', ["'common' is '1'"]),
  ("sessions.json", '[{"ended": "now"}]', ["'seconds' of entry 1 is missing", "remove it"]),
  ("values.npz", b"", ["damaged"]),
  ("values.npz", b"no archive", ["it is no archive of arrays"]),
  ("values.npz", NPZ_OF_OBJECTS.getvalue(), ["pickles"]),
  ("values.npz", NPZ_OF_OBJECTS.getvalue()[:-30], ["damaged"]),
  ("values.npz", NPZ_OF_WORDS.getvalue(), ["log_px is <U1 of shape (2,)", "a number for each example"]),
]


@pytest.mark.parametrize("name,content,said", DAMAGED, ids=lambda v: str(v)[:40] if isinstance(v, str) else None)
def test_a_damaged_file_of_a_run_is_named_with_what_is_wrong(name, content, said, tmp_path):
  run = tmp_path / "runs" / "seed=0"
  _write_run(run)
  (tmp_path / "sweep.json").write_text('{"format": 1, "config": "c", "runs": [{"name": "seed=0", "overrides": {}}]}')
  READERS[name](run) if name not in ("stop.json", "failure.json", "sessions.json") else None  # sound files are read
  file = tmp_path / name if name == "sweep.json" else run / name
  file.unlink(missing_ok=True)
  if content is None:
    file.mkdir()
  else:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
  sentence = sentence_of(READERS[name], run)
  assert str(file) in sentence and len(sentence.splitlines()) == 1
  assert all(words in sentence for words in said), sentence
  assert "allow_pickle" not in sentence


@pytest.mark.parametrize(
  "name,content",
  [
    ("lock", BINARY),
    ("lock", "[1]"),
    ("lock", '{"pid": "x"}'),
    ("metrics.jsonl", "3\n"),
    ("metrics.jsonl", '{"step": "x"}\n'),
  ],
)
def test_a_damaged_lock_or_row_says_nothing_about_a_run(name, content, tmp_path):
  (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
  assert states.state(tmp_path) == states.State("waiting", 0)


@pytest.mark.parametrize("out,said", [("", "is empty"), ("FILE", "it is a file"), ("LINK", "does not exist")])
def test_the_folder_for_results_is_named_before_anything_is_computed(out, said, tmp_path):
  (tmp_path / "FILE").write_text("x")
  (tmp_path / "LINK").symlink_to(tmp_path / "gone")
  sentence = sentence_of(writable.chosen, tmp_path, out and str(tmp_path / out))
  assert "--out" in sentence and said in sentence


def test_a_comma_without_a_folder_is_no_run():
  for argument in ("runs/a,", ",runs/a", "runs/a,,runs/b"):
    assert "at a comma" in sentence_of(compare.folders, argument)


FLAGS = {
  "processes": (["train", "--config=vae_mnist:test", "--num_processes=2"], ["--num_processes=2", "--distributed"]),
  "evaluation": (["evaluate", "--process_id=0"], ["--process_id=0", "--distributed"]),
  "samples": (["sample", "--num_samples=10000000000"], ["num_samples", "10000000000"]),
}


@pytest.mark.parametrize("words,said", FLAGS.values(), ids=FLAGS)
def test_flags_that_would_be_ignored_or_cannot_be_are_refused(words, said, tmp_path):
  done = processes.dgm_jax(*words, f"--workdir={tmp_path / 'run'}")
  assert done.returncode == 2 and "Traceback" not in done.stderr
  assert all(word in done.stderr for word in said), done.stderr


def test_a_variable_of_slurm_that_is_no_number_is_of_no_step():
  for tasks, several in (("", False), ("many", False), ("1", False), ("2", True)):
    assert hosts.expected({"SLURM_STEP_NUM_TASKS": tasks, "SLURM_PROCID": "0"}) == several


def test_the_folder_of_a_report_cannot_be_a_file(tmp_path):
  (tmp_path / "file").write_text("x")
  for words in ([str(tmp_path), f"--out={tmp_path / 'file'}"], [str(tmp_path / "file")]):
    assert "is a file; name a folder" in sentence_of(report_command.main, words)
  assert "is a file; name a folder" in sentence_of(compare.main, ["a", "b", f"--out={tmp_path / 'file'}"])


def test_devices_that_jax_does_not_find_are_a_sentence(monkeypatch):
  monkeypatch.setenv("JAX_PLATFORMS", "foo")
  said = errors.sentence(RuntimeError("Unable to initialize backend 'foo': it is not in the list\nmore"))
  assert "JAX_PLATFORMS='foo'" in said and "cpu, cuda or tpu" in said and "more" not in said


@pytest.mark.slow
def test_a_real_process_says_which_devices_it_does_not_find(tmp_path):
  done = processes.main("--config=vae_mnist:test", f"--workdir={tmp_path / 'run'}", JAX_PLATFORMS="foo")
  assert done.returncode == 2, done.stderr
  assert "JAX_PLATFORMS='foo'" in done.stderr and "Traceback" not in done.stderr
  assert not (tmp_path / "run").exists()


def test_a_terminal_without_unicode_gets_plain_characters(monkeypatch):
  raw = io.BytesIO()
  monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
  monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
  streams.replace_characters()
  print("−86.76 ± 0.03 → 漢", flush=True)
  print("± −", file=sys.stderr, flush=True)
  assert raw.getvalue() == b"-86.76 +/- 0.03 -> ?\n"
  assert sys.stderr.buffer.getvalue() == b"\xb1 -\n"
