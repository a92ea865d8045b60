"""What exact densities are given, c = batch["context"]: classes, as one-hot vectors, or columns of a table."""

import jax

from dgm_jax.core import errors


def of_batch(batch: dict[str, jax.Array], num_classes: int, context_dim: int) -> jax.Array | None:
  """c [B, C], or None for a model without.

  Args:
    batch: what the transforms made; `condition` adds the context.
    num_classes: of the model, 0 for none.
    context_dim: the number of columns, 0 for none.

  Raises:
    UserError: the batch has no context of that size, or the model has both.
  """
  context = batch.get("context")
  width = 0 if context is None else context.shape[-1]
  errors.require(
    not (num_classes and context_dim),
    f"num_classes = {num_classes}, but the transform 'condition' gives the model {context_dim} columns: choose 0",
  )
  errors.require(
    not num_classes or width == num_classes,
    f"num_classes = {num_classes}, but the context of the data has {width} entries: the transform 'condition' "
    "makes batch['context'] from the labels",
  )
  errors.require(
    not context_dim or width == context_dim,
    f"The model is given {context_dim} columns; the batch has {width}, as its 'context'",
  )
  return context if num_classes or context_dim else None


def of_draws(
  key: jax.Array, n: int, context: jax.Array | None, num_classes: int, context_dim: int
) -> jax.Array | None:  # fmt: skip
  """c [n, C] of n draws: the one that is given, or uniform classes; None for a model without.

  Raises:
    UserError: columns are not given.
  """
  if context is None and num_classes:
    return jax.nn.one_hot(jax.random.randint(key, (n,), 0, num_classes), num_classes)
  errors.require(
    context is not None or not context_dim,
    f"This model is p(x given {context_dim} columns): its draws need them",
  )
  return of_batch({} if context is None else {"context": context}, num_classes, context_dim)
