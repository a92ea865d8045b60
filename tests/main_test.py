"""The entry point as a user sees it: runs, resumes, evaluates, samples; mistakes get one sentence and lose nothing."""

import json
import os
import pathlib
import shutil
import subprocess

import jax
import numpy as np
import pytest

from dgm_jax.configs import iwae_mnist
from dgm_jax.core import compilation_cache, errors, files, text_tables
from dgm_jax.training import train
from dgm_jax.training.restore import restore
from dgm_jax.training.workdir import folder, metrics, run_record
from helpers import tables
from helpers.processes import CONFIG, main


def arrays(workdir):
  """The arrays of the newest checkpoint."""
  config = iwae_mnist.get_config("test,k=5")
  with config.unlocked():
    config.update_from_flattened_dict(files.flatten(json.loads((workdir / "config.json").read_text())))
  return jax.device_get(restore(config, workdir)[1])


@pytest.fixture
def read_only(finished, tmp_path):
  """The folder of the finished run, in a place where nothing can be written."""
  place = tmp_path / "read_only"
  place.mkdir()
  for flags in (["--bind", finished[0], place], ["-o", "remount,ro,bind", place]):
    if subprocess.run(["mount", *flags], capture_output=True).returncode:
      pytest.skip("mounting needs root")
  yield place
  subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A finished run, and what it printed."""
  workdir = tmp_path_factory.mktemp("main") / "run"
  done = main(f"--config={CONFIG}", f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr
  return workdir, done.stdout


def test_a_run_prints_parameters_results_and_files(finished):
  workdir, printed = finished
  assert "decoder/Dense_1/kernel" in printed
  assert "total 51,808 parameters" in printed
  assert "test/nll" in printed
  for name in ("results.json", "metrics.jsonl", "run.json"):
    assert f"{workdir}/{name}" in printed


def test_a_read_only_run_is_refused_before_any_work_and_another_folder_is_offered(read_only, finished, tmp_path):
  workdir, _ = finished
  for mode in ("evaluate", "sample", "debug"):
    refused = main(f"--mode={mode}", f"--workdir={read_only}")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"error: --workdir {read_only} cannot be written (Read-only file system)." in refused.stderr
    assert "Traceback" not in refused.stderr
    assert ("Name another folder for the results: --out=FOLDER" in refused.stderr) == (mode != "debug")
  out = tmp_path / "new" / "out"
  for mode in ("evaluate", "sample"):
    done = main(f"--mode={mode}", f"--workdir={read_only}", f"--out={out}")
    assert done.returncode == 0, done.stderr
  assert files.read_json(out / "results.json") == files.read_json(workdir / "results.json")
  assert {"values.npz", "samples.npz", "figures"} <= {p.name for p in out.iterdir()}
  unfit = main("--mode=sample", f"--workdir={read_only}", f"--out={out / 'results.json'}")
  assert (unfit.returncode, "is a file; name a folder" in unfit.stderr) == (2, True)


def test_a_finished_run_is_reported_and_its_results_are_printed(finished):
  workdir, printed = finished
  before = {p: p.stat().st_mtime_ns for p in workdir.rglob("*")}
  done = main(f"--config={CONFIG}", f"--workdir={workdir}")
  assert done.returncode == 0
  assert "finished run" in done.stdout
  assert printed[printed.index("test/") :] == done.stdout[done.stdout.index("test/") :]
  assert {p: p.stat().st_mtime_ns for p in workdir.rglob("*")} == before


def test_evaluate_repeats_the_results(finished):
  workdir, _ = finished
  first = json.loads((workdir / "results.json").read_text())
  done = main("--mode=evaluate", f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr
  again = json.loads((workdir / "results.json").read_text())
  assert not (workdir / "evaluation.json").exists()
  assert first.keys() == again.keys()
  for name, value in first.items():
    assert again[name] == (pytest.approx(value, rel=1e-5) if isinstance(value, float) else value)


def test_sample_writes_samples(finished):
  workdir, _ = finished
  done = main("--mode=sample", f"--workdir={workdir}", "--num_samples=9")
  assert done.returncode == 0, done.stderr
  x = np.load(workdir / "samples.npz")["x"]
  assert x.shape == (9, 28, 28, 1)
  assert set(np.unique(x)) == {0.0, 1.0}


@pytest.mark.slow
def test_a_crash_before_the_first_checkpoint_starts_again(tmp_path):
  """With a config, a truncated line of metrics and no checkpoint, the run starts at step 0 and ends the same."""
  config = iwae_mnist.get_config("test,k=5")
  train.train_and_evaluate(config, tmp_path / "whole")
  folder.create(tmp_path / "torn", config.to_dict())
  (tmp_path / "torn" / "metrics.jsonl").write_text('{"step": 10, "train/loss": 1.0}\n{"step": 20, "tra')
  train.train_and_evaluate(config, tmp_path / "torn")
  assert (tmp_path / "torn" / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()


@pytest.mark.slow  # the tests of systems cover the same, without files
def test_one_device_equals_four(finished, tmp_path):
  flags = [f"--config={CONFIG}", "--config.batch_size=48", "--config.eval_batch_size=32"]
  one = main(*flags, f"--workdir={tmp_path / 'one'}")
  four = main(*flags, f"--workdir={tmp_path / 'four'}", XLA_FLAGS=tables.xla_flags(4))
  assert one.returncode == four.returncode == 0, four.stderr
  assert len(json.loads((tmp_path / "four" / "run.json").read_text())[0]["devices"]) == 4
  for a, b in zip(metrics.read(tmp_path / "one"), metrics.read(tmp_path / "four"), strict=True):
    assert a == pytest.approx(b, rel=1e-4)
  results = [json.loads((tmp_path / n / "results.json").read_text()) for n in ("one", "four")]
  assert results[0]["test/nll"] == pytest.approx(results[1]["test/nll"], rel=1e-5)


MISTAKES = {
  "unknown key": (["--config.optim.lrr=1"], ["key of config.optim 'lrr'", "Did you mean 'lr'", "b1, b1_end, b1_ramp"]),
  "far key": (["--config.foo=1"], ["key of config 'foo'", "batch_size, "]),
  "key of a value": (["--config.seed.x=1"], ["config.seed is a value"]),
  "wrong type": (["--config.optim.lr=fast"], ["lr", "fast"]),
  "model": (["--config.model.name=vea"], ["model 'vea'", "'vae'", "dlgm"]),
  "principle": (["--config.principle=latnt"], ["principle 'latnt'", "latent"]),
  "bound": (["--config.objective.bound=iwea"], ["bound 'iwea'", "'iwae'", "elbo"]),
  "principle of another model": (
    ["--config.principle=own_bound"],
    ["'own_bound' needs models with bound(key, batch)", "add 'bound' to 'vae'"],
  ),
  "gradient": (["--config.objective.gradient=dregg"], ["gradient 'dregg'", "'dreg'"]),
  "optimiser": (["--config.optim.name=adm"], ["optimiser 'adm'", "'adam'"]),
  "data set": (["--config.data.name=mnist5"], ["data set 'mnist5'", "'mnist5k'"]),
  "member": (["--config.data.name=uci"], ["data set 'uci'", "uci/concrete"]),
  "option of data": (["--config.data.valid_sise=3"], ["key of config.data 'valid_sise'", "data_dir"]),
  "path": (["--config.data.name=array"], ["Data set 'array' needs data.path"]),
  "no such path": (["--config.data.name=array", "--config.data.path=/none.npy"], ["'/none.npy' does not exist"]),
  "transform": (["--config.data.transforms=binarise"], ["transform 'binarise'", "'binarize'"]),
  "binarization": (["--config.data.transforms=binarize:dynamc"], ["'dynamc'", "'dynamic'"]),
  "source": (["--config.data.source=disk"], ["value of data.source 'disk'", "resident, streaming"]),
  "batch": (["--config.batch_size=4001"], ["batch_size = 4001", "4000"]),
  "k": (["--config.objective.num_samples=0"], ["num_samples = 0"]),
  "rate": (["--config.optim.lr=-0.1"], ["optim.lr = -0.1"]),
  "steps": (["--config.num_steps=0"], ["num_steps = 0"]),
  "infinite rate": (["--config.optim.lr=inf"], ["optim.lr = inf"]),
  "scales": (["--config.optim.scales=('a',)", "--config.optim.boundaries=(0.5,)"], ["optim.boundaries"]),
  "chunk": (["--config.objective.eval_chunk=0"], ["eval_chunk = 0"]),
  "seed": (["--config.seed=4294967296"], ["seed = 4294967296"]),
  "latent_dim": (["--config.model.args.latent_dim=0"], ["(config.model.args): latent_dim = 0", "must be 1 or more"]),
  "hidden": (["--config.model.args.hidden=('a',)"], ["hidden"]),
  "other model": (["--config.model.name=dlgm"], ["Model 'dlgm' (config.model.args"]),
  "option of mnist": (["--config.data.manual_dir=/x"], ["key of config.data 'manual_dir'"]),
  "log_every": (["--config.eval_every=15"], ["eval_every = 15", "log_every = 10"]),
  "likelihood": (["--config.evaluate.importance_sampling.num_samples=0"], ["importance_sampling.num_samples = 0"]),
}


@pytest.mark.parametrize("flags,named", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_get_one_sentence_before_anything_compiles(flags, named, tmp_path):
  done = main(f"--config={CONFIG}", f"--workdir={tmp_path / 'run'}", *flags)
  assert done.returncode == 2, done.stderr
  assert "Traceback" not in done.stderr
  (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
  for word in named:
    assert word in line
  assert not (tmp_path / "run").exists()


OTHER_MISTAKES = {
  "no workdir": ([f"--config={CONFIG}"], ["--workdir is missing"]),
  "no config": (["--workdir=runs/none"], ["--config is missing"]),
  "no config file, spaced": (["--config", "configs/iwea_mnist.py", "--workdir=runs/none"], ["iwea_mnist.py"]),
  "no config file": (
    ["--config=configs/iwea_mnist.py", "--workdir=runs/none"],
    ["iwea_mnist.py", "'configs/iwae_mnist.py'"],
  ),
  "config argument": (["--config=configs/iwae_mnist.py:tst", "--workdir=runs/none"], ["'tst'", "'test'"]),
  "flag": ([f"--config={CONFIG}", "--workdirr=x"], ["workdirr"]),
  "mode": ([f"--config={CONFIG}", "--mode=trian"], ["trian", "train"]),
  "no run": (["--mode=evaluate", "--workdir=runs/none"], ["holds no run"]),
  "unwritable": ([f"--config={CONFIG}", "--workdir=/proc/run"], ["/proc/run"]),
  "file": ([f"--config={CONFIG}", "--workdir=setup.cfg"], ["is a file"]),
  "foreign": ([f"--config={CONFIG}", "--workdir=configs"], ["not a run's"]),
}


@pytest.mark.parametrize("flags,named", OTHER_MISTAKES.values(), ids=OTHER_MISTAKES)
def test_other_mistakes_get_one_sentence(flags, named):
  done = main(*flags)
  assert done.returncode == 2, done.stderr
  assert "Traceback" not in done.stderr
  (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
  for word in named:
    assert word in line


def test_another_config_is_rejected_with_the_keys_that_differ(finished):
  workdir, _ = finished
  done = main(f"--config={CONFIG}", f"--workdir={workdir}", "--config.optim.lr=0.5", "--config.seed=3")
  assert done.returncode == 2
  assert "optim.lr (0.001 there, 0.5 now)" in done.stderr
  assert "seed (0 there, 3 now)" in done.stderr


@pytest.mark.parametrize("boundary,kept", [(0.25, 50), pytest.param(0.245, 40, marks=pytest.mark.slow)])
def test_nan_stops_the_run_names_the_steps_and_keeps_the_checkpoint(boundary, kept, tmp_path):
  """The learning rate explodes at step 51, or at 50, whose invalid parameters are saved before the loss shows it."""
  config = iwae_mnist.get_config("test,k=5")
  config.num_steps, config.checkpoint_every = 200, 10
  config.optim.lr, config.optim.boundaries, config.optim.scales = 1e-3, (boundary,), (1e38,)
  with pytest.raises(errors.DivergenceError, match=r"became (nan|-?inf) at step 5\d, within steps 51 to 60") as e:
    train.train_and_evaluate(config, tmp_path / "run")
  assert f"The checkpoint of step {kept} is kept" in str(e.value)
  assert not (tmp_path / "run" / "results.json").exists()
  assert all(np.isfinite(a).all() for a in jax.tree.leaves(arrays(tmp_path / "run").params))


def test_evaluation_rejects_another_config_but_not_other_options_of_evaluation(finished):
  workdir, _ = finished
  flags = [f"--config={CONFIG}", "--mode=evaluate", f"--workdir={workdir}"]
  done = main(*flags, "--config.data.transforms=binarize:threshold")
  assert done.returncode == 2
  assert "data.transforms (['binarize:dynamic'] there, ['binarize:threshold'] now)" in done.stderr
  before = json.loads((workdir / "results.json").read_text())
  done = main(*flags, "--config.evaluate.importance_sampling.num_samples=40")
  assert done.returncode == 0, done.stderr
  after = json.loads((workdir / "results.json").read_text())
  assert after["test/likelihood_samples"] == 40
  assert after["test/nll"] < before["test/nll"]


def test_evaluation_does_not_touch_a_checkpoint_that_is_being_written(finished):
  workdir, _ = finished
  writing = workdir / "checkpoints" / "60.orbax-checkpoint-tmp"
  writing.mkdir()
  assert main("--mode=sample", f"--workdir={workdir}").returncode == 0
  assert writing.is_dir()


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path):
  config = iwae_mnist.get_config("test,k=5")
  train.train_and_evaluate(config, tmp_path / "whole")
  shutil.copytree(tmp_path / "whole", tmp_path / "hurt")
  (tmp_path / "hurt" / "results.json").unlink()
  for file in (tmp_path / "hurt" / "checkpoints" / "40").rglob("*"):
    if file.is_file() and "state" not in file.name:
      file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
  train.train_and_evaluate(config, tmp_path / "hurt")
  for name in ("metrics.jsonl", "results.json"):
    assert (tmp_path / "hurt" / name).read_text() == (tmp_path / "whole" / name).read_text()
  jax.tree.map(np.testing.assert_array_equal, arrays(tmp_path / "hurt"), arrays(tmp_path / "whole"))


def test_the_compilation_cache_removes_the_oldest_beyond_its_limit(tmp_path):
  for age, name in enumerate(("new", "middle", "old")):
    (tmp_path / name).write_bytes(bytes(100))
    os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
  compilation_cache.trim(tmp_path, 250)
  assert {p.name for p in tmp_path.iterdir()} == {"new", "middle"}


def test_help_is_readable():
  done = main("--help")
  assert "python -m dgm_jax.main --config=configs/iwae_mnist.py" in done.stdout
  for flag in ("--config", "--workdir", "--mode", "--num_samples"):
    assert flag in done.stdout
  assert len(done.stdout.splitlines()) < 60


def test_parameter_table_adds_up():
  table = text_tables.parameter_table({"a": {"kernel": np.zeros((3, 4), "f")}, "b": np.zeros((), "f")})
  assert [line.split()[:3] for line in table.splitlines()[1:3]] == [["a/kernel", "3x4", "12"], ["b", "scalar", "1"]]
  assert "total 13 parameters" in table


def test_the_recorded_git_commit_is_correct(finished):
  if not (pathlib.Path(folder.__file__).parents[3] / ".git").exists():
    pytest.skip("not a git checkout")
  head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tables.ROOT, capture_output=True, text=True, check=True)
  assert run_record._git("rev-parse", "HEAD") == head.stdout.strip()
  assert len(json.loads((finished[0] / "run.json").read_text())[0]["git_commit"]) == len(head.stdout.strip())


@pytest.mark.slow
def test_a_user_trains_on_their_own_data(tmp_path):
  """The command of dgm_jax/data/README.md: another data set than the config's, with its own options."""
  np.savez(tmp_path / "mine.npz", x=np.random.default_rng(0).random((500, 12)) < 0.3)
  flags = ["--config.data.name=array", f"--config.data.path={tmp_path / 'mine.npz'}", "--config.data.test_fraction=0.2"]
  done = main(f"--config={CONFIG}", f"--workdir={tmp_path / 'run'}", *flags, f"--config.data.data_dir={tmp_path}")
  assert done.returncode == 0, done.stderr
  results = json.loads((tmp_path / "run" / "results.json").read_text())
  assert results["split_sizes"] == {"train": 350, "valid": 50, "test": 100}
  assert 12 * 0.55 < results["test/nll"] < 12 * 0.75  # the entropy of a coin with p = 0.3 is 0.61


@pytest.mark.slow
def test_a_table_with_missing_entries_trains_as_in_the_data_readme(tmp_path):
  rng = np.random.default_rng(0)
  x = rng.standard_normal((500, 2)) @ rng.standard_normal((2, 6)) * 100 + 7
  x[rng.random(x.shape) < 0.2] = np.nan
  rows = "\n".join(",".join("" if np.isnan(v) else str(v) for v in row) for row in x)
  (tmp_path / "t.csv").write_text("a,b,c,d,e,f\n" + rows + "\n")
  flags = ["--config.data.name=array", f"--config.data.path={tmp_path / 't.csv'}", f"--config.data.data_dir={tmp_path}"]
  flags += ["--config.data.transforms=standardize", "--config.model.args.likelihood=gaussian_bounded"]
  done = main(f"--config={CONFIG}", f"--workdir={tmp_path / 'run'}", *flags)
  assert done.returncode == 0, done.stderr
  results = json.loads((tmp_path / "run" / "results.json").read_text())
  # NLL of independent normals for 80 % of 6 entries, in the units of the table; the initial scale gives more
  independent = 0.8 * 6 * (np.log(np.nanstd(x, 0)).mean() + 0.5 * np.log(2 * np.pi * np.e))
  assert independent - 5 < results["test/nll"] < independent + 15


@pytest.mark.slow
def test_a_run_on_other_data_is_neither_resumed_nor_evaluated(tmp_path):
  np.save(tmp_path / "x.npy", np.random.default_rng(0).random((500, 12)) < 0.3)
  data = [
    "--config.data.name",
    "array",
    f"--config.data.path={tmp_path / 'x.npy'}",
    f"--config.data.data_dir={tmp_path}",
  ]
  flags = [f"--config={CONFIG}", f"--workdir={tmp_path / 'run'}", *data]
  assert main(*flags).returncode == 0
  np.save(tmp_path / "x.npy", np.random.default_rng(1).random((500, 12)) < 0.3)
  (tmp_path / "run" / "results.json").unlink()
  before = (tmp_path / "run" / "metrics.jsonl").read_text()
  for mode in ("train", "evaluate"):
    done = main(*flags, f"--mode={mode}")
    assert done.returncode == 2
    assert "was trained on other data than 'array' is now" in done.stderr
  assert (tmp_path / "run" / "metrics.jsonl").read_text() == before


def test_data_outside_the_decoders_support_are_rejected(tmp_path):
  np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((500, 12)))
  flags = ["--config.data.name=array", f"--config.data.path={tmp_path / 'x.npy'}", f"--config.data.data_dir={tmp_path}"]
  for transforms, named in (("binarize", "'binarize' takes grey levels"), ("standardize", "expects x in [0, 1]")):
    done = main(f"--config={CONFIG}", f"--workdir={tmp_path / 'run'}", *flags, f"--config.data.transforms={transforms}")
    assert done.returncode == 2
    assert named in done.stderr
