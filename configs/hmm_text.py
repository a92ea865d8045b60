"""Hidden Markov models of the letters of a text, by EM: two states find vowels and consonants.

Paper: https://doi.org/10.1109/5.18626 (Rabiner, 1989) for the algorithm; Markov (1913) counted vowels and consonants in
Eugene Onegin as a chain of two states, and Cave & Neuwirth (1980) let EM find them in English letters.  No NLL is
published for these texts; log_px_step is minus the NLL of a letter, in nats (independent letters: -2.83 on
tiny_shakespeare).

  python -m dgm_jax.main --config=configs/hmm_text.py:c=2 --workdir=runs/hmm      # by download
  python -m dgm_jax.main --config=configs/hmm_text.py:quick --workdir=runs/quick
  python -m dgm_jax.main --config=configs/hmm_text.py:quick --config.data.path=TEXT.txt --config.batch_size=LINES \\
    --workdir=runs/mine

Which state a letter is of, p(z|x) for z ~ how often each state is visited, is printed by

  import dgm_jax, numpy as np
  run = dgm_jax.load("runs/hmm")
  a, b = (np.exp(run.params[name]) for name in ("log_transition", "log_emission"))
  shown = np.linalg.matrix_power(a, 1000)[0][:, None] * b
  print(dict(zip(run.experiment.splits.about["vocabulary"], (shown / shown.sum(0)).T.round(2).tolist())))

Arguments (after a colon, by commas):
  c=N             states, 2 if not given
  data=NAME       tiny_shakespeare if not given, in windows of 128 letters; licence, the lines of this project's LICENSE
  quick           seconds on 2 cores: data=licence, no download
  test            seconds: a few steps of the same

Letters are a to z without case, and one space for whatever else is between them; a line ends with a symbol of its own.

Sweeps (scripts/sweep.py): ten starts, lanes of one program; --name=c, states for the held-out likelihood to choose.
"""

import pathlib

from ml_collections import ConfigDict, config_dict

from configs.bernoulli_mixture_mnist import by_em
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

_LICENCE = pathlib.Path(__file__).parents[1] / "LICENSE"
_LINES = 135  # of it that are for training
_WINDOWS = 7457  # of tiny_shakespeare


def get_config(arg: str = "") -> ConfigDict:
  """The config; `arg` as above."""
  a = parse(arg, c=2, data=("tiny_shakespeare", "licence"), quick=False, test=False)
  data = "licence" if (a.quick or a.test) and "data" not in a.given else a.data
  config = by_em("mnist5k", (), passes=100, online=False, test=a.test)
  args = {"num_states": a.c, "emission": "categorical"}
  if data == "licence":
    config.data = data_section("text")
    config.data.path, config.data.tokens = str(_LICENCE), "letter"
    config.batch_size, args["num_symbols"] = _LINES, 30
    if not a.test:
      config.num_steps, config.num_epochs = 300, config_dict.placeholder(int)
      config.log_every, config.checkpoint_every = 10, 100
  else:
    config.data = data_section("tiny_shakespeare")
    config.data.letters = True
    config.batch_size, args["num_symbols"] = 500, 27
    if not a.test:
      config.log_every, config.checkpoint_every = _WINDOWS // 500, 10 * (_WINDOWS // 500)
  config.model = ConfigDict({"name": "hidden_markov_model", "args": args})
  return config.lock()


def sweep() -> list[dict]:
  """Ten starts."""
  return product({"seed": range(10)})


def sweep_c() -> list[dict]:
  """States, three starts each."""
  return product({"arg.c": [1, 2, 3, 4, 6, 8, 12], "seed": range(3)})
