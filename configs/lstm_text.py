"""LSTM of characters or words: Graves, "Generating Sequences With Recurrent Neural Networks" (2013).

Paper: https://arxiv.org/abs/1308.0850; layers without dropout between steps as in Zaremba, Sutskever & Vinyals (2014),
https://arxiv.org/abs/1409.2329.  No NLL of tiny_shakespeare is published; nanoGPT's transformer of a similar size has
1.88 nats per character by the protocol here.

  python -m dgm_jax.main --config=configs/lstm_text.py --workdir=runs/lstm      # by download
  python -m dgm_jax.main --config=configs/lstm_text.py:cell=gru,layers=2 --workdir=runs/gru
  python -m dgm_jax.main --config=configs/lstm_text.py:data=text --config.data.path=TEXT.txt --workdir=runs/mine
  python -m dgm_jax sample --workdir=runs/lstm --prompt="ROMEO:" --temperature=0.8

Arguments (after the colon, separated by commas):
  hidden=H        units of a layer, 256 if not given
  layers=L        layers, 1 if not given
  cell=lstm|gru
  context=T       characters before the last of a window, 64 if not given
  data=NAME       tiny_shakespeare if not given, characters in nanoGPT's split: the first 90 % for training, the rest
                  for testing; ptb, words; licence, this project's LICENSE file; text, a file or a folder of your own
  quick           minutes on 2 cores: 500 steps on data=licence, no download
  test            seconds: a few steps of a small network on the same data

See transformer_text about training examples and the reported bits per character.

Sweeps (python -m dgm_jax sweep): learning rates, lanes of one program; --name=cells, LSTM and GRU.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base, transformer_text
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  sets = base.sets("tiny_shakespeare", "ptb", "licence", own=("text", "array"))
  a = parse(
    arg, hidden=256, layers=1, cell=("lstm", "gru"), context=64, data=sets, quick=False, test=False
  )  # fmt: skip
  context = 16 if a.test and "context" not in a.given else a.context
  config = transformer_text.of_text(a, context)
  args = {"hidden": (16 if a.test else a.hidden,) * a.layers, "cell": a.cell, "dropout": 0.0}
  config.model = {"name": "lstm", "args": args | {"embedding_dim": 8 if a.test else 64, "tied": False}}
  if not a.test:
    config.batch_size, config.num_steps = 32, 500 if a.quick else 4000
  config.optim.update(name="adam", lr=3e-3, schedule="cosine", end_scale=0.1, clip_norm=float(context))
  return config.lock()


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [1e-3, 3e-3, 1e-2]})


def sweep_cells() -> list[dict]:
  """LSTM and GRU, two seeds each."""
  return product({"arg.cell": ["lstm", "gru"], "seed": range(2)})
