"""Measures what the masks of a grammar cost: draws of derivations and training steps, with masks and without.

  python scripts/bench_grammar.py                     SMILES: 277 rules, three GRUs of 501, as in Kusner et al. (2017)
  python scripts/bench_grammar.py --quick             100 rules, one GRU of 128
  python scripts/bench_grammar.py --json=FILE

`masks` is the VAE of derivations; `without` the same net of the same number of tokens, whose draws break the grammar.
A training step is the ELBO, its gradient and Adam at a batch of 100.  Rounds are interleaved, and the ratio is that of
the medians: above 1, masks are slower.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
import optax

import dgm_jax  # noqa: F401, sets what jaxlib needs before JAX is first used
from dgm_jax.core import grammars
from dgm_jax.models.vae import sequence_vae
from dgm_jax.principles.latent import latent

_BATCH = 100


def _system(length: int, hidden: tuple[int, ...], masks: bool) -> tuple:
  """(the model, its system)."""
  v = 1 + len(grammars.parse(grammars.SMILES).rules)
  model = sequence_vae.Model(
    (length,), num_tokens=v, latent_dim=56, embedding_dim=32, encoder="conv",
    encoder_args={"filters": (9, 9, 10), "kernels": (9, 9, 11), "hidden": 435}, decoder="gru",
    decoder_args={"hidden": hidden, "initial_state": False}, inputless=True, unk=-1, end=-1,
    grammar=grammars.SMILES if masks else None,
  )  # fmt: skip
  return model, latent.make(model, optax.adam(1e-3))


def _programs(length: int, hidden: tuple[int, ...], masks: bool, draws: int) -> dict[str, Callable]:
  """{what: a program that returns when it is done}."""
  _, system = _system(length, hidden, masks)
  # the derivation of a chain of carbons, which has 4 rules an atom
  atoms = length // 4 - 1
  rule = {grammars.parse(grammars.SMILES).shown(i): 1 + i for i in range(75)}
  chain = [rule["smiles -> chain"], *[rule["chain -> chain branched_atom"]] * (atoms - 1)]
  chain.append(rule["chain -> branched_atom"])
  each = ["branched_atom -> atom", "atom -> aliphatic_organic", "aliphatic_organic -> 'C'"]
  row = (chain + [rule[name] for name in each] * atoms)[:length]
  x = jnp.tile(jnp.asarray(row + [0] * (length - len(row))), (_BATCH, 1))
  batch = {"x": x, "length": jnp.full(_BATCH, len(row))}
  state = jax.jit(system.init)(jax.random.key(0), batch, {})
  step, draw = jax.jit(system.train_step), jax.jit(lambda s, key: system.sample(s, key, 500))
  keys = jax.random.split(jax.random.key(1), max(1, draws // 500))
  return {
    "train": lambda: jax.block_until_ready(step(state, jax.random.key(0), batch)),
    "draw": lambda: jax.block_until_ready([draw(state, key) for key in keys]),
  }


def main() -> None:
  """Runs the command line."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--quick", action="store_true")
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--draws", type=int, default=10_000)
  parser.add_argument("--json")
  args = parser.parse_args()
  size = (100, (128,)) if args.quick else (277, (501, 501, 501))
  programs = {name: _programs(*size, masks, args.draws) for name, masks in (("masks", True), ("without", False))}
  seconds: dict[str, list[float]] = {}
  for round_number in range(args.rounds + 1):
    for name, some in programs.items():
      for what, run in some.items():
        start = time.perf_counter()
        run()
        if round_number:  # the first one compiles
          seconds.setdefault(f"{what} {name}", []).append(time.perf_counter() - start)
  medians = {name: statistics.median(values) for name, values in seconds.items()}
  ratios = {what: medians[f"{what} masks"] / medians[f"{what} without"] for what in ("train", "draw")}
  for name, value in medians.items():
    print(f"{name:<16} {value:8.3f} s")
  print(f"with masks / without: training step {ratios['train']:.2f}, {args.draws:,} draws {ratios['draw']:.2f}")
  if args.json:
    found = {"seconds": seconds, "ratios": ratios, "size": size, "batch": _BATCH, "draws": args.draws}
    pathlib.Path(args.json).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
  main()
