"""Errors that the user can fix: a one-sentence message that names the invalid value and the choices."""

import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from types import ModuleType

from dgm_jax.core import streams


class UserError(Exception):
  """A mistake of the user.  `main` prints its message without a traceback and exits with status 2.

  Not a ValueError: the flag parser would wrap that in a traceback.
  """


class NotAvailableError(UserError, NotImplementedError):
  """The requested quantity has no closed form, for instance log q of a flow without an inverse."""


class LockedError(UserError):
  """Another process is training in the run's folder."""


class DiskFullError(UserError):
  """The disk of the run's folder is full."""


class DivergenceError(RuntimeError):
  """Training produced NaN or Inf at `step`.  `main` prints its message without a traceback and exits with status 3."""

  def __init__(self, sentence: str, step: int | None = None):
    super().__init__(sentence)
    self.step = step


class PrunedError(RuntimeError):
  """The run ended early on request (stop.json in its folder), after it saved its state."""


class StoppedError(BaseException):
  """A signal stopped the run.  `main` prints how to resume it and exits with status 4.

  Like KeyboardInterrupt it is not an Exception: a handler that takes any error for a damaged file must not catch it.
  """


_EXTRAS = {  # of setup.cfg, whose packages are imported where they are used
  "pandas": "data",
  "sklearn": "data",
  "anndata": "data",
  "h5py": "data",
  "openpyxl": "data",
  "pyarrow": "data",
  "xlrd": "data",
  "optuna": "sweep",
  "ray": "sweep",
  "submitit": "sweep",
  "mlflow": "track",
  "wandb": "track",
  "constriction": "compress",
  "diffrax": "ode",
  "rdkit": "molecules",
  "selfies": "molecules",
  "cma": "worlds",
  "gymnasium": "car",
  "Box2D": "car",
  "vizdoom": "doom",
  "jinja2": "",  # of no extra
}


SMALLER = (
  "a smaller batch_size, eval_batch_size or objective.num_samples takes less, as do smaller chunks (objective.chunk, "
  "objective.eval_chunk, evaluate.*.chunk), remat=True and a smaller model"
)


def missing_package(e: ImportError, what: str = "This") -> str:
  """The sentence that says how to install the package that an import did not find; "" if it is none of `_EXTRAS`.

  Args:
    e: the error of the import.
    what: what needs the package, the beginning of the sentence.
  """
  package = (e.name or "").partition(".")[0]
  if package not in _EXTRAS:
    return ""
  extra = f"'.[{_EXTRAS[package]}]'" if _EXTRAS[package] else package
  return f"{what} needs the package {package}, which is not installed: pip install {extra}."


def import_package(name: str, what: str = "This") -> ModuleType:
  """Imports a package of an extra, or a module of this package that needs one.

  Raises:
    UserError: it is not installed; the message has the command that installs it.
  """
  try:
    return importlib.import_module(name)
  except ImportError as e:
    if not (said := missing_package(e, what)):
      raise
    raise UserError(said) from e


def sentence(e: BaseException) -> str:
  """The sentence for an error of the system that a user can act on; "" for any other, which deserves its traceback.

  These are: a package that is not installed, no memory left, a device that JAX does not find, and a file or folder that
  the system refuses.
  """
  if isinstance(e, ModuleNotFoundError):
    return missing_package(e)
  if isinstance(e, MemoryError) or (type(e).__name__.endswith("RuntimeError") and "RESOURCE_EXHAUSTED" in str(e)):
    said = (str(e).strip().splitlines() or ["out of memory"])[0][:200].removeprefix("RESOURCE_EXHAUSTED: ").rstrip(".")
    return f"There is not enough memory ({said}): {SMALLER}."
  if isinstance(e, RuntimeError) and "Unable to initialize backend" in str(e):
    asked = os.environ.get("JAX_PLATFORMS", "")
    said = str(e).strip().splitlines()[0][:200].rstrip(".")
    return f"JAX cannot use JAX_PLATFORMS={asked!r} ({said}): set it to cpu, cuda or tpu, or unset it."
  if isinstance(e, OSError) and e.filename is not None and e.strerror:
    return f"{str(e.filename)[:300]}: {e.strerror}."
  return ""


def is_installed(name: str) -> bool:
  """Whether a package can be imported; imports nothing."""
  try:
    return importlib.util.find_spec(name) is not None
  except ValueError:  # its import is blocked
    return False


def require_package(name: str) -> None:
  """Raises UserError, with the command that installs it, if a package of an extra is not installed; imports nothing."""
  require(is_installed(name), missing_package(ModuleNotFoundError(name=name)))


def run_command(main: Callable[[], int]) -> int:
  """Exit status of a command: 2 after a UserError or what `sentence` knows, which is printed; 4 if stopped."""
  streams.replace_characters()
  try:
    return main()
  except UserError as e:
    if os.environ.get("DGM_TRACEBACK"):
      raise
    print(f"error: {e}", file=sys.stderr)
    return 2
  except StoppedError as e:
    print(f"error: {e} Run the same command again to continue.", file=sys.stderr)
    return 4
  except KeyboardInterrupt:
    print("interrupted; run the same command again to continue.", file=sys.stderr)
    return 4
  except Exception as e:
    if os.environ.get("DGM_TRACEBACK") or not (said := sentence(e)):
      raise
    print(f"error: {said}", file=sys.stderr)
    return 2


def unknown(what: str, name: str, choices: Iterable[str]) -> UserError:
  """The error for a name that is none of `choices`; the message has the nearest name and the choices."""
  choices = sorted(choices)
  near = difflib.get_close_matches(str(name), choices, n=1)
  hint = f" Did you mean {near[0]!r}?" if near else ""
  listed = f"Choices: {', '.join(choices)}." if choices else "There are none."
  return UserError(f"Unknown {what} {name!r}.{hint} {listed}")


def choose(what: str, name: str, choices: Iterable[str]) -> str:
  """Returns `name` if it is one of `choices`, else raises `unknown`."""
  choices = sorted(choices)
  if name in choices:
    return name
  raise unknown(what, name, choices)


def require(condition: bool, message: str) -> None:
  """Raises UserError(message) unless `condition` holds."""
  if not condition:
    raise UserError(message)
