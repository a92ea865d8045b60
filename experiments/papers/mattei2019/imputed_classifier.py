"""A convolutional classifier trained on images with imputed pixels and tested on complete images.

Single imputation gives one version of each training image, multiple imputation M draws, of which one is used at random
in every epoch.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from dgm_jax.core import rng
from dgm_jax.core.evaluation import make_evaluate_examples
from dgm_jax.inference import imputation
from dgm_jax.networks.convolutions import Conv

_RATE, _BATCH = 1e-3, 100


class ConvNet(nn.Module):
  """Logits [B, C] of images [B, H, W, 1]: convolutions of 5 x 5 with stride 2, a dense layer, ReLU.

  Attributes:
    num_classes: C.
    channels: numbers of channels of the convolutions.
    hidden: width of the dense layer.
  """

  num_classes: int = 10
  channels: tuple[int, ...] = (32, 64)
  hidden: int = 128

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    h = x.astype(jnp.float32)
    for width in self.channels:
      h = nn.relu(Conv(width, 5, 2)(h))
    h = nn.relu(nn.Dense(self.hidden)(h.reshape(h.shape[0], -1)))
    return nn.Dense(self.num_classes)(h)


def fit(net: nn.Module, key: jax.Array, images: jax.Array, y: jax.Array, epochs: int, batch_size: int = _BATCH) -> Any:
  """Parameters after training with Adam on the cross-entropy.

  Args:
    net: returns logits.
    key: for initialisation, order and choice of imputations.
    images: [M, N, H, W, C], M imputations of each image.
    y: [N], classes.
    epochs: passes over the N images.
    batch_size: images per step; an incomplete batch at an epoch's end is dropped.
  """
  m, n = images.shape[:2]
  length = n // batch_size
  tx = optax.adam(_RATE)

  def loss(params, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(net.apply({"params": params}, x), y).mean()

  def step(state, at):
    params, opt_state = state
    rows, draw = at
    updates, opt_state = tx.update(jax.grad(loss)(params, images[draw, rows], y[rows]), opt_state)
    return (optax.apply_updates(params, updates), opt_state), None

  def epoch(state, key):
    key_order, key_draw = jax.random.split(key)
    rows = jax.random.permutation(key_order, n)[: length * batch_size]
    draw = jax.random.randint(key_draw, rows.shape, 0, m)
    shape = (length, batch_size)
    return jax.lax.scan(step, state, (rows.reshape(shape), draw.reshape(shape)))

  key_init, key_epochs = jax.random.split(key)
  params = net.init(key_init, images[0, :1])["params"]
  keys = jax.random.split(key_epochs, epochs)
  return jax.lax.scan(epoch, (params, tx.init(params)), keys)[0][0]


def scores(net: nn.Module, params: Any, images: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(whether the class is right [N], cross-entropy [N] in nats)."""
  logits = net.apply({"params": params}, images)
  return logits.argmax(-1) == y, optax.softmax_cross_entropy_with_integer_labels(logits, y)


def imputations(run: Any, num_draws: int, num_samples: int) -> dict[str, np.ndarray]:
  """{"zero", "single", "multiple", "complete"}: [M, N, H, W, 1] of a run's training images; M = 1 except in "multiple".

  Args:
    run: a run on binary images, loaded by dgm_jax.load.
    num_draws: M.
    num_samples: number of importance samples, see inference/imputation.py.
  """

  def step(held, _, batch):
    state, key = held
    model = run.experiment.model.bind({"params": state.params, **state.variables})
    keys = rng.row_keys(key, batch["index"])
    single, multiple = imputation.both(model, keys, batch, num_draws, num_samples, chunk=100)
    draws = jnp.moveaxis(multiple.x, 0, 1) > 0.5  # booleans, because there are M copies of the set
    return {"zero": batch["x"], "single": single.x, "multiple": draws, "complete": batch["complete"]}

  evaluate = make_evaluate_examples(step, run.experiment.transforms.train, batch_size=20)
  key = rng.stream(jax.random.key(0), "impute")
  found = evaluate((run.state, key), key, run.experiment.splits.train)
  return {name: np.moveaxis(a, 1, 0) if name == "multiple" else a[None] for name, a in found.items()}


def measure(run: Any, num_draws: int, num_samples: int, epochs: int) -> dict[str, Any]:
  """{"zero_right" [N], "zero_cross_entropy" [N], ...} of the test images, for one classifier per imputation.

  All four start from the same parameters and see the images in the same order; the key depends on the run's seed.
  """
  splits, net = run.experiment.splits, ConvNet()
  key = rng.stream(jax.random.key(run.config.seed), "classifier")
  test = {name: jnp.asarray(a) for name, a in splits.test.items()}
  x = run.experiment.transforms.evaluate(key, test)["x"]

  @jax.jit
  def train_and_score(key, images, y, x, y_test):
    return scores(net, fit(net, key, images, y, epochs), x, y_test)

  found = {}
  for name, images in imputations(run, num_draws, num_samples).items():
    right, cross_entropy = train_and_score(key, images, jnp.asarray(splits.train["y"]), x, test["y"])
    found |= {f"{name}_right": np.asarray(right), f"{name}_cross_entropy": np.asarray(cross_entropy)}
  return found
