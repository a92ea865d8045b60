"""Clusters, mixing of batches and corruption of counts: values that are known."""

import collections
from types import SimpleNamespace

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.distributions.likelihoods import counts
from dgm_jax.evaluate.cells import cell_clusters, count_imputation

RNG = np.random.default_rng(0)


def test_separated_types_are_found_and_shuffled_ones_are_not():
  y = np.repeat(np.arange(3), 60)
  z = 8.0 * np.eye(3)[y] + RNG.normal(size=(180, 3))
  found = cell_clusters.cluster_scores(z, y, 5, 0)
  assert found["ari"] == found["nmi"] == 1 and found["asw"] > 0.6
  assert found["nmi_geometric"] == pytest.approx(1)
  shuffled = cell_clusters.cluster_scores(z, RNG.permutation(y), 5, 0)
  assert abs(shuffled["ari"]) < 0.05 and shuffled["asw"] < 0.05


def test_the_two_means_of_the_mutual_information_differ_where_the_entropies_do():
  """nmi = 2 I / (H + H'), nmi_geometric = I / sqrt(H H')."""
  z = np.concatenate([RNG.normal(0, 0.1, (90, 1)), RNG.normal(5, 0.1, (10, 1))])
  y = np.repeat([0, 1], 50)
  found = cell_clusters.cluster_scores(z, y, 2, 0)
  p = np.array([[50, 0], [40, 10]]) / 100
  entropy = lambda q: -np.sum(q[q > 0] * np.log(q[q > 0]))
  information = entropy(p.sum(0)) + entropy(p.sum(1)) - entropy(p.ravel())
  assert found["nmi"] == pytest.approx(2 * information / (entropy(p.sum(0)) + entropy(p.sum(1))))
  assert found["nmi_geometric"] == pytest.approx(information / np.sqrt(entropy(p.sum(0)) * entropy(p.sum(1))))


def test_the_entropy_of_mixing_is_log_two_for_mixed_batches_and_zero_for_separate_ones():
  batch = np.arange(400) % 2
  mixed = cell_clusters.mixing_entropy(RNG.normal(size=(400, 2)), batch, 50, 20, 100, 0)
  apart = cell_clusters.mixing_entropy(RNG.normal(size=(400, 2)) + 100 * batch[:, None], batch, 50, 20, 100, 0)
  assert 0.96 * np.log(2) < mixed <= np.log(2) and apart == 0


def test_corruptions_change_what_they_say():
  x = RNG.poisson(3.0, (300, 40))
  number = int(0.1 * (x > 0).sum())
  for kind in count_imputation.KINDS:
    changed, (rows, columns) = count_imputation.corrupted(x, kind, 1)
    same = np.ones(x.shape, bool)
    same[rows, columns] = False
    assert len(rows) == number and (changed == x)[same].all() and (x[rows, columns] > 0).all()
    kept = (changed[rows, columns] == x[rows, columns]).mean()
    if kind == "each":
      assert abs(kept - 0.1) < 4 * np.sqrt(0.09 / number)
    if kind == "binomial":
      assert abs(changed[rows, columns].sum() / x[rows, columns].sum() - 0.2) < 0.03
  shares = [(count_imputation.corrupted(x, "published", s)[0] != x).any() for s in range(60)]
  assert set(shares) == {True, False} and np.mean(shares) > 0.75  # one draw for all: sometimes nothing changes
  with pytest.raises(errors.UserError, match="Choices: binomial, each, published"):
    count_imputation.corrupted(x, "all", 0)


MU = 3.0


class _Constant:
  """A model whose mu is 3 and whose extra zeros have the probability 1/2, or none; z is log(1 + x)."""

  def __init__(self, inflated=True):
    self._inflated = inflated

  def bind(self, variables):
    return self

  def infer(self, batch):
    return distrax.Independent(distrax.Normal(jnp.log1p(batch["x"].astype(jnp.float32)), 1.0), 1)

  def px_z(self, batch, z):
    plain = counts.NegativeBinomial(jnp.full(batch["x"].shape, jnp.log(MU)), jnp.zeros(batch["x"].shape))
    return counts.ZeroInflated(plain, jnp.zeros(batch["x"].shape)) if self._inflated else plain


def _experiment(model, splits=None):
  transforms = SimpleNamespace(evaluate=lambda key, batch: batch)
  return SimpleNamespace(model=model, transforms=transforms, splits=splits)


State = collections.namedtuple("State", ("params", "variables"))
STATE = State({}, {})


@pytest.mark.parametrize("inflated", [True, False])
def test_imputation_is_scored_by_mu_without_the_extra_zeros(inflated):
  x = RNG.poisson(3.0, (50, 20))
  _, entries = count_imputation.corrupted(x, "each", 0)
  made = _experiment(_Constant(inflated))
  found = count_imputation.evaluate(made, STATE, jax.random.key(0), {"x": x}, batch_size=50)
  assert found["imputation_l1"] == np.median(abs(MU - x[entries]))
  assert found["imputation_l1_mean"] == pytest.approx(np.mean(abs(MU - x[entries])))
  expected = MU / 2 if inflated else MU
  assert found["imputation_l1_with_zeros"] == np.median(abs(expected - x[entries]))
  assert found["imputation_entries"] == len(entries[0])


class _Mapped(np.ndarray):
  """Counts of a file, of which no more than 40 cells may be read at once."""

  def __array__(self, *args, **kwargs):
    assert len(self) <= 40
    return super().__array__(*args, **kwargs)

  def __array_function__(self, function, types, args, kwargs):
    assert function is not np.concatenate
    return super().__array_function__(function, types, args, kwargs)


def test_clusters_of_all_cells_are_scored_without_reading_all_counts():
  """Types 0 and 1 have their counts in other genes, the batches are the same: scores are known."""
  y, batch = np.arange(160) % 2, np.arange(160) // 2 % 2
  x = RNG.poisson(np.where(y[:, None] == np.arange(2), 50, 1)).view(_Mapped)
  part = lambda rows: {"x": x[rows], "y": y[rows], "batch": batch[rows]}
  splits = SimpleNamespace(
    parts=lambda: {"train": part(slice(0, 120)), "test": part(slice(120, 160))}, about={"classes": ["a", "b"]}
  )
  made = _experiment(_Constant(), splits)
  options = {"num_init": 2, "neighbours": 20, "batch_size": 40}
  found = cell_clusters.evaluate(made, STATE, jax.random.key(0), part(slice(120, 160)), **options)
  assert found["cells_scored"] == found["asw_cells"] == 160 and found["cells_ari"] == 1 and found["cells_asw"] > 0.6
  assert (
    found["batch_entropy"] > 0.9 * np.log(2) == found["batch_entropy_most"] * 0.9 and abs(found["batch_asw"]) < 0.05
  )
  fewer = cell_clusters.evaluate(made, STATE, jax.random.key(0), {}, silhouette_cells=60, **options)
  assert fewer["asw_cells"] == 60 and abs(fewer["cells_asw"] - found["cells_asw"]) < 0.1
  test = cell_clusters.evaluate(made, STATE, jax.random.key(0), part(slice(120, 160)), on_all=False, **options)
  assert test["cells_scored"] == 40 and test["cells_ari"] == 1
