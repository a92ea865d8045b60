"""Live view of a sweep, read from its folders: number of runs in each state, steps per second, best value so far."""

import contextlib
import pathlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import tqdm

from dgm_jax.core import errors
from dgm_jax.core.progress import progress_bar
from dgm_jax.sweeps import states
from dgm_jax.training import early_stopping

_DONE = ("finished", "pruned", "failed")


class View:
  """Progress of all runs as one bar over their steps; without a terminal, one line every half minute.

  Args:
    root: folder of the sweep.
    num_steps: {name: steps} of the runs.
    metric: metric whose best value so far is shown; "" for none.
  """

  def __init__(self, root: pathlib.Path, num_steps: Mapping[str, int], metric: str = ""):
    self._root, self._num_steps, self._metric = root, dict(num_steps), metric
    self._bar: tqdm.tqdm | None = None
    self._seen: dict[str, tuple[int, float | None]] = {}  # {run: (bytes of its metric files, latest value)}

  def add(self, num_steps: Mapping[str, int]) -> None:
    """Adds runs."""
    self._num_steps |= num_steps

  def look(self) -> None:
    """Reads the folders and updates the bar."""
    found = states.of(self._root, list(self._num_steps))
    done = sum(n if found[k].state in _DONE else min(n, found[k].step) for k, n in self._num_steps.items())
    total = sum(self._num_steps.values())
    if self._bar is None:
      self._bar = progress_bar(total, done, "sweep")
    counts = Counter(s.state for s in found.values())
    words = [f"{counts[s]} {s}" for s in states.STATES if counts[s]]
    if self._metric and (leader := self._best()):
      words.append(f"best {self._metric} {leader[1]:.4f} ({leader[0]})")
    self._bar.total = total
    self._bar.set_postfix_str(", ".join(words), refresh=False)
    self._bar.update(done - self._bar.n)

  def _best(self) -> tuple[str, float] | None:
    """(run, value) of the best among the runs' latest values; files whose size is unchanged are not read again."""
    for name in self._num_steps:
      path = states.folder(self._root, name)
      files = [p for p in (path / "metrics.jsonl", path / "results.json") if p.exists()]
      size = sum(p.stat().st_size for p in files)
      if self._seen.get(name, (0, None))[0] != size:
        self._seen[name] = size, states.last_values(path).get(self._metric)
    known = {name: value for name, (_, value) in self._seen.items() if value is not None}
    if not known:
      return None
    name = max(known, key=lambda n: early_stopping.score(self._metric, {self._metric: known[n]}))
    return name, known[name]

  def close(self) -> None:
    """Ends the progress line."""
    if self._bar is not None:
      self._bar.refresh()
      self._bar.close()


@contextlib.contextmanager
def watching(look: Callable[[], None], every: float = 2.0) -> Iterator[None]:
  """Calls `look` every `every` seconds in a thread while the block runs, and once more at its end.

  An exception raised by `look` is raised again at the end of the block.
  """
  over, raised = threading.Event(), []

  def loop():
    while not over.wait(every):
      try:
        look()
      except errors.UserError:  # a file on a shared file system was being replaced
        continue
      except Exception as e:
        raised.append(e)
        return

  thread = threading.Thread(target=loop, daemon=True)
  thread.start()
  try:
    yield
  finally:
    over.set()
    thread.join()
  if raised:
    raise raised[0]
  look()
