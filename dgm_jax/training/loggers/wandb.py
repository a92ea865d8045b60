"""Weights & Biases, in the extra `track`; WANDB_MODE=offline writes below WORKDIR/wandb alone, without an account.

WANDB_PROJECT (dgm_jax), WANDB_ENTITY and the other variables of wandb choose where the run appears.  A resumed run
continues under the same id.  The axis of all curves is the metric "step", so that figures, which are drawn while
training continues, may come late.
"""

import html
import os
import pathlib
import secrets
from collections.abc import Mapping
from typing import Any

from dgm_jax.training.loggers import hub

check = hub.needed("wandb", "wandb", "needs the package wandb")


class Logger:
  """See dgm_jax.training.loggers."""

  rewinds = False

  def __init__(self, about: hub.About):
    import wandb

    known = about.known("wandb")
    self.resumed, self._wandb = known is not None, wandb
    identity = known or secrets.token_hex(4)
    self._run = wandb.init(
      id=identity,
      resume="allow",
      reinit="create_new",  # lanes are several runs of one process
      project=os.environ.get("WANDB_PROJECT", "dgm_jax"),
      name=about.workdir.name,
      dir=str(about.workdir),
      config=about.parameters(),
      settings=wandb.Settings(console="off", silent=True),
    )
    about.remember("wandb", identity)
    self._run.define_metric("*", step_metric="step")

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Writes numbers."""
    self._run.log({"step": step, **values})

  def pictures(self, step: int, paths: Mapping[str, pathlib.Path]) -> None:
    """Copies PNG files."""
    self._run.log({"step": step} | {name: self._wandb.Image(str(path)) for name, path in paths.items()})

  def texts(self, step: int, texts: Mapping[str, str]) -> None:
    """Writes texts, verbatim."""
    shown = {name: self._wandb.Html(f"<pre>{html.escape(text)}</pre>") for name, text in texts.items()}
    self._run.log({"step": step} | shown)

  def finish(self, results: Mapping[str, Any]) -> None:
    """Writes the final metrics as the run's summary, beside which the config stands."""
    self._run.summary.update(hub.numbers(results))

  def close(self) -> None:
    """Waits until everything is written or sent."""
    self._run.finish()
