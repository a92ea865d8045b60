"""The most variable genes of counts by Pearson residuals (Lause, Berens & Kobak, 2021), in two passes over cells."""

from collections.abc import Callable, Iterator

import numpy as np

THETA = 100.0  # inverse dispersion of the null model, as in the paper


def residual_variances(
  blocks: Callable[[], Iterator[tuple[int, np.ndarray]]], batch: np.ndarray, num_batches: int, num_genes: int
) -> np.ndarray:
  """Variance of the clipped Pearson residuals of each gene in each batch, [num_batches, G].

  r = (x - mu) / sqrt(mu + mu^2 / theta), mu = (total of the cell) (total of the gene) / (total of the batch), clipped
  to +- sqrt(cells of the batch).

  Args:
    blocks: () -> (first row, counts [n, G]) of consecutive blocks.
    batch: of each cell, [N].
    num_batches, num_genes: their numbers.
  """
  by_gene, totals = np.zeros((num_batches, num_genes)), np.zeros(len(batch))
  for start, x in blocks():
    totals[start : start + len(x)] = x.sum(1)
    for b in range(num_batches):
      by_gene[b] += x[batch[start : start + len(x)] == b].sum(0)
  sums, squares = np.zeros((2, num_batches, num_genes))
  sizes = np.bincount(batch, minlength=num_batches)
  for start, x in blocks():
    for b in range(num_batches):
      here = batch[start : start + len(x)] == b
      mean = np.outer(totals[start : start + len(x)][here], by_gene[b] / max(by_gene[b].sum(), 1))
      residual = (x[here] - mean) / np.sqrt(np.where(mean > 0, mean + mean**2 / THETA, 1))
      residual = np.clip(residual, -np.sqrt(sizes[b]), np.sqrt(sizes[b]))
      sums[b] += residual.sum(0)
      squares[b] += np.square(residual).sum(0)
  n = np.maximum(sizes, 1)[:, None]
  return squares / n - np.square(sums / n)


def choose(variances: np.ndarray, num_genes: int) -> np.ndarray:
  """Indices, ascending, of `num_genes` genes: in the first so many of most batches, then by their median rank there."""
  ranks = (-variances).argsort(1, kind="stable").argsort(1, kind="stable")  # [batches, G]
  inside = (ranks < num_genes).sum(0)
  median = np.median(np.where(ranks < num_genes, ranks, num_genes), 0)
  order = np.lexsort((-variances.mean(0), median, -inside))
  return np.sort(order[:num_genes])
