"""Markov chains of distributions: hierarchies of latent layers."""

from collections.abc import Callable
from typing import Any

import distrax
import jax


class Chain:
  """A Markov chain of distributions, d(z_1) d(z_2 | z_1) ... d(z_L | z_{L-1}).

  Implements the part of distrax's interface that inference needs.  A value is the tuple (z_1, ..., z_L).
  """

  def __init__(self, first: distrax.Distribution, *conditionals: Callable[[jax.Array], Any]):
    self.first, self.conditionals = first, conditionals

  def _walk(self, choose: Callable) -> tuple[tuple, list]:
    """((z_1, ..., z_L), [d(z_1), d(z_2 | z_1), ...]), where choose(l, d) returns z_l (l counts from 0)."""
    ds, zs = [self.first], [choose(0, self.first)]
    for l, conditional in enumerate(self.conditionals, 1):
      ds.append(conditional(zs[-1]))
      zs.append(choose(l, ds[-1]))
    return tuple(zs), ds

  def sample_and_log_prob(self, *, seed: jax.Array) -> tuple[tuple, jax.Array]:
    """((z_1, ..., z_L), sum_l log d(z_l | z_{l-1})), ancestral sampling."""
    keys = jax.random.split(seed, 1 + len(self.conditionals))
    log_probs = []

    def choose(l, d):
      z, log_prob = d.sample_and_log_prob(seed=keys[l])
      log_probs.append(log_prob)
      return z

    zs, _ = self._walk(choose)
    return zs, sum(log_probs)

  def sample(self, *, seed: jax.Array) -> tuple:
    """(z_1, ..., z_L) by ancestral sampling."""
    return self.sample_and_log_prob(seed=seed)[0]

  def log_prob(self, value: tuple) -> jax.Array:
    """sum_l log d(z_l | z_{l-1})."""
    _, ds = self._walk(lambda l, d: value[l])
    return sum(d.log_prob(z) for d, z in zip(ds, value, strict=True))

  def conditional_means(self, *, seed: jax.Array) -> tuple:
    """(E[z_1], E[z_2 | z_1], ...) along one ancestral sample: unbiased for each layer's marginal mean."""
    keys = jax.random.split(seed, 1 + len(self.conditionals))
    _, ds = self._walk(lambda l, d: d.sample(seed=keys[l]))
    return tuple(d.mean() for d in ds)

  def relaxed(self, temperature: float | jax.Array) -> "Chain":
    """The chain with every layer replaced by its relaxation, d.relaxed(temperature)."""
    relax = lambda conditional: lambda z: conditional(z).relaxed(temperature)
    return Chain(self.first.relaxed(temperature), *map(relax, self.conditionals))
