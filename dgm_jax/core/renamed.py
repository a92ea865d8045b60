"""Renamed config keys and values: earlier names, in old runs, sweeps and commands, and their present names."""

from typing import Any

from dgm_jax.core import errors

PATHS = {  # sections and options of a config
  "evaluate.likelihood": "evaluate.importance_sampling",
  "data.label": "data.target",
}
VALUES = {  # choices by name
  "principle": {"likelihood": "supervised", "mcem": "monte_carlo_em"},
  "evaluate.gaps.log_px": {"likelihood": "importance_sampling"},
}


def new_path(path: str) -> str:
  """The present path of a config value: evaluate.likelihood.chunk -> evaluate.importance_sampling.chunk."""
  for old, new in PATHS.items():
    if path == old or path.startswith(f"{old}."):
      return new + path[len(old) :]
  return path


def new_value(path: str, value: Any) -> Any:
  """The present name of a choice; any other value is returned unchanged."""
  return VALUES.get(path, {}).get(value, value) if isinstance(value, str) else value


def upgraded(config: dict[str, Any]) -> dict[str, Any]:
  """A copy of a config, nested as in config.json, with the present names."""

  def walk(node: Any, at: str) -> Any:
    if not isinstance(node, dict):
      return new_value(at, node)
    found = {}
    for name, value in node.items():
      path = new_path(f"{at}.{name}".lstrip("."))
      found[path.rpartition(".")[2]] = walk(value, path)
    return found

  return walk(config, "")


def check(path: str, value: Any = None) -> None:
  """Validates that neither a path of a config nor its value has an earlier name.

  Raises:
    UserError: one of them has; the message gives the present name.
  """
  errors.require(new_path(path) == path, f"config.{path} is now called config.{new_path(path)}.")
  if isinstance(value, str):
    new = new_value(path, value)
    errors.require(new == value, f"{value!r}, the value of config.{path}, is now called {new!r}.")
