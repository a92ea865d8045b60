"""What normalising flows share: log p(x) by a change of variables, draws, normalising layers, classes."""

import math
from collections.abc import Sequence

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors, options
from dgm_jax.distributions import bases
from dgm_jax.distributions.likelihoods import families
from dgm_jax.models import contexts
from dgm_jax.models.autoregressive import made
from dgm_jax.models.base import flat, require_one_of

# no options of a MADE as a base
_OF_MODEL = ("data_shape", "data_mean", "num_classes", "context_dim", "parent", "name")


class FlowModel(nn.Module):
  """log p(x) = log p(z) + log |det dz/dx|, z [D].

  With classes, everything is given c = batch["context"], [B, C], one-hot vectors (the transform `condition`); with
  `condition:columns=...`, c are columns of a table, and p is a conditional density p(x|c).
  Parameters, and all computations, are float32 whatever config.dtype is: log-determinants would lose their digits in
  bfloat16.

  A subclass has the fields base, base_args, num_classes, norm, dtype and, for columns, context_dim, and in setup

    self.flow  with bijectors(context) and observe(x, context, train)
    self.p_z   = self.make_base(), N(0, I) or another density of z

  Attributes:
    data_shape: the shape of one x.
  """

  data_shape: Sequence[int]

  takes_real_numbers = True  # integers need the transform `dequantize`
  context_dim = 0  # C, columns of a table

  @property
  def context_size(self) -> int:
    """C, of classes or columns; 0 without."""
    return self.num_classes or self.context_dim

  def make_base(self) -> nn.Module:
    """p(z).  Raises UserError for an unknown name or option, or a MADE whose likelihood is no density on the line."""
    require_one_of((*bases.BASES, "made"), base=self.base)
    if self.base != "made":
      return bases.make(self.base, self.dim, **self.base_args)
    options.check("base 'made'", made.Model, self.base_args, _OF_MODEL)
    mixture = {"likelihood": "gaussian_mixture", "activation": "relu", "direct": False, "hidden": (64, 64)}
    given = mixture | dict(self.base_args)
    family = families.make(given["likelihood"], **given.get("likelihood_args", {}))
    errors.require(
      isinstance(family, families.Family)
      and not (family.shares_scale or family.of_counts)
      and family.num_values is None
      and family.support == (-math.inf, math.inf),
      f"likelihood = {given['likelihood']!r} of base 'made' is no density of any real number: choose another one, such "
      "as gaussian_mixture",
    )
    return made.Model((self.dim,), num_classes=self.num_classes, context_dim=self.context_dim, **given)

  @property
  def dim(self) -> int:
    """D."""
    return math.prod(self.data_shape)

  def _x(self, batch):
    x, mask = flat(batch)
    errors.require(mask is None, "A flow does not support missing entries: its layers mix all of them.")
    return jnp.asarray(x, jnp.promote_types(x.dtype, jnp.float32))

  def _context(self, batch):
    return contexts.of_batch(batch, self.num_classes, self.context_dim)

  def bijectors(self, context: jax.Array | None = None) -> list[tuple[str, distrax.Bijector]]:
    """[(name, bijector)] in the order in which they take x to z."""
    return self.flow.bijectors(context)

  def _to_noise(self, x, context):
    log_det = 0.0
    for _, bijector in self.bijectors(context):
      x, step = bijector.forward_and_log_det(x)
      log_det = log_det + step
    return x, log_det

  def _log_base(self, z, context):
    if self.base == "made":
      return self.p_z.log_prob({"x": z} if context is None else {"x": z, "context": context})
    return self.p_z().log_prob(z)

  def log_prob(self, batch: dict[str, jax.Array]) -> jax.Array:
    """log p(x), or log p(x|c), nats, [B]."""
    context = self._context(batch)
    z, log_det = self._to_noise(self._x(batch), context)
    return self._log_base(z, context) + log_det

  def objective(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(log p(x), {"log_px": the same}), [B]; with norm = "batch" by the batch's moments, which are also recorded."""
    del key
    if self.norm != "batch":
      log_px = self.log_prob(batch)
      return log_px, {"log_px": log_px}
    log_px = self._observed(batch, train=True)
    return log_px, {"log_px": log_px}

  def _observed(self, batch, train):
    context = self._context(batch)
    z, log_det = self.flow.observe(self._x(batch), context, train)
    return self._log_base(z, context) + log_det

  def __call__(self, batch: dict[str, jax.Array]) -> jax.Array:
    """Uses every parameter, for `init`, in which norms start from x."""
    return self._observed(batch, train=False)

  def _draw_base(self, key, n, context):
    if self.base == "made":
      z = self.p_z.generate(key, n, context=context)
      return z, self._log_base(z, context)
    return self.p_z().sample_and_log_prob(seed=key, sample_shape=(n,))

  def _draw(self, key, n, context):
    """(x [n, D], log p(x) [n])."""
    x, log_px = self._draw_base(key, n, context)
    for _, bijector in self.bijectors(context)[::-1]:
      x, log_det = bijector.inverse_and_log_det(x)
      log_px = log_px - log_det
    return x, log_px

  def generate(self, key: jax.Array, n: int, mean: bool = False, context: jax.Array | None = None) -> jax.Array:
    """x ~ p(x), [n, *data_shape]; also with `mean`, since x has no other distribution given z.

    Without `context` [n, C] classes are uniform; columns must be given.
    """
    del mean
    key_class, key_x = jax.random.split(key)
    context = contexts.of_draws(key_class, n, context, self.num_classes, self.context_dim)
    x, _ = self._draw(key_x, n, context)
    return x.reshape(n, *self.data_shape)

  def sample_and_log_prob(self, key: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
    """(x ~ p(x) [n, *data_shape], log p(x) [n]), of a model without a context.

    Raises:
      UserError: the model has classes, or is given columns.
    """
    errors.require(
      not self.context_size, "sample_and_log_prob is for a model without a context: use generate, log_prob"
    )
    x, log_px = self._draw(key, n, None)
    return x.reshape(n, *self.data_shape), log_px

  def check_known(self, mask: jax.Array) -> None:
    """Raises UserError unless `complete` can draw the entries with mask 0, which must be all."""
    errors.require(
      not (mask > 0).any(),
      "A flow draws all entries of x at once, given the columns of the transform 'condition': leave all others empty.",
    )

  def complete(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """x ~ p(x|c) for each c = batch["context"], [B, *data_shape]; see `check_known`."""
    return self.generate(key, len(batch["x"]), context=self._context(batch))
