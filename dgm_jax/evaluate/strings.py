"""Strings of a sequence VAE: how often they are reconstructed, with which noise, and what the prior draws."""

from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors, rng
from dgm_jax.core.evaluation import make_evaluate_examples, mean_and_error
from dgm_jax.core.progress import progress_bar
from dgm_jax.distributions.truncated import Truncation

NEEDS = ("infer", "log_joint", "draw", "num_left")  # methods of the model
_GREEDY, _AS_IT_IS = Truncation(temperature=0.0), Truncation()


def check(
  *,
  num_examples: int = 1,
  num_samples: int = 1,
  encodings: int = 1,
  decodings: int = 1,
  batch_size: int = 1,
  noise: float = 0.01,
) -> None:
  """Raises UserError for an invalid option."""
  given = {"num_examples": num_examples, "num_samples": num_samples, "encodings": encodings}
  for name, value in (given | {"decodings": decodings, "batch_size": batch_size}).items():
    errors.require(value >= 1, f"evaluate.strings.{name} = {value}; it must be 1 or more.")
  errors.require(0 < noise <= 1, f"evaluate.strings.noise = {noise}; it must be in (0, 1].")


def make_terms(experiment: Any, encodings: int, decodings: int, noise: float, batch_size: int) -> Any:
  """(state, key, data, progress) -> {greedy, sampled, log_px_z, log_px_z_narrow}, [N] each; see `evaluate`."""

  def eval_step(state, key, batch):
    variables = {"params": state.params, **state.variables}
    model = experiment.model.bind(variables)
    pure = lambda method, *args: experiment.model.apply(variables, *args, method=method)  # inside of maps
    x = batch["x"].reshape(batch["x"].shape[0], -1)
    q = model.infer(batch)
    mean, deviation = q.mean(), jnp.sqrt(q.variance())
    inside = jnp.arange(x.shape[1]) < batch.get("length", jnp.full(x.shape[0], x.shape[1]))[:, None]
    same = lambda found: ((found["x"] == x) | ~inside).all(1).astype(jnp.float32)

    def encoded(key):
      key_z, key_x = jax.random.split(key)
      epsilon = jax.random.normal(key_z, mean.shape)
      z = mean + deviation * epsilon
      hits = jax.lax.map(lambda k: same(pure("draw", k, z, _AS_IT_IS)), jax.random.split(key_x, decodings))
      narrow = pure("log_joint", batch, mean + noise * deviation * epsilon)[0]
      return {"sampled": hits.mean(0), "log_px_z": pure("log_joint", batch, z)[0], "log_px_z_narrow": narrow}

    found = jax.lax.map(encoded, jax.random.split(key, encodings))
    return {name: v.mean(0) for name, v in found.items()} | {"greedy": same(model.draw(key, mean, _GREEDY))}

  return make_evaluate_examples(eval_step, experiment.transforms.evaluate, batch_size)


def _draws(experiment: Any, state: Any, key: jax.Array, n: int, rows: int) -> tuple[list[bytes], list[bool]]:
  """(the bytes of n draws from the prior, whether each is complete)."""

  def some(variables, key):
    model = experiment.model.bind(variables)
    x = model.generate(key, rows).reshape(rows, -1)
    ended = model.num_left(x) == 0
    return x, ended & (x == model.last).any(1) if model.last >= 0 else ended

  run, found, complete = jax.jit(some), [], []
  for k in jax.random.split(key, -(-n // rows)):
    x, ended = jax.device_get(run({"params": state.params, **state.variables}, k))
    found += [row.tobytes() for row in x]
    complete += ended.tolist()
  return found[:n], complete[:n]


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  num_examples: int = 1000,
  num_samples: int = 10_000,
  encodings: int = 10,
  decodings: int = 10,
  batch_size: int = 100,
  noise: float = 0.01,
) -> dict[str, Any]:
  """Reconstruction, and draws from the prior, token by token.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the examples.
    num_examples: the first so many examples.
    num_samples: draws from the prior.
    encodings, decodings: draws z ~ q(z|x), and of x ~ p(x|z) from each.
    batch_size: examples or draws at once.
    noise: see below.

  Returns:
    strings_greedy: the share of examples that the likeliest token of each step at the mean of q(z|x) gives again;
    strings_sampled: the share of draws x ~ p(x|z), z ~ q(z|x) that are the example; each with its standard error over
    examples.  strings_log_px_z = E_q log p(x|z), nats, with z drawn from q as the encoder reports it, and
    strings_log_px_z_narrow with `noise` of its standard deviations (the code of Kusner et al., 2017).
    strings_complete: the share of draws from the prior that end, or whose derivation is complete, within the greatest
    length; strings_unique: of the first 1,000 complete ones, the share of different ones; strings_novel: of all
    complete ones, the share that is not in the training set.
  """
  some = {name: a[:num_examples] for name, a in arrays.items()}
  run = make_terms(experiment, encodings, decodings, noise, batch_size)
  with progress_bar(len(some["x"]), description="strings", unit="example") as bar:
    values = run(state, rng.stream(key, "strings"), some, bar.update)
  results: dict[str, Any] = {"values": {f"strings_{name}": v for name, v in values.items()}}
  for name, v in values.items():
    results[f"strings_{name}"], results[f"strings_{name}_stderr"] = mean_and_error(v)
  drawn, complete = _draws(experiment, state, rng.stream(key, "prior"), num_samples, min(batch_size * 10, num_samples))
  whole = [row for row, ok in zip(drawn, complete, strict=True) if ok]
  results |= {"strings_complete": len(whole) / len(drawn), "strings_drawn": len(drawn), "strings_noise": noise}
  if whole:
    train = experiment.splits.train["x"]
    seen = {row.tobytes() for row in train.reshape(len(train), -1)}
    results["strings_unique"] = len(set(whole[:1000])) / len(whole[:1000])
    results["strings_novel"] = sum(row not in seen for row in whole) / len(whole)
  return results
