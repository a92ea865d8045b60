"""Starting from the parameters of another run: fine-tuning, or continuing with another objective."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors, paths
from dgm_jax.core.system import put_over
from dgm_jax.training.workdir import checkpoint


def check(workdir: str | pathlib.Path) -> None:
  """Raises UserError if the folder has no checkpoints."""
  errors.require(
    (paths.named("init_from", workdir) / "checkpoints").is_dir(),
    f"init_from = {str(workdir)!r} holds no checkpoint; name a run's folder.",
  )


def from_run(state: Any, workdir: str | pathlib.Path) -> tuple[Any, str]:
  """Copies those parameters and variables of a run's newest checkpoint whose name and shape match.

  If it has moving averages of its parameters, these are copied.  The optimiser is reset and starts at step 0.

  Returns:
    (state, a report of what matched and what did not).

  Raises:
    UserError: there is no checkpoint, or nothing matches.
  """
  check(workdir)
  with checkpoint.open_manager(paths.named("init_from", workdir), read_only=True) as manager:
    step, other = checkpoint.restore_arrays(manager)
  params = put_over(other["averages"], other["params"]) if other.get("averages") is not None else other["params"]
  found = _named("params", params) | _named("variables", other.get("variables"))
  lines, taken, seen = [], set(), set()

  def take(name: str, leaf: jax.Array) -> jax.Array:
    there = found.get(name)
    seen.add(name)
    if there is None or there.shape != leaf.shape:
      shape = "absent" if there is None else "x".join(map(str, there.shape))
      lines.append(f"  new: {name} {'x'.join(map(str, leaf.shape))} ({shape} there)")
      return leaf
    taken.add(name)
    return jax.device_put(there.astype(leaf.dtype), leaf.sharding)

  renewed = {
    part: jax.tree_util.tree_map_with_path(lambda path, leaf: take(_name(part, path), leaf), getattr(state, part))
    for part in ("params", "variables")
  }
  sentence = "none of its parameters matches one of this model in name and shape"
  errors.require(bool(taken), f"init_from = {str(workdir)!r}: {sentence}.")
  lines += [f"  unused: {name} (absent here)" for name in sorted(found.keys() - taken - seen)]
  head = f"Starting from step {step} of {workdir}: {len(taken)} of {len(seen)} arrays match."
  if state.averages is not None:
    params = renewed["params"]
    part = {k: params[k] for k in state.averages} if isinstance(params, dict) else params
    renewed["averages"] = jax.tree.map(jnp.copy, part)
  return state.replace(**renewed), "\n".join([head, *lines])


def _name(part: str, path: tuple) -> str:
  return "/".join([part, *(str(getattr(k, "key", k)) for k in path)])


def _named(part: str, tree: Any) -> dict[str, jax.Array]:
  return {_name(part, path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree or {})}
