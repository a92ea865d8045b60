"""Options of the launchers: --help, their checks and the functions that take them cannot diverge."""

import inspect
import json
import re
import shlex
import sys

import pytest

from dgm_jax.core import errors
from dgm_jax.experiments import reproduce
from dgm_jax.sweeps import command, drive
from dgm_jax.sweeps.launchers import machine, options, slurm_launcher
from helpers import sweep_tasks, tables


def commands(page):
  """The commands of a page in Markdown that sweep or reproduce, as lists of words."""
  blocks = re.findall(r"```bash\n(.*?)```", (tables.ROOT / page).read_text(), re.DOTALL)
  lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
  found = [shlex.split(line, comments=True) for line in lines]
  return [words[3:] for words in found if words[:3] == ["python", "-m", "dgm_jax"]]


@pytest.mark.parametrize("name", options.LAUNCHERS)
def test_every_option_of_a_launcher_is_described_and_in_the_help(name):
  launch = options.module(name).launch
  parameters = set(inspect.signature(launch).parameters) - {"paths", "jobs", "on_change", "worker"}
  found = options.of(launch)
  assert {o.removesuffix("_KEY") for o in found} == parameters
  assert all(option.help for option in found.values())
  section = command._parser().format_help().partition(f"--launcher={name}\n")[2].partition("  --launcher=")[0]
  for option in found.values():
    assert f"--launcher.{option.name}" in section
    assert option.help.split()[-1] in section


def test_the_help_names_what_clusters_need():
  found = command._parser().format_help()
  for word in ("partition", "time", "gpus", "memory", "detach", "slurm_KEY", "address"):
    assert f"--launcher.{word}" in found


def test_values_have_the_types_of_the_functions():
  given = {"partition": "gpu", "time": "8:00:00", "memory": "32", "detach": "true", "slurm_account": "a7"}
  found = options.parse("slurm", given | {"restarts": "3"})
  assert found == {
    "partition": "gpu",
    "time": "8:00:00",
    "memory": 32.0,
    "detach": True,
    "slurm_account": "a7",
    "restarts": 3,
  }
  assert options.parse("slurm", {"detach": "false"}) == {"detach": False}


@pytest.mark.parametrize(
  "launcher, name, value, sentence",
  [
    ("slurm", "partitoin", "gpu", "'--launcher.partitoin'. Did you mean '--launcher.partition'?"),
    ("ray", "adress", "x", "Did you mean '--launcher.address'?"),
    ("local", "partition", "gpu", "of --launcher=local: '--launcher.partition'. Did you mean '--launcher.patience'?"),
    ("slurm", "memory", "much", "--launcher.memory=much: a number is needed."),
    ("slurm", "restarts", "1.5", "--launcher.restarts=1.5: an integer is needed."),
    ("slurm", "detach", "maybe", "--launcher.detach=maybe: true or false is needed."),
  ],
)
def test_a_wrong_option_names_the_nearest_and_a_wrong_value_the_type(launcher, name, value, sentence):
  with pytest.raises(errors.UserError, match=re.escape(sentence)):
    options.parse(launcher, {name: value})


def test_a_flag_needs_no_value_and_short_names_are_the_same():
  flags = options.flags("slurm")
  assert options.dotted(["--launcher.detach", "--launcher.time=5"], ["launcher"], flags) == {
    "launcher": {"detach": "true", "time": "5"}
  }
  assert options.dotted(["--launcher.detach"], ["launcher"], flags)["launcher"] == {"detach": "true"}
  assert options.dotted(["--launcher.time", "5"], ["launcher"], flags)["launcher"] == {"time": "5"}
  with pytest.raises(errors.UserError, match=r"--launcher.time needs a value"):
    options.dotted(["--launcher.time"], ["launcher"], flags)
  words = ["--launcher.gpus=2", "--launcher.cpus", "4", "--launcher.gpus_x=1", "--launcher=slurm"]
  assert options.with_short_names(words) == ["--gpus=2", "--cpus", "4", "--launcher.gpus_x=1", "--launcher=slurm"]


@pytest.mark.parametrize("page", ["dgm_jax/sweeps/README.md", "experiments/README.md"])
def test_the_pages_commands_for_clusters_can_be_planned_without_a_gpu(page):
  found = [words for words in commands(page) if "--launcher=slurm" in words]
  assert found
  for name, *words in found:
    args = reproduce.parsed(words) if name == "reproduce" else command.parsed(words)[0]
    assert cluster(args.launcher, gpus=args.gpus) is not None


def cluster(launcher, gpus=None, **values):
  return drive.check(drive.Options(launcher, gpus=gpus, launcher_options=values))


def test_the_number_of_gpus_is_never_that_of_a_machine_without_any(monkeypatch):
  monkeypatch.setattr(machine, "gpus", list)
  monkeypatch.delenv("RAY_ADDRESS", raising=False)
  for launcher, values in (("slurm", {}), ("ray", {"address": "127.0.0.1:1"})):
    with pytest.raises(errors.UserError, match=r"has none: give --gpus=N, 0 for none\.$"):
      cluster(launcher, **values)
    assert isinstance(cluster(launcher, gpus=0, **values), str)
  assert cluster("slurm", cluster="local") == ""  # it runs here
  monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
  with pytest.raises(errors.UserError, match="--launcher=ray"):
    cluster("ray")


def test_what_is_not_here_is_found_before_the_planning(monkeypatch, tmp_path):
  monkeypatch.setenv("PATH", str(tmp_path))
  assert cluster("slurm", gpus=0).startswith("--launcher=slurm needs sbatch, which is not on this machine's PATH: ")
  assert "at --launcher.address=127.0.0.1:1 (Connection refused)" in cluster("ray", gpus=0, address="127.0.0.1:1")
  for name in ("submitit", "ray"):
    monkeypatch.setitem(sys.modules, name, None)
  absent = "--launcher={} needs the package {}, which is not installed: pip install '.[sweep]'."
  assert cluster("slurm", gpus=0) == absent.format("slurm", "submitit")
  assert cluster("ray", gpus=0) == absent.format("ray", "ray")
  with pytest.raises(errors.UserError, match=r"--launcher\.time=never is not a time limit"):
    cluster("slurm", gpus=0, time="never")


def test_detached_jobs_that_still_run_are_not_started_again(monkeypatch, tmp_path):
  pytest.importorskip("submitit")
  slurm_launcher.launch(sweep_tasks.write(tmp_path, 2), worker=sweep_tasks.WORKER, cluster="local", detach=True)
  numbers = json.loads((tmp_path / "slurm" / "detached.json").read_text())
  assert len(numbers) == 2
  assert slurm_launcher.busy(tmp_path) == ""  # there is no squeue
  squeue = tmp_path / "bin" / "squeue"
  squeue.parent.mkdir()
  squeue.write_text(f"#!/bin/sh\necho {numbers[1]}\n")
  squeue.chmod(0o755)
  monkeypatch.setenv("PATH", str(squeue.parent), prepend=":")
  assert slurm_launcher.busy(tmp_path).startswith(f"Jobs {numbers[1]} of --root {tmp_path}, which an earlier command")
  assert slurm_launcher.busy(tmp_path / "other") == ""
  sweep_tasks.wait_until(lambda: len(sweep_tasks.events(tmp_path, "finish")) == 2)
