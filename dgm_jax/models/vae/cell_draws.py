"""Drawing cells from scVI: their batches and libraries, then counts."""

import jax
import jax.numpy as jnp
from flax import linen as nn


class CellDraws(nn.Module):
  """The part of scvi.Model that draws cells.

  The model has data_shape, num_genes, num_batches, num_labels, num_continuous, categories, library_moments, infer,
  log_prior and px_z.
  """

  def conditions(self, key: jax.Array, n: int) -> dict[str, jax.Array]:
    """A batch of n cells without counts, whose batches are uniform, and whose libraries have the moments of theirs."""
    key_batch, key_library, key_other = jax.random.split(key, 3)
    batch = jax.random.randint(key_batch, (n,), 0, self.num_batches)
    mean, variance = (jnp.asarray(a, jnp.float32)[batch] for a in self.library_moments)
    total = jnp.exp(mean + jnp.sqrt(variance) * jax.random.normal(key_library, (n,)))
    found = {"x": total[:, None] / self.num_genes * jnp.ones((n, self.num_genes)), "batch": batch, "size_factor": total}
    found |= {"y": jax.random.randint(key_other, (n,), 0, max(1, self.num_labels))}
    found |= {"continuous": jnp.zeros((n, self.num_continuous))} if self.num_continuous else {}
    if self.categories:
      found["categories"] = jnp.zeros((n, len(self.categories)), jnp.int32)
    return found

  def simulate(self, key: jax.Array, n: int) -> tuple[dict[str, jax.Array], jax.Array]:
    """({x [n, G], batch, ...}, z), a joint draw; where l is not latent, at totals drawn as if it were."""
    key_given, key_z, key_x = jax.random.split(key, 3)
    batch = self.conditions(key_given, n)
    z = self.log_prior(batch).sample(seed=key_z)
    x = self.px_z(batch, z).sample(seed=key_x)
    return batch | {"x": x.reshape(n, *self.data_shape)}, z

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x), [n, G]; with `mean`, E[x|z]; see `simulate`."""
    key_given, key_z, _ = jax.random.split(key, 3)
    if not mean:
      return self.simulate(key, n)[0]["x"]
    batch = self.conditions(key_given, n)
    return self.px_z(batch, self.log_prior(batch).sample(seed=key_z)).mean().reshape(n, *self.data_shape)

  def reconstruct_batch(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """E[x|z] at z ~ q(z|x), [B, G]."""
    z = self.infer(batch).sample(seed=key)
    return self.px_z(batch, z).mean().reshape(-1, *self.data_shape)
