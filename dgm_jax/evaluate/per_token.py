"""log p(x) of sequences for each token."""

import math
from typing import Any

import jax


def per_token(log_px: jax.Array, arrays: dict[str, Any]) -> dict[str, float]:
  """nats_per_token = -sum log p(x) / sum of lengths, and its exp, the perplexity; {} of data without lengths.

  <end> is a token: a sentence of n words has n + 1.
  """
  if "length" not in arrays:
    return {}
  nats = -math.fsum(jax.device_get(log_px).tolist()) / int(arrays["length"].sum())
  return {"nats_per_token": nats, "perplexity": math.exp(min(nats, 700.0))}
