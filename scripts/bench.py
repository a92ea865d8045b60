"""Measures the speed of training and of log-likelihood evaluation, relative to that of a large matrix product.

  python scripts/bench.py                      all workloads, three rounds
  python scripts/bench.py --only=w1,w4 --repeats=5 --json=bench.json
  python scripts/bench.py --quick              a hundredth of the steps, to check that everything works
  python scripts/bench_curves.py               how speed and memory grow with batch, K, width, devices and seeds

Workloads run through the same loop, config and defaults as a real run, on random uint8 images of MNIST's size (nothing
is downloaded).  All except w3 use the network of Burda et al. (2016) with one stochastic layer:

  w1            VAE, k = 1, batch 100: 6,000 steps
  w1_streaming  the same, batches read from the host
  w2_k5         IWAE, k = 5, batch 100: 3,000 steps
  w2_k50        IWAE, k = 50, batch 100: 600 steps, on a tenth of the images, so that these are also ten epochs
  w3            convolutional VAE of 17 million parameters, k = 1, batch 128: 20 steps on 2,560 images
  w4            log p(x) of 100 images with 5000 importance samples
  w5            8 texts of 257 characters from a transformer of 6 layers of width 384 with random weights, by its cache
                of keys and values; "images" are characters
  w6            64 draws of 28 x 28 binary pixels from a PixelCNN of 15 blocks 32-16-32 with random weights, from its
                cache; beside them a loop of whole passes, one for each pixel, of which the first 16 are timed
  dcgan         DCGAN of 28 x 28 (64, 128, 256 channels, 4 x 4), batch 64, one update of each player a step, 40 steps
  biggan32      BigGAN of 32 x 32, ch 16, batch 50, four updates of the discriminator and one of the generator a step,
                5 steps; "images" are those of the generator's updates

`loop` is the time from the end of compilation to the last step: training, evaluation, figures, logging and checkpoints
at their defaults.  `steps` counts the training steps only.  GFLOP/s count only the matrix products of the forward and
backward passes.  Times on a shared machine drift: compare ratios within a round, not times of different runs.
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time

import jax
import jax.numpy as jnp

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from dgm_jax.configs import biggan_cifar10, conv_vae_mnist, dcgan_mnist, vae_mnist
from dgm_jax.evaluate import importance_sampling
from dgm_jax.models.autoregressive import drawing, pixelcnn, transformer
from dgm_jax.training import build, programs, train
from dgm_jax.training.experiment import make_init

# Multiply-accumulates of w3.  Encoder: 4 x 4 convolutions with stride 2, counted per output position, and a dense
# layer; decoder: a dense layer and 3 x 3 transposed convolutions, counted per input position.
_CONV_ENCODER = 16 * (14**2 * 128 + 7**2 * 128 * 256 + 3**2 * 256 * 512 + 512 * 1024) + 1024 * 32
_CONV_DECODER = 16 * 16_384 + 9 * (4**2 * 1024 * 512 + 7**2 * 512 * 256 + 14**2 * 256)
WORKLOADS = {  # k, batch, steps, source
  "w1": (1, 100, 6000, "resident"),
  "w1_streaming": (1, 100, 6000, "streaming"),
  "w2_k5": (5, 100, 3000, "resident"),
  "w2_k50": (50, 100, 600, "resident"),
  "w3": (1, 128, 20, "resident"),
}


def _multiplications(width: int = 200) -> tuple[int, int]:
  """Multiply-accumulates of encoder and decoder for one image and one sample."""
  return 784 * width + width * width + width * 100, 50 * width + width * width + width * 784


def mlp_train_flop(k: int, width: int = 200) -> float:
  """FLOP per image: forward and, twice as much, backward, without the gradient with respect to the pixels."""
  encoder, decoder = _multiplications(width)
  return 2 * (3 * encoder - 784 * width + k * 3 * decoder)


def train_flop(name: str) -> float:
  """FLOP per image of a workload."""
  if name == "w3":
    return 2 * (3 * (_CONV_ENCODER + _CONV_DECODER) - 16 * 14**2 * 128)
  return mlp_train_flop(WORKLOADS[name][0])


def config(name: str):
  """vae_mnist at its defaults with the workload's k, on random images; for w3 conv_vae_mnist with a wider network."""
  k, batch_size, num_steps, source = WORKLOADS[name]
  conv = name == "w3"
  c = conv_vae_mnist.get_config() if conv else vae_mnist.get_config(f"constant,k={k}")
  with c.unlocked():
    train_size, test_size = (2560, 256) if conv else (6000, 1000) if k == 50 else (60_000, 10_000)
    c.data = build.data_section("noise", ("binarize:dynamic",))
    c.data.update(train_size=train_size, test_size=test_size, source=source)
    c.objective.bound = "elbo" if k == 1 else "iwae"
    c.batch_size, c.num_steps, c.evaluate = batch_size, num_steps, {}
    if conv:
      decoder = {"channels": (1024, 512, 256), "kernel_size": 3}
      net = {"channels": (128, 256, 512, 1024), "kernel_size": 4, "padding": 1, "decoder": decoder}
      c.model.args = {"latent_dim": 16, "hidden": (), "net": "conv", "net_args": net}
      c.log_every, c.checkpoint_every = num_steps, 0
  return c


def gemm() -> dict[str, float]:
  """GFLOP/s of a float32 product of 2048 x 2048 matrices, the best of 10."""
  n = 2048
  a = jax.random.normal(jax.random.key(0), (n, n))
  product = jax.jit(jnp.matmul).lower(a, a).compile()
  seconds = []
  for _ in range(12):
    start = time.perf_counter()
    product(a, a).block_until_ready()
    seconds.append(time.perf_counter() - start)
  return {"gflops": 2 * n**3 / min(seconds[2:]) / 1e9}


def training(name: str) -> dict[str, float]:
  """Measures one run of the real training loop in a temporary folder."""
  with tempfile.TemporaryDirectory() as folder:
    train.train_and_evaluate(config(name), pathlib.Path(folder) / "run")
    wall = json.loads((pathlib.Path(folder) / "run" / "run.json").read_text())[-1]["wall_s"]
  images = WORKLOADS[name][1] * WORKLOADS[name][2]
  return {
    "images_per_s": images / wall["loop"],
    "steps_images_per_s": images / wall["train"],
    "gflops": images * train_flop(name) / wall["loop"] / 1e9,
    **{f"{phase}_s": seconds for phase, seconds in wall.items()},
  }


def nll() -> dict[str, float]:
  """Measures 5000-sample log-likelihoods of 100 images, after a first call for compilation."""
  c = config("w1")
  experiment = build.build(c)
  state = jax.jit(make_init(experiment, 0))()
  run = importance_sampling.make_log_px(experiment, num_samples=5000)
  images = {"x": experiment.splits.test["x"][:100]}
  run(state, jax.random.key(0), images)
  start = time.perf_counter()
  run(state, jax.random.key(1), images)
  seconds = time.perf_counter() - start
  encoder, decoder = _multiplications()
  return {"images_per_s": 100 / seconds, "gflops": 100 * 2 * (encoder + 5000 * decoder) / seconds / 1e9}


def characters(batch: int = 8, length: int = 257) -> dict[str, float]:
  """Measures draws of texts by a transformer with random weights, after a first call for compilation."""
  model = transformer.Model((length,), num_tokens=65, num_layers=6, width=384, num_heads=6, tied=True)
  variables = jax.jit(model.init)(jax.random.key(0), {"x": jnp.zeros((1, length), jnp.int32)})
  draw = jax.jit(lambda variables, key: model.apply(variables, key, batch, method="generate"))
  draw(variables, jax.random.key(0)).block_until_ready()
  start = time.perf_counter()
  draw(variables, jax.random.key(1)).block_until_ready()
  seconds = time.perf_counter() - start
  multiplications = 6 * 12 * 384**2 + 65 * 384 + 6 * 2 * 384 * length  # of a character, with the whole cache
  return {
    "images_per_s": batch * length / seconds,
    "gflops": batch * length * 2 * multiplications / seconds / 1e9,
  }


def draws(passes: int = 16) -> dict[str, float]:
  """Measures draws of a PixelCNN from its cache and, for the first `passes` pixels, by whole passes; they are equal."""
  model, n = pixelcnn.Model((28, 28, 1)), 64
  variables = jax.jit(model.init)(jax.random.key(0), {"x": jnp.zeros((2, 28, 28, 1))})
  # the same numbers, larger: draws of untrained weights would hardly depend on the pixels before
  variables = jax.tree.map(lambda a: 2 * a, variables)

  def cached(variables, key):
    return drawing.draw(model.bind(variables), key, n, None, 0)["x"]

  def whole(variables, key):
    bound, keys = model.bind(variables), jax.random.split(key, model.dim)

    def one(x, t):
      h = bound.conditionals(x, None)[:, t]
      return x.at[:, t].set(drawing.one_entry(bound, h, keys[t], drawing.AS_THEY_ARE)), None

    return jax.lax.scan(one, jnp.zeros((n, model.dim)), jnp.arange(passes))[0]

  seconds, found = {}, {}
  for name, function in (("cached", jax.jit(cached)), ("whole", jax.jit(whole))):
    jax.block_until_ready(function(variables, jax.random.key(0)))
    start = time.perf_counter()
    found[name] = jax.block_until_ready(function(variables, jax.random.key(1)))
    seconds[name] = time.perf_counter() - start
  weights = sum(a.size for a in jax.tree.leaves(variables["params"]))  # each is used once for a pixel
  every = seconds["whole"] * model.dim / passes
  return {
    "images_per_s": n / seconds["cached"],
    "gflops": 2 * n * model.dim * weights / seconds["cached"] / 1e9,
    "cached_s": seconds["cached"],
    "whole_passes_s": every,
    "ratio": every / seconds["cached"],
    "equal": float((found["cached"] == found["whole"])[:, :passes].mean()),
  }


# Multiply-accumulates for an image, forward: of each player of DCGAN, and of both of BigGAN, as published nets count
_DCGAN = 16 * (4**2 * 256 * 128 + 7**2 * 128 * 64 + 14**2 * 64) + 100 * 4096
_BIGGAN32 = 107e6, 69e6  # generator, discriminator, at ch 16


def game(name: str, steps: int) -> dict[str, float]:
  """Measures steps of two players on random images with labels, compiled as one program."""
  if name == "dcgan":
    c = dcgan_mnist.get_config()
    flop = 2 * _DCGAN * (4 + 8)  # the generator once forward for both players and once backward, D on 2 B and on B
  else:
    c = biggan_cifar10.get_config("width=16")
    flop = 2 * (_BIGGAN32[0] * (4 + 3) + _BIGGAN32[1] * (4 * 6 + 2))
  with c.unlocked():
    c.data = build.data_section("noise", c.data.transforms if name == "dcgan" else ("scale",))
    c.data.update(train_size=2000, test_size=100, side=28 if name == "dcgan" else 32)
    c.evaluate, c.model.args.conditional = {}, False
  experiment = build.build(c)
  state = jax.jit(make_init(experiment, 0))()
  data = jax.tree.map(jnp.asarray, experiment.splits.train)
  chunk = programs.make_train_chunk(experiment.system, experiment.transforms.train, c.batch_size, steps)
  run = jax.jit(chunk).lower(state, jax.random.key(0), data).compile()
  jax.block_until_ready(run(state, jax.random.key(0), data))
  start = time.perf_counter()
  jax.block_until_ready(run(state, jax.random.key(1), data))
  seconds = time.perf_counter() - start
  images = c.batch_size * steps
  return {"images_per_s": images / seconds, "gflops": images * flop / seconds / 1e9, "step_s": seconds / steps}


GAMES = {"dcgan": 40, "biggan32": 5}
OTHERS = {"w4": nll, "w5": characters, "w6": draws}


def main() -> None:
  """Runs the rounds and prints the medians."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  names = [*WORKLOADS, *OTHERS, *GAMES]
  parser.add_argument("--only", default=",".join(names), help=f"comma-separated workloads, out of {', '.join(names)}")
  parser.add_argument("--repeats", type=int, help="rounds (3); each measures all workloads and the matrix product")
  parser.add_argument("--quick", action="store_true", help="a hundredth of the steps; one round by default")
  parser.add_argument("--json", type=pathlib.Path, help="also write all numbers to this file")
  args = parser.parse_args()
  chosen = args.only.split(",")
  if unknown := [n for n in chosen if n not in names]:
    parser.error(f"unknown workload {unknown[0]!r}; choose from {', '.join(names)}")
  if args.quick:
    WORKLOADS.update(
      {name: (k, batch, max(2, steps // 100), source) for name, (k, batch, steps, source) in WORKLOADS.items()}
    )
    GAMES.update({name: max(1, steps // 20) for name, steps in GAMES.items()})
  args.repeats = args.repeats or (1 if args.quick else 3)

  rounds = []
  for i in range(args.repeats):
    measured = {"gemm": gemm()}
    for name in chosen:
      measured[name] = (
        OTHERS[name]() if name in OTHERS else game(name, GAMES[name]) if name in GAMES else training(name)
      )
      print(f"round {i + 1}: {name} {measured[name]['images_per_s']:,.0f} images/s", file=sys.stderr, flush=True)
    rounds.append(measured)

  peak = statistics.median(r["gemm"]["gflops"] for r in rounds)
  print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}, {args.repeats} rounds, medians")
  print(f"gemm 2048: {peak:.0f} GFLOP/s\n")
  print(f"{'workload':14}{'images/s':>12}{'steps only':>12}{'GFLOP/s':>10}{'/ gemm':>8}")
  for name in chosen:
    median = lambda key, name=name: statistics.median(r[name].get(key, r[name]["images_per_s"]) for r in rounds)
    ratio = statistics.median(r[name]["gflops"] / r["gemm"]["gflops"] for r in rounds)
    print(
      f"{name:14}{median('images_per_s'):12,.0f}{median('steps_images_per_s'):12,.0f}{median('gflops'):10.1f}{ratio:8.2f}"
    )
  if "w6" in chosen:
    of = lambda key: statistics.median(r["w6"][key] for r in rounds)
    print(f"\n64 draws: {of('cached_s'):.2f} s from the cache, {of('whole_passes_s'):.0f} s by whole passes, "
          f"{of('ratio'):.0f} times as long; {of('equal'):.1%} of the pixels are equal")  # fmt: skip
  if args.json:
    about = {"jax": jax.__version__, "device": jax.devices()[0].device_kind, "command": " ".join(sys.argv)}
    args.json.write_text(json.dumps({**about, "rounds": rounds}, indent=2) + "\n")


if __name__ == "__main__":
  main()
