"""Loggers write what they are given, continue after an interruption, and never stop a run."""

import errno
import json
import pathlib
import threading
import time
import urllib.request

import numpy as np
import pytest

from dgm_jax.configs import iwae_mnist
from dgm_jax.core import errors, figures
from dgm_jax.training import loggers, train
from dgm_jax.training.loggers import hub

CONFIG = {"optim.lr": 1e-3, "model.name": "vae", "optim.boundaries": (0.5,), "num_steps": None, "remat": False}
RESULTS = {"test/nll": 99.5, "test/active_units": 7, "test/note": "text", "step": 30, "seed": 0}


def write(workdir, names, step=0, rows=(), logged=-1, last=30):
  """One process of a run: rows 10, 20, 30 as far as they are not yet done, a picture, a text and the results."""
  workdir.mkdir(exist_ok=True)
  written = hub.Hub(names, hub.About(workdir, step, CONFIG), rows, logged)
  for s in range(step + 10, last + 1, 10):
    written.scalars(s, {"train/loss": 100.0 - s, "speed/steps_per_s": 5.0})
  path = workdir / "figures" / "samples_00000030.png"
  figures.save_image(path, np.linspace(0, 1, 12, dtype="f").reshape(3, 4, 1))
  written.pictures(30, {"samples": path, "missing": workdir / "none.png"})
  written.texts(30, {"texts": "to be\n# or not"})
  if last == 30:
    written.finish(RESULTS)
  written.close()
  return path


def accumulated(workdir):
  module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
  found = module.EventAccumulator(str(workdir / "tensorboard"))
  return found.Reload()


def test_a_full_disk_turns_tensorboard_off_instead_of_waiting_for_its_thread(tmp_path, capsys):
  def full(*args):
    raise OSError(errno.ENOSPC, "No space left on device")

  written = hub.Hub(["tensorboard"], hub.About(tmp_path, 0, CONFIG))
  written._loggers["tensorboard"]._board.file_writer.event_writer._ev_writer._py_recordio_writer.write = full
  thread = threading.Thread(target=lambda: [written.scalars(s, {"a": 1.0}) for s in range(99)], daemon=True)
  for work in (thread, threading.Thread(target=written.close, daemon=True)):
    work.start()
    work.join(10)
    assert not work.is_alive()
  assert "The logger 'tensorboard' failed and is turned off" in capsys.readouterr().err


def test_tensorboard_has_scalars_pictures_texts_and_hyper_parameters(tmp_path):
  path = write(tmp_path, ["tensorboard"])
  found = accumulated(tmp_path)
  assert [(e.step, e.value) for e in found.Scalars("train/loss")] == [(10, 90), (20, 80), (30, 70)]
  assert [(e.step, e.value) for e in found.Scalars("test/nll")] == [(30, 99.5)]
  [image] = found.Images("samples")
  assert (image.step, image.encoded_image_string) == (30, path.read_bytes())
  assert (image.width, image.height) == (4, 3)
  [text] = found.Tensors("texts/text_summary")
  assert text.tensor_proto.string_val[0].decode() == "    to be\n    # or not"
  from tensorboard.plugins.hparams import plugin_data_pb2

  content = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
  start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
  assert start["optim.lr"].number_value == pytest.approx(1e-3)
  assert start["model.name"].string_value == "vae"
  assert start["optim.boundaries"].string_value == "(0.5,)"
  assert "num_steps" not in start


def test_tensorboard_forgets_what_a_resumed_run_repeats(tmp_path):
  write(tmp_path, ["tensorboard"], last=20)
  write(tmp_path, ["tensorboard"], step=10, rows=[{"step": 10, "train/loss": 90.0}], logged=20)
  found = accumulated(tmp_path)
  assert [(e.step, e.value) for e in found.Scalars("train/loss")] == [(10, 90), (20, 80), (30, 70)]


@pytest.mark.slow  # starts a server
def test_tensorboard_s_server_answers_with_what_was_logged(tmp_path):
  program = pytest.importorskip("tensorboard.program")
  write(tmp_path, ["tensorboard"])
  server = program.TensorBoard()
  server.configure(("", f"--logdir={tmp_path}", "--host=127.0.0.1", "--port=0", "--load_fast=false"))
  url, run, found = server.launch(), "tensorboard", None

  def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}data/plugin/{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
      return json.loads(answer.read())

  for _ in range(60):  # it reads the files in a thread
    if run in (found := ask("scalars/tags")):
      break
    time.sleep(0.5)
  assert {"train/loss", "speed/steps_per_s", "test/nll"} <= found[run].keys()
  assert [row[1:] for row in ask(f"scalars/scalars?run={run}&tag=train/loss")] == [[10, 90], [20, 80], [30, 70]]
  assert [image["step"] for image in ask(f"images/images?run={run}&tag=samples&sample=0")] == [30]
  assert "or not" in ask(f"text/text?run={run}&tag=texts/text_summary")[0]["text"]
  columns, states = [{"metric": {"group": "", "tag": "test/nll"}}], ["STATUS_UNKNOWN", "STATUS_SUCCESS"]
  asked = {"colParams": columns, "allowedStatuses": states, "startIndex": 0, "sliceSize": 9}
  [group] = ask("hparams/session_groups", asked)["sessionGroups"]
  assert group["hparams"]["optim.lr"] == pytest.approx(1e-3)
  assert [m["value"] for m in group["metricValues"] if m["name"]["tag"] == "test/nll"] == [99.5]


class Recorder:
  """A logger that cannot rewind."""

  resumed, rewinds, calls = False, False, []

  def __init__(self, about):
    self.resumed = about.known("recorder") is not None
    about.remember("recorder", "id")

  def scalars(self, step, values):
    self.calls.append((step, values["train/loss"]))

  def pictures(self, step, paths):
    raise ConnectionError("the server is down")

  def close(self):
    pass


def test_a_logger_that_cannot_rewind_gets_each_row_once_and_a_new_one_all_rows(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(hub, "module", lambda package, kind, name: type("m", (), {"Logger": Recorder}))
  monkeypatch.setattr(Recorder, "calls", [])
  rows = [{"step": 10, "train/loss": 90.0}]
  write(tmp_path / "a", ["recorder"], last=20)
  write(tmp_path / "a", ["recorder"], step=10, rows=rows, logged=20, last=30)
  assert Recorder.calls == [(10, 90), (20, 80), (30, 70)]
  monkeypatch.setattr(Recorder, "calls", [])
  write(tmp_path / "b", ["recorder"], step=10, rows=rows, logged=20, last=30)  # new to a resumed run
  assert Recorder.calls == [(10, 90), (20, 80), (30, 70)]
  said = capsys.readouterr().err  # the failure of a logger does not end the run
  assert said.count("'recorder' failed and is turned off (ConnectionError: the server is down)") == 3


def test_names_are_validated_and_a_missing_package_is_one_sentence(monkeypatch):
  hub.check(("tensorboard",))
  hub.check(())
  hub.check(("tensorboard,",))  # as --config.loggers=a,b arrives
  with pytest.raises(errors.UserError, match=r"logger 'tensorbord'.*Did you mean 'tensorboard'"):
    hub.check(("tensorbord",))
  with pytest.raises(errors.UserError, match="each can be named once"):
    hub.check(("tensorboard", "tensorboard"))
  with pytest.raises(errors.UserError, match=r"needs the package nowhere: pip install '\.\[track\]' installs it"):
    hub.needed("wandb", "nowhere_to_be_found", "needs the package nowhere")()
  folder = pathlib.Path(loggers.__file__).parent
  assert {p.stem for p in folder.glob("*.py")} == {"__init__", "hub", "tensorboard", "wandb", "mlflow"}


@pytest.mark.slow  # making the store takes seconds
def test_mlflow_local_store_has_metrics_parameters_artifacts_and_one_run(tmp_path, monkeypatch):
  mlflow = pytest.importorskip("mlflow")
  monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
  write(tmp_path, ["mlflow"], last=20)
  client = mlflow.tracking.MlflowClient(tracking_uri=mlflow_store(tmp_path))
  [run] = client.search_runs([client.get_experiment_by_name("dgm_jax").experiment_id])
  assert run.info.status == "KILLED"
  write(tmp_path, ["mlflow"], step=10, rows=[{"step": 10, "train/loss": 90.0}], logged=20)
  [run] = client.search_runs([client.get_experiment_by_name("dgm_jax").experiment_id])
  assert run.info.status == "FINISHED"
  history = client.get_metric_history(run.info.run_id, "train/loss")
  assert sorted((m.step, m.value) for m in history) == [(10, 90), (20, 80), (30, 70)]
  assert run.data.metrics["test/nll"] == 99.5
  assert run.data.params["optim.lr"] == "0.001" and "num_steps" not in run.data.params
  assert [a.path for a in client.list_artifacts(run.info.run_id, "figures")] == ["figures/samples_00000030.png"]


def mlflow_store(workdir):
  from dgm_jax.training.loggers import mlflow

  return mlflow.store(workdir)


@pytest.mark.slow  # wandb starts a process of its own
def test_wandb_offline_continues_under_the_same_id(tmp_path, monkeypatch):
  pytest.importorskip("wandb")
  monkeypatch.setenv("WANDB_MODE", "offline")
  write(tmp_path, ["wandb"], last=20)
  known = json.loads((tmp_path / "loggers.json").read_text())
  write(tmp_path, ["wandb"], step=10, rows=[{"step": 10, "train/loss": 90.0}], logged=20)
  assert json.loads((tmp_path / "loggers.json").read_text()) == known
  files = sorted((tmp_path / "wandb").glob(f"offline-run-*/run-{known['wandb']}.wandb"))
  assert len(files) >= 1 and all(f.stat().st_size > 500 for f in files)


@pytest.mark.slow
def test_a_run_resumes_with_other_loggers_and_other_formats(tmp_path, monkeypatch):
  pytest.importorskip("mlflow")
  monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
  config = iwae_mnist.get_config("test")
  with config.unlocked():
    config.loggers, config.figure_formats = (), ("pdf",)
  (tmp_path / "stop.json").write_text(json.dumps({"reason": "test"}))
  with pytest.raises(errors.UserError):  # a folder with other files is no run's
    train.train_and_evaluate(config, tmp_path)
  (tmp_path / "stop.json").unlink()
  results = train.train_and_evaluate(config, tmp_path / "run")
  assert not (tmp_path / "run" / "tensorboard").exists()
  assert {p.suffix for p in (tmp_path / "run" / "figures").iterdir()} == {".pdf"}
  (tmp_path / "run" / "results.json").unlink()
  config = iwae_mnist.get_config("test")
  with config.unlocked():
    config.loggers, config.figure_formats = ("tensorboard", "mlflow"), ("png",)
  again = train.train_and_evaluate(config, tmp_path / "run")
  assert again["test/nll"] == pytest.approx(results["test/nll"])
  found = accumulated(tmp_path / "run")
  assert [e.value for e in found.Scalars("test/nll")] == [pytest.approx(again["test/nll"])]
  assert len(found.Scalars("train/loss")) == 4  # the rows of the first process, too
  assert "activities" in found.Tags()["images"]
