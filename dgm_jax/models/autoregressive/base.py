"""What autoregressive models share: log p(x) from one pass, and draws entry by entry with a cache."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors
from dgm_jax.distributions.factorised import Factorised, sum_last
from dgm_jax.distributions.likelihoods import families
from dgm_jax.models import contexts
from dgm_jax.models.autoregressive import drawing
from dgm_jax.models.base import flat


class Autoregressive(nn.Module):
  """p(x) = 1/N sum_n prod_t p(x_o(t) | x_o(1), ..., x_o(t-1)), o the n-th of N orders of the D entries of x.

  Several orders are a mixture: their probabilities are averaged, not their logits, whose average does not sum to 1.
  With classes, everything is given c = batch["context"], [B, C], one-hot vectors (the transform `condition`).

  A subclass adds, for the n-th order, whose number `which` is an array or 0,

    conditionals(x [B, D], context [B, C] or None, which)  -> h [B, D, P], in which h_d depends on the entries before d
    start(n, context, which)                               -> cache, before the first step
    step(cache, t, before [n])                             -> (cache, h [n, P] of the t-th entry), the entry before it
                                                              being `before` (0 at t = 0)
    order(which)                                           -> o, [D]
    num_orders                                             -> N, if it is not 1

  Attributes:
    data_shape: the shape of one x.
    data_mean: the mean of the training set, flat, near which the first conditional means start; None: see families.
    likelihood: p(x_d | h_d), a name of families.FAMILIES, and its options.
    num_classes: C; 0 for a model without classes.
  """

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  likelihood: str = "bernoulli"
  likelihood_args: Mapping[str, Any] = FrozenDict()
  num_classes: int = 0

  context_dim = 0  # C, columns of a table, of a subclass that takes them

  @property
  def dim(self) -> int:
    """D."""
    return math.prod(self.data_shape)

  @property
  def family(self) -> Any:
    """The distribution of an entry.  Raises UserError for a likelihood that is not one of single entries."""
    family = families.make(self.likelihood, **self.likelihood_args)
    errors.require(
      isinstance(family, families.Family) and not family.shares_scale,
      f"likelihood = {self.likelihood!r} is not a distribution of single entries: choose another one",
    )
    return family

  @property
  def support(self) -> tuple[float, float]:
    """The smallest and the largest value of an entry."""
    return self.family.support

  def initial_outputs(self) -> jax.Array:
    """h for which the mean of every entry is that of the data, in P blocks of D, [P D]."""
    family, mean = self.family, self.data_mean
    return family.bias(jnp.asarray(family.centre(self.dim) if mean is None else mean, jnp.float32))

  @property
  def num_levels(self) -> int | None:
    """The number of values of an entry; None if there are infinitely many."""
    return self.family.num_values

  @property
  def takes_real_numbers(self) -> bool:
    """Whether p is a density of real numbers, so that integers need the transform `dequantize`."""
    return self.num_levels is None and not self.family.of_counts

  @property
  def values(self) -> jax.Array:
    """The values of an entry, [V].  Raises UserError if there are infinitely many."""
    return self.family.values()

  @property
  def num_orders(self) -> int:
    """N."""
    return 1

  def first(self, num: int) -> jax.Array:
    """The entries that come first, [num].  Raises UserError if there are several orders."""
    errors.require(
      self.num_orders == 1, f"this model has {self.num_orders} orders: no entries come first in all of them"
    )
    return self.order(0)[:num]

  def check_context(self, context: jax.Array | None) -> jax.Array | None:
    """The context, if it is what the model needs.  Raises UserError otherwise."""
    return contexts.of_batch({} if context is None else {"context": context}, self.num_classes, self.context_dim)

  def entries(self, h: jax.Array) -> Factorised:
    """prod_d p(x_d | h_d), event [D], from h [..., D, P]."""
    return self.family.given(*jnp.moveaxis(h, -1, 0))

  def _of_order(self, batch: dict[str, jax.Array], which: jax.Array | int) -> jax.Array:
    """log p(x_d | the entries before d) of each entry, [B, D]."""
    x, mask = flat(batch)
    errors.require(mask is None, "This autoregressive model does not support missing entries: its order is fixed.")
    x = x.astype(jnp.float32)
    h = self.conditionals(x, self.check_context(batch.get("context")), which)
    return self.entries(h).distribution.log_prob(x)

  def log_prob(self, batch: dict[str, jax.Array]) -> jax.Array:
    """log p(x), or log p(x|c), nats, [B]."""
    if self.num_orders == 1:
      return sum_last(self._of_order(batch, 0))
    of_order = self.pure("_of_order")
    log_p = jax.lax.map(lambda which: sum_last(of_order(batch, which)), jnp.arange(self.num_orders))
    return jax.scipy.special.logsumexp(log_p, 0) - math.log(self.num_orders)

  def log_prob_of_first(self, batch: dict[str, jax.Array], num: int) -> jax.Array:
    """log p of the `num` entries that come first in the order, nats, [B]; the values of the others have no influence.

    Raises:
      UserError: there are several orders.
    """
    return self._of_order(batch, 0)[:, self.first(num)].sum(1)

  def log_prob_of_entries(self, batch: dict[str, jax.Array], which: jax.Array | int = 0) -> jax.Array:
    """log p(x_d | the entries before d in an order) of each entry, nats, [B, D]; `which` of the orders, 0 .. N - 1."""
    return self._of_order(batch, which)

  def pure(self, method: str) -> Callable:
    """A method as a pure function: Flax does not allow modules inside transformations such as scans."""
    bare, variables = self.unbind()
    return functools.partial(bare.apply, variables, method=method)

  def _draw(self, *args: Any, **options: Any) -> dict[str, jax.Array]:
    return drawing.draw(self, *args, **options)

  def _classes(self, key: jax.Array, n: int, context: jax.Array | None) -> jax.Array | None:
    """The context [n, C]; uniform classes where none is given."""
    return contexts.of_draws(key, n, context, self.num_classes, self.context_dim)

  def generate(
    self,
    key: jax.Array,
    n: int,
    mean: bool = False,
    context: jax.Array | None = None,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
  ) -> jax.Array:
    """x ~ p(x), [n, *data_shape]; with `mean`, E[x_d | the entries before d] along such a draw, or the likeliest class.

    With several orders, the draws are divided evenly among as many of them, chosen at random, as there are draws.
    Without `context` [n, C] classes are uniform; columns must be given.  `temperature` (0: the most probable value of
    each entry), `top_k` and `top_p` truncate the probabilities of each entry, see distributions.truncated.

    Raises:
      UserError: see drawing.truncation.
    """
    truncation = drawing.truncation(self, temperature, top_k, top_p)
    key_order, key_class, key_x = jax.random.split(key, 3)
    context = self._classes(key_class, n, context)
    groups = min(n, self.num_orders)
    rows = -(-n // groups)
    each = {
      "key": jax.random.split(key_x, groups),
      "which": jax.random.permutation(key_order, self.num_orders)[:groups],
    }
    if context is not None:
      each["context"] = context[jnp.arange(groups * rows) % n].reshape(groups, rows, -1)
    name, draw = "mean" if mean else "x", self.pure("_draw")
    wanted = ("mean",) if mean else ()
    of_order = lambda a: draw(a["key"], rows, a.get("context"), a["which"], truncation, wanted=wanted)[name]
    return jax.lax.map(of_order, each).reshape(-1, self.dim)[:n].reshape(n, *self.data_shape)

  def check_known(self, mask: jax.Array) -> None:
    """Raises UserError unless `complete` can draw the entries with mask 0, [n, *data_shape], given the others.

    Called where the mask is data: in a compiled program its values are not known.
    """
    drawing.check_prefix(jnp.reshape(mask, (-1, self.dim))[:, self.first(self.dim)] > 0)

  def complete(
    self,
    key: jax.Array,
    batch: dict[str, jax.Array],
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
  ) -> jax.Array:
    """x with draws of the entries with mask 0 given those with mask 1, which come first in the order, [B, *data_shape].

    Raises:
      UserError: the batch has no mask, or one that is no beginning of the order, or see drawing.truncation.
    """
    truncation, (x, mask) = drawing.truncation(self, temperature, top_k, top_p), drawing.known_entries(batch)
    self.check_known(mask)
    context = self.check_context(batch.get("context"))
    return self._draw(key, x.shape[0], context, 0, truncation, (x, mask))["x"].reshape(batch["x"].shape)

  def sample_and_log_prob(self, key: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
    """(x ~ p(x) [n, *data_shape], log p(x) [n]), of a model without a context.

    Raises:
      UserError: the model has classes, or is given columns.
    """
    errors.require(
      not (self.num_classes or self.context_dim),
      "sample_and_log_prob is for a model without a context: use generate, log_prob",
    )
    if self.num_orders > 1:
      x = self.generate(key, n)
      return x, self.log_prob({"x": x})
    found = self._draw(key, n, None, 0, wanted=("log_prob",))
    return found["x"].reshape(n, *self.data_shape), found["log_prob"]

  def __call__(self, batch: dict[str, jax.Array]) -> jax.Array:
    """Uses every parameter, for `init`."""
    return sum_last(self._of_order(batch, 0))
