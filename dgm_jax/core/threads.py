"""Threads of the linear algebra of NumPy and SciPy."""

import contextlib
import functools
from contextlib import AbstractContextManager
from typing import Any

_LARGE = 512


@functools.cache
def _controller() -> Any:
  try:
    import threadpoolctl
  except ImportError:
    return None
  return threadpoolctl.ThreadpoolController()


def one(size: int = 0) -> AbstractContextManager[Any]:
  """A context in which OpenBLAS, or another BLAS, has one thread; unless matrices have `size` >= 512 rows or columns.

  Threads of an eigendecomposition of any size, or of small products, mostly wait for each other, busily: two take
  several times as long as one where other programs use the cores.  Without threadpoolctl, which comes with
  scikit-learn, nothing changes.
  """
  controller = _controller() if size < _LARGE else None
  return contextlib.nullcontext() if controller is None else controller.limit(limits=1, user_api="blas")
