"""The card of a packed model: what it is, how it was trained and measured, and what to cite; as Markdown."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from dgm_jax.core import config_args, errors, files

_LINK = re.compile(r"https?://[^\s,;)]+")


def citation(config: str) -> str:
  """First line of the docstring of a config file, and its links: the paper that the config follows; "" if unknown."""
  try:
    about = config_args.functions(config).get("__doc__") if config else None
  except errors.UserError:  # the file of a config of one's own may be elsewhere by now
    return ""
  if not about:
    return ""
  return " ".join([about.strip().splitlines()[0], *dict.fromkeys(_LINK.findall(about))])


def _number(value: Any) -> str:
  return f"{value:.6g}" if isinstance(value, float) else str(value)


def _table(rows: Mapping[str, Any], name: str) -> list[str]:
  return [f"| {name} | |", "|---|---|", *(f"| {k} | {_number(v)} |" for k, v in rows.items()), ""]


def card(
  config: Mapping[str, Any], results: Mapping[str, Any], model: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> str:
  """The card.

  Args:
    config, results: as in config.json and results.json.
    model: the content of model.json.
    arrays: the stored parameters.
  """
  sizes = {name: a.size for name, a in arrays.items() if name.startswith("params/")}
  numbers = {k: v for k, v in results.items() if "/" in k and isinstance(v, int | float)}
  splits = ", ".join(f"{n:,} {part}" for part, n in results.get("split_sizes", {}).items())
  what = {
    "config": model["config"] or "of one's own",
    "model": f"{config['model']['name']}, {sum(sizes.values()):,} parameters, stored in {model['dtype']}",
    "trained by": f"{config['principle']}, {results['step']:,} steps of batch {config['batch_size']}",
    "objective": ", ".join(f"{k} = {v}" for k, v in config["objective"].items()) or "the model's own",
    "data": f"{results['data']} ({splits})",
    "transforms": ", ".join(results["transforms"]) or "none",
    "seed": results["seed"],
  }
  options = files.flatten(dict(config["evaluate"]))
  protocol = {
    "data digest": results["data_digest"],
    **options,
    **{k.removeprefix("test/"): v for k, v in results.items() if k.endswith("_note")},
  }
  source = citation(model["config"])
  lines = [f"# {config['model']['name']} of {results['data']}", "", *_table(what, "model")]
  lines += (
    _table(numbers, "result, test set (nats where not said otherwise)")
    if numbers
    else ["The run was not evaluated at these parameters.", ""]
  )
  lines += ["## Protocol", "", *_table(protocol, "setting"), "## Versions", ""]
  lines += _table(
    {k: f"{v} (packed with {model['packed_with'].get(k)})" for k, v in model["trained_with"].items()}, "trained with"
  )
  lines += ["## Source", "", source, ""] if source else []
  lines += ["## Use", "", "```python", "import dgm_jax", "", 'model = dgm_jax.load("FILE.dgm")', "```", ""]
  if model["programs"]:
    lines += ["Programs that need JAX alone (see dgm_jax/api/README.md):", "", *_table(model["programs"], "program")]
  return "\n".join(lines)
