"""MLflow, in the extra `track`: to MLFLOW_TRACKING_URI, or without it to a local store in WORKDIR/mlflow.

`mlflow ui --backend-store-uri sqlite:///WORKDIR/mlflow/mlflow.db`, of the whole package mlflow, shows the local store.
MLFLOW_EXPERIMENT_NAME (dgm_jax) is the experiment.  A resumed run continues under the same id.
"""

import logging
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any

from dgm_jax.training.loggers import hub

check = hub.needed("mlflow", "mlflow", "needs the package mlflow")
_AT_ONCE = 100  # the most parameters of one request
_LONGEST = 6000  # letters of a parameter


def store(workdir: pathlib.Path) -> str:
  """The URI of the store: MLFLOW_TRACKING_URI, or without it a local one, of the kind that MLflow still develops."""
  return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(workdir / 'mlflow' / 'mlflow.db').absolute()}"


class Logger:
  """See dgm_jax.training.loggers."""

  rewinds = False

  def __init__(self, about: hub.About):
    from mlflow.entities import Param
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it logs every table that it creates
    where, local = store(about.workdir), (about.workdir / "mlflow").absolute()
    if not os.environ.get("MLFLOW_TRACKING_URI"):
      local.mkdir(exist_ok=True)
    self._client = MlflowClient(tracking_uri=where)
    known, _, known_where = (about.known("mlflow") or "").partition(" ")
    self.resumed = bool(known) and known_where == where
    if self.resumed:
      self._id = known
      self._client.update_run(known, status="RUNNING")
      return
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "dgm_jax")
    experiment = self._client.get_experiment_by_name(name)
    artifacts = None if os.environ.get("MLFLOW_TRACKING_URI") else (local / "artifacts").as_uri()
    number = experiment.experiment_id if experiment else self._client.create_experiment(name, artifacts)
    self._id = self._client.create_run(number, run_name=about.workdir.name).info.run_id
    about.remember("mlflow", f"{self._id} {where}")
    parameters = [Param(k, str(v)[:_LONGEST]) for k, v in about.parameters().items()]
    for i in range(0, len(parameters), _AT_ONCE):
      self._client.log_batch(self._id, params=parameters[i : i + _AT_ONCE])
    self._client.set_tag(self._id, "workdir", str(about.workdir.absolute()))

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Writes numbers."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    self._client.log_batch(self._id, metrics=[Metric(k, float(v), now, step) for k, v in values.items()])

  def pictures(self, step: int, paths: Mapping[str, pathlib.Path]) -> None:
    """Copies PNG files into the artifacts, figures/."""
    del step  # stands in the names of the files
    for path in paths.values():
      self._client.log_artifact(self._id, str(path), "figures")

  def texts(self, step: int, texts: Mapping[str, str]) -> None:
    """Writes texts into the artifacts, texts/NAME_STEP.txt."""
    for name, text in texts.items():
      self._client.log_text(self._id, text, f"texts/{name}_{step:08d}.txt")

  def finish(self, results: Mapping[str, Any]) -> None:
    """Writes the final metrics, and marks the run as finished."""
    self.scalars(int(results["step"]), hub.numbers(results))
    self._client.set_terminated(self._id, "FINISHED")

  def close(self) -> None:
    """Marks a run that has not finished as interrupted."""
    if self._client.get_run(self._id).info.status == "RUNNING":
      self._client.set_terminated(self._id, "KILLED")
