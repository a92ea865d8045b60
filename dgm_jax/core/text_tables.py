"""Tables for the terminal: parameters and results."""

from collections.abc import Mapping
from typing import Any

import jax


def parameter_table(params: Any) -> str:
  """One line per array of parameters, with name, shape, size and dtype; and the total."""
  rows = [
    ("/".join(str(k.key) for k in path), "x".join(map(str, leaf.shape)) or "scalar", leaf.size, str(leaf.dtype))
    for path, leaf in jax.tree_util.tree_leaves_with_path(params)
  ]
  total = sum(size for _, _, size, _ in rows)
  num_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
  rows = [("parameter", "shape", "size", "dtype")] + [(n, s, f"{k:,}", d) for n, s, k, d in rows]
  widths = [max(len(row[i]) for row in rows) for i in range(4)]
  lines = [f"{n:<{widths[0]}}  {s:>{widths[1]}}  {k:>{widths[2]}}  {d}" for n, s, k, d in rows]
  return "\n".join([*lines, f"total {total:,} parameters, {num_bytes / 1e6:.1f} MB"])


def shapes(arrays: Mapping[str, Any]) -> str:
  """The arrays of a split in a line: its size, and the name, dtype and shape of an example's entry of each array."""
  of_one = lambda a: f"{a.dtype}{list(a.shape[1:]) if a.ndim > 1 else ''}"
  size = len(next(iter(arrays.values()))) if arrays else 0
  return f"{size:,} examples of " + ", ".join(f"{name} {of_one(a)}" for name, a in arrays.items())


def count_parameters(params: Any) -> str:
  """The number of parameters in words."""
  return f"{sum(getattr(leaf, 'size', 1) for leaf in jax.tree.leaves(params)):,} parameters"


def results_table(results: dict[str, Any]) -> str:
  """One `name  value` line per result; floats have four decimals."""
  width = max(map(len, results))
  show = lambda v: f"{v:.4f}" if isinstance(v, float) else str(v)
  return "\n".join(f"{name:<{width}}  {show(value)}" for name, value in results.items())
