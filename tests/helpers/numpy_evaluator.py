"""log p(x) of a trained VAE or DLGM in plain NumPy, independent of the package: a check of its numbers."""

import numpy as np


def _mlp(layers: dict, x: np.ndarray) -> np.ndarray:
  n = len(layers)
  for i in range(n):
    x = x @ layers[f"Dense_{i}"]["kernel"].astype(np.float64) + layers[f"Dense_{i}"]["bias"]
    x = np.tanh(x) if i < n - 1 else x
  return x


def _normal(z: np.ndarray, loc: np.ndarray, log_scale: np.ndarray) -> np.ndarray:
  return (-0.5 * ((z - loc) / np.exp(log_scale)) ** 2 - log_scale - 0.5 * np.log(2 * np.pi)).sum(-1)


def log_px(params: dict, x: np.ndarray, num_samples: int, seed: int, chunk: int = 500) -> np.ndarray:
  """Importance sampling estimate of log p(x), [N], for x [N, D] in {0, 1}."""
  rng = np.random.default_rng(seed)
  if "encoder" in params:
    encoders, priors = [params["encoder"]], []
  else:
    encoders = [params[f"encoders_{i}"] for i in range(sum(k.startswith("encoders") for k in params))]
    priors = [params[f"priors_{i}"] for i in range(len(encoders) - 1)]
  log_w = []
  for start in range(0, num_samples, chunk):
    k = min(chunk, num_samples - start)
    below, total, z = x[None].astype(np.float64), 0.0, []
    for encoder in encoders:
      loc, log_scale = np.split(_mlp(encoder, below), 2, -1)
      below = loc + np.exp(log_scale) * rng.standard_normal((k, len(x), loc.shape[-1]))
      total = total - _normal(below, loc, log_scale)
      z.append(below)
    for prior, low, high in zip(priors, z[:-1], z[1:], strict=True):
      total = total + _normal(low, *np.split(_mlp(prior, high), 2, -1))
    total = total + _normal(z[-1], 0.0, np.zeros(1))
    logits = _mlp(params["decoder"], z[0])
    log_w.append(total + (x * logits - np.logaddexp(0, logits)).sum(-1))
  log_w = np.concatenate(log_w)
  top = log_w.max(0)
  return top + np.log(np.exp(log_w - top).mean(0))
