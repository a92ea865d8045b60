"""The platform that a program is made for: code with a faster form on one of them asks here.

JAX lowers a traced function for platforms that this machine lacks, too, by .lower(lowering_platforms=...); inside
`tracing_for("cuda")` it is traced with the branches that such a machine would take.
"""

import contextlib
import contextvars
from collections.abc import Iterator

import jax

_PLATFORM = contextvars.ContextVar("platform", default="")


def is_cpu(platform: str = "") -> bool:
  """Whether `platform`, by default that of `tracing_for` or else of JAX's default devices, is the CPU."""
  return (platform or _PLATFORM.get() or jax.default_backend()) == "cpu"


@contextlib.contextmanager
def tracing_for(platform: str) -> Iterator[None]:
  """Context in which is_cpu() answers for `platform`.  JAX must not have traced the same function before."""
  token = _PLATFORM.set(platform)
  try:
    yield
  finally:
    _PLATFORM.reset(token)
