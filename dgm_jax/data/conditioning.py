"""The transform `condition:columns=...`: columns of a table that a conditional density p(x | c) is given."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from dgm_jax.core import errors


def _column(text: str, names: Sequence[str], width: int) -> int:
  """The column of a name, or of an index from 0."""
  if text in names:
    return list(names).index(text)
  if text.removeprefix("-").isdecimal() and -width <= int(text) < width:
    return int(text) % width
  raise errors.unknown("column of transform 'condition'", text, names or [f"0 to {width - 1}"])


def columns_of(text: str, names: Sequence[str], width: int) -> tuple[int, ...]:
  """The columns of "alcohol+pH" or "0+8", in that order.

  Args:
    text: names of columns, or indices from 0 (-1 is the last), separated by plus signs.
    names: of all columns; () where they have none.
    width: the number of columns.

  Raises:
    UserError: an unknown column, one that is given twice, or none that is left for x.
  """
  found = tuple(_column(part.strip(), names, width) for part in text.split("+"))
  errors.require(len(set(found)) == len(found), f"Transform 'condition': columns={text} names a column twice.")
  errors.require(len(found) < width, f"Transform 'condition': columns={text} are all columns; none is left for x.")
  return found


def gives_labels(transforms: Sequence[str]) -> bool:
  """Whether a model is given class labels y by these transforms, not columns of the table."""
  names = (text.replace(" ", "") for text in transforms)
  return any(name == "condition" or name in ("condition:", "condition:columns=") for name in names)


def of_x(a: np.ndarray, given: Sequence[int]) -> np.ndarray:
  """x or a mask [N, D] without the columns that are given."""
  return np.delete(a, list(given), -1) if given else a


def make(
  train: Any, text: str, names: Sequence[str]
) -> tuple[Callable, Callable, bool, Callable, Callable, tuple[int, ...]]:
  """The fields of a Transform: c = the columns `text`, standardised by the moments of the training set.

  The batch then has "context", c [..., C]; x and mask have the other columns.  c is given, not modelled: its scale has
  no part in log p(x | c).

  Args:
    train: Statistics of the training set.
    text, names: see columns_of.

  Raises:
    UserError: x is no table, an entry of c is missing, or see columns_of.
  """
  errors.require(
    len(train.shape) == 1,
    f"Transform 'condition:columns={text}' takes tables, x of shape [N, D]; x has shape {list(train.shape)}.",
  )
  given = columns_of(text, names, train.shape[0])
  called = [repr(names[j]) if j < len(names) else str(j) for j in given]

  def check(found):
    for j, name in zip(given, called, strict=True):
      errors.require(
        found.is_observed(j), f"Column {name}, which the transform 'condition' gives to the model, has missing entries."
      )

  check(train)
  of_c, rest = jnp.array(given), jnp.array([j for j in range(train.shape[0]) if j not in given])
  mean, std = (jnp.asarray(a, jnp.float32)[of_c] for a in (train.mean, train.std))
  keeps = lambda a: a[..., rest]

  def apply(key, batch):
    del key
    found = batch | {"context": (batch["x"][..., of_c].astype(jnp.float32) - mean) / std}
    return found | {name: keeps(batch[name]) for name in ("x", "mask") if name in batch}

  return apply, keeps, False, check, keeps, given
