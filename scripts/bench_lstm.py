"""Measures training steps of a VAE of sentences: with masks, without, and PyTorch's of the same size, interleaved.

  python scripts/bench_lstm.py                               B = 32, T = 30, H = 512, 5,000 words
  python scripts/bench_lstm.py --peer_python=PATH            also PyTorch's LSTM, in an environment that has it
  python scripts/bench_lstm.py --quick
  python scripts/bench_lstm.py --json=FILE

A step is the ELBO, its gradient and Adam.  `masks` reads sentences of 2 to T tokens; `whole` the same net on sentences
of T tokens, without masks; `naive` leaves the LSTM's gradient to automatic differentiation, which adds up that of the
recurrent matrix at every step.  PyTorch packs its padded sentences in the encoder.  Rounds are interleaved; a ratio
above 1 means that ours, with masks, is slower.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import jax
import numpy as np
import optax

import dgm_jax  # noqa: F401, sets what jaxlib needs before JAX is first used
from dgm_jax.models.vae import sequence_vae
from dgm_jax.networks import recurrent
from dgm_jax.principles.latent import latent

_STEPS = 3  # of a round

PEER = """
import json, sys, time
import torch
from torch import nn

sizes = json.loads(sys.argv[1])
B, T, V, E, H, L = (sizes[k] for k in ("batch", "length", "words", "embedding", "hidden", "latent"))
torch.set_num_threads(sizes["threads"])
torch.manual_seed(0)

class VAE(nn.Module):
  def __init__(self):
    super().__init__()
    self.read, self.write = nn.Embedding(V, E), nn.Embedding(V, E)
    self.encoder, self.moments = nn.LSTM(E, H, batch_first=True), nn.Linear(H, 2 * L)
    self.first, self.decoder, self.out = nn.Linear(L, 2 * H), nn.LSTM(E + L, H, batch_first=True), nn.Linear(H, V)

  def loss(self, x, length):
    packed = nn.utils.rnn.pack_padded_sequence(self.read(x), length, batch_first=True, enforce_sorted=False)
    _, (h, _) = self.encoder(packed)
    mean, log_scale = self.moments(h[-1]).chunk(2, -1)
    z = mean + log_scale.exp() * torch.randn_like(mean)
    h, c = self.first(z).chunk(2, -1)
    inputs = torch.cat([torch.zeros(B, 1, E), self.write(x[:, :-1])], 1)
    inputs = torch.cat([inputs, z[:, None].expand(-1, T, -1)], -1)
    found, _ = self.decoder(inputs, (torch.tanh(h)[None].contiguous(), c[None].contiguous()))
    nll = nn.functional.cross_entropy(self.out(found).flatten(0, 1), x.flatten(), ignore_index=0, reduction="sum")
    kl = 0.5 * (mean ** 2 + (2 * log_scale).exp() - 1 - 2 * log_scale).sum()
    return (nll + kl) / B

generator = torch.Generator().manual_seed(1)
length = torch.randint(2, T + 1, (B,), generator=generator)
x = torch.randint(3, V, (B, T), generator=generator)
x[torch.arange(T)[None] >= length[:, None]] = 0
model = VAE()
optimiser = torch.optim.Adam(model.parameters(), 1e-3)

def step():
  optimiser.zero_grad()
  model.loss(x, length).backward()
  optimiser.step()

step()
print(torch.__version__, flush=True)
for line in sys.stdin:
  start = time.perf_counter()
  for _ in range(int(line)):
    step()
  print((time.perf_counter() - start) / int(line), flush=True)
"""


def batch(sizes: dict[str, int], masks: bool) -> dict[str, jax.Array]:
  """Random sentences, of 2 to T tokens or of T."""
  rng = np.random.default_rng(1)
  x = rng.integers(3, sizes["words"], (sizes["batch"], sizes["length"])).astype(np.int32)
  if not masks:
    return jax.device_put({"x": x})
  length = rng.integers(2, sizes["length"] + 1, sizes["batch"]).astype(np.int32)
  x[np.arange(sizes["length"]) >= length[:, None]] = 0
  return jax.device_put({"x": x, "length": length})


def ours(sizes: dict[str, int], masks: bool) -> Callable[[], float]:
  """A function that takes steps and returns seconds for each."""
  hidden = {"hidden": (sizes["hidden"],)}
  model = sequence_vae.Model(
    (sizes["length"],), num_tokens=sizes["words"], latent_dim=sizes["latent"], embedding_dim=sizes["embedding"],
    encoder_args=hidden, decoder_args=hidden,
  )  # fmt: skip
  system, examples = latent.make(model, optax.adam(1e-3)), batch(sizes, masks)
  state = jax.jit(lambda: system.init(jax.random.key(0), jax.tree.map(lambda a: a[:2], examples), {}))()
  step = jax.jit(system.train_step, donate_argnums=0).lower(state, jax.random.key(1), examples).compile()
  box = [jax.block_until_ready(step(state, jax.random.key(1), examples))[0]]

  def seconds() -> float:
    start = time.perf_counter()
    for _ in range(_STEPS):
      box[0], _ = step(box[0], jax.random.key(1), examples)
    jax.block_until_ready(box[0])
    return (time.perf_counter() - start) / _STEPS

  return seconds


def naive(sizes: dict[str, int]) -> Callable[[], float]:
  """`ours` with masks, whose scan is differentiated automatically."""
  plain = lambda *args: recurrent._forward(*args, *(None,) * (6 - len(args)))[0]
  with mock.patch.object(recurrent, "scan", plain):
    return ours(sizes, True)


class Peer:
  """PyTorch in another process.

  Args:
    python: its Python.
    sizes: of the net.
  """

  def __init__(self, python: str, sizes: dict[str, int]):
    command = [python, "-c", PEER, json.dumps(sizes)]
    self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    self.version = self._read()

  def _read(self) -> str:
    line = self._process.stdout.readline().strip()
    if not line:
      raise SystemExit(f"--peer_python: PyTorch did not run (exit status {self._process.wait()})")
    return line

  def seconds(self) -> float:
    """Seconds for a step."""
    self._process.stdin.write(f"{_STEPS}\n")
    self._process.stdin.flush()
    return float(self._read())

  def close(self) -> None:
    """Ends the process."""
    self._process.stdin.close()
    self._process.wait()


def main() -> None:
  """Parses the command line and prints medians and ratios."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--peer_python", help="a Python that has PyTorch")
  parser.add_argument("--rounds", type=int, default=7)
  parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
  parser.add_argument("--quick", action="store_true", help="a small net, two rounds")
  parser.add_argument("--json", type=pathlib.Path, help="a file for the rounds")
  args = parser.parse_args()
  sizes = {"batch": 32, "length": 30, "words": 5000, "embedding": 128, "hidden": 512, "latent": 32}
  if args.quick:
    args.rounds, sizes = 2, sizes | {"words": 200, "embedding": 16, "hidden": 32}
  runs = {"masks": ours(sizes, True), "whole": ours(sizes, False), "naive": naive(sizes)}
  peer = Peer(args.peer_python, sizes | {"threads": args.threads}) if args.peer_python else None
  if peer:
    runs["torch"] = peer.seconds
  rounds = []
  for _ in range(args.rounds):
    rounds.append({name: run() for name, run in runs.items()})
    print("  ".join(f"{name} {1000 * s:.0f} ms" for name, s in rounds[-1].items()), flush=True)
  medians = {name: statistics.median(r[name] for r in rounds) for name in runs}
  ratios = {name: statistics.median(r["masks"] / r[name] for r in rounds) for name in runs if name != "masks"}
  print("medians: " + ", ".join(f"{name} {1000 * s:.0f} ms" for name, s in medians.items()))
  print("masks over: " + ", ".join(f"{name} {r:.2f}" for name, r in ratios.items()))
  if args.json:
    found = {"sizes": sizes, "rounds": rounds, "medians": medians, "masks_over": ratios}
    found["versions"] = {"jax": jax.__version__} | ({"torch": peer.version} if peer else {})
    args.json.write_text(json.dumps(found, indent=1) + "\n")
  if peer:
    peer.close()


if __name__ == "__main__":
  main()
