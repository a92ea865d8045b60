"""Windows of a text, a long sequence of token ids, and the text that windows came from."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import Arrays


def cut(texts: Mapping[str, np.ndarray], seq_len: int, stride: int = 0) -> tuple[dict[str, Arrays], dict[str, Any]]:
  """({part: {"x": int32 [N, seq_len]}}, what `joined` needs, for about["windows"]) of the texts of all parts.

  Window i begins at token i * stride; the tokens behind the last whole window are kept in "rest".

  Args:
    texts: token ids, [n], by part.
    seq_len: tokens of a window.
    stride: tokens from the beginning of a window to that of the next; 0 for seq_len: windows that do not overlap.

  Raises:
    UserError: an invalid number, or a text shorter than a window.
  """
  errors.require(seq_len >= 1, f"data.seq_len = {seq_len}; it must be 1 or more.")
  errors.require(
    0 <= stride <= seq_len,
    f"data.stride = {stride}; it must be 1 to data.seq_len = {seq_len}, or 0 for windows that do not overlap.",
  )
  stride, parts, rest = stride or seq_len, {}, {}
  for part, ids in texts.items():
    errors.require(
      len(ids) >= seq_len, f"data.seq_len = {seq_len} is more than the {len(ids)} tokens of the {part} split."
    )
    x = np.lib.stride_tricks.sliding_window_view(np.asarray(ids, np.int32), seq_len)[::stride]
    parts[part] = {"x": np.ascontiguousarray(x)}
    rest[part] = ids[(len(x) - 1) * stride + seq_len :].tolist()
  return parts, {"stride": stride, "rest": rest}


def joined(x: np.ndarray, stride: int, rest: Sequence[int] = ()) -> np.ndarray:
  """The text, int32 [n], of which `cut` made the windows x [N, seq_len].

  Raises:
    UserError: two neighbours differ where they overlap.
  """
  x = np.asarray(x)
  same = (x[:-1, stride:] == x[1:, : x.shape[1] - stride]).all(1)
  errors.require(
    same.all(),
    f"the windows {int(np.argmin(same)) if len(same) else 0} and the next do not continue each other: give all windows "
    f"of a text in their order, each {stride} tokens behind the one before.",
  )
  return np.concatenate([x[:-1, :stride].ravel(), x[-1], np.asarray(rest, x.dtype)]).astype(np.int32)
