"""The entry point of all commands: each has --help; an unknown name suggests the nearest, a former one the present."""

import os
import subprocess
import sys

import pytest

from dgm_jax import __main__
from helpers import processes, tables

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize("name", __main__.COMMANDS)
def test_every_command_has_help(name):
  done = processes.dgm_jax(name, "--help")
  assert (done.returncode, done.stderr) == (0, "")
  assert "Exit status" in done.stdout
  assert len(done.stdout.splitlines()) < 100


def test_the_list_of_commands_is_the_table():
  for words in ((), ("--help",), ("help",)):
    done = processes.dgm_jax(*words)
    assert done.returncode == 0
    listed = [line.split()[0] for line in done.stdout.partition("\nCommands\n")[2].splitlines() if line]
    assert listed == list(__main__.COMMANDS)


def test_a_mode_has_its_own_flags():
  flags_of = lambda name: {
    w.strip("-:") for w in processes.dgm_jax(name, "--help").stdout.split() if w.startswith("--")
  }
  assert "num_samples" in processes.dgm_jax("sample", "--help").stdout.partition("\nFlags\n")[2]
  assert "num_samples" not in processes.dgm_jax("evaluate", "--help").stdout.partition("\nFlags\n")[2]
  assert {"checkpoint", "workdir", "config"} <= flags_of("evaluate")


@pytest.mark.parametrize("words,named", [
  (["trian"], ["Unknown command 'trian'", "Did you mean 'train'?", "prepare-data"]),
  (["train", "--config=configs/iwea_mnist.py", "--workdir=runs/none"], ["iwea_mnist.py", "configs/iwae_mnist.py"]),
  (["--config=configs/iwea_mnist.py", "--workdir=runs/none"], ["iwea_mnist.py"]),  # without a command: train
  (["evaluate", "--mode=train", "--workdir=runs/none"], ["--mode is for python -m dgm_jax.main"]),
  (["evaluate", "--workdir=runs/none"], ["--workdir runs/none holds no run"]),
  (["compare", "runs/none"], ["Name two runs or more"]),
  (["reproduce", "burda2061"], ["Unknown paper 'burda2061'", "burda2016"]),
  (["sweep-report", "runs/none"], ["runs/none"]),
])  # fmt: skip
def test_mistakes_get_one_sentence_and_status_2(words, named):
  done = processes.dgm_jax(*words)
  assert done.returncode == 2, done.stderr
  assert "Traceback" not in done.stderr
  [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
  for word in named:
    assert word in line
  assert not (tables.ROOT / "runs" / "none").exists()


@pytest.mark.parametrize("name", ["impute", "compare", "ensemble"])
def test_former_commands_name_the_present_one(name, capsys):
  assert __main__.moved(name) == 2
  assert f"python -m dgm_jax.{name} is now called python -m dgm_jax {name}" in capsys.readouterr().err
  text = (tables.ROOT / "dgm_jax" / f"{name}.py").read_text()
  assert f'sys.exit(moved("{name}"))' in text


def test_scripts_are_thin_callers():
  for name in ("sweep", "sweep_report", "prepare_data"):
    text = (tables.ROOT / "scripts" / f"{name}.py").read_text()
    assert f'run_named("{name.replace("_", "-")}", sys.argv[1:])' in text
    assert len(text.splitlines()) < 15


@pytest.mark.slow
def test_real_processes_behave_like_forked_processes():
  """`python -m`, a script and a former command, each in a Python of its own."""
  run = lambda *words: subprocess.run([sys.executable, *words], cwd=tables.ROOT, capture_output=True, text=True)
  done = run("-m", "dgm_jax.main", "--help")
  assert (done.returncode, done.stdout) == (0, processes.main("--help").stdout)
  assert "--num_samples" in done.stdout
  done = run("-m", "dgm_jax.impute", "data.csv")
  assert done.returncode == 2
  assert "python -m dgm_jax.impute is now called python -m dgm_jax impute" in done.stderr
  done = run("scripts/sweep_report.py", "runs/none")
  assert done.returncode == 2
  assert done.stderr.startswith("error: ")


@pytest.mark.parametrize(
  "words,package",
  [
    (["impute", "x.csv", "--out=y.csv"], "pandas"),
    pytest.param(["sweep", "--config=iwae_mnist:test", "--root=x"], "pandas", marks=pytest.mark.slow),
    pytest.param(
      ["train", "--config=kmeans_mnist:test,data=array", "--config.data.path=x.csv", "--workdir=x"],
      "pandas",
      marks=pytest.mark.slow,
    ),
  ],
)
def test_without_a_package_of_an_extra_one_sentence_says_how_to_install_it(words, package, tmp_path):
  (tmp_path / "x.csv").write_text("a,b\n1,0\n")
  code = f"import sys; sys.modules['{package}'] = None; from dgm_jax.__main__ import main; sys.exit(main())"
  env = os.environ | {"PYTHONPATH": str(tables.ROOT)}
  done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, env=env, capture_output=True, text=True)
  assert done.returncode == 2, done.stderr
  assert package in done.stderr and "pip install '.[data]'" in done.stderr
  assert "Traceback" not in done.stderr
  assert [p.name for p in tmp_path.iterdir()] == ["x.csv"]
