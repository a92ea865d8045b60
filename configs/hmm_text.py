"""Hidden Markov models of the letters of a text, by EM: two states find vowels and consonants.

Paper: https://doi.org/10.1109/5.18626 (Rabiner, 1989) for the algorithm; Markov (1913) counted vowels and consonants in
Eugene Onegin as a chain of two states, and Cave & Neuwirth (1980) let EM find them in English letters.  No NLL is
published for these texts; log_px_step is minus the NLL per letter, in nats (with independent letters -2.83 on
tiny_shakespeare).

  python -m dgm_jax.main --config=configs/hmm_text.py:c=2 --workdir=runs/hmm      # by download
  python -m dgm_jax.main --config=configs/hmm_text.py:quick --workdir=runs/quick
  python -m dgm_jax.main --config=configs/hmm_text.py:data=text --config.data.path=TEXT.txt --workdir=runs/mine

The probability of each state given a letter, p(z|x) where p(z) is how often each state is visited, is printed by

  import dgm_jax, numpy as np
  run = dgm_jax.load("runs/hmm")
  a, b = (np.exp(run.params[name]) for name in ("log_transition", "log_emission"))
  joint = np.linalg.matrix_power(a, 1000)[0][:, None] * b
  print(dict(zip(run.experiment.splits.about["vocabulary"], (joint / joint.sum(0)).T.round(2).tolist())))

Arguments (after the colon, separated by commas):
  c=N             states, 2 if not given
  data=NAME       tiny_shakespeare if not given, in windows of 128 letters; licence, the lines of this project's LICENSE
                  file; text, the lines of your own text, a file or a folder of them
  quick           seconds on 2 cores: data=licence, no download
  test            seconds: a few steps on the same data

Letters are a to z, without case, and one space for all other characters between them; a line ends with a symbol of its
own.

Sweeps (python -m dgm_jax sweep): ten starts, lanes of one program; --name=c, numbers of states to compare by the
held-out likelihood.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

_NUM_TRAIN = {"tiny_shakespeare": 7457, "licence": 135}  # windows or lines


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  sets = base.sets("tiny_shakespeare", "licence", own=("text", "array"))
  a = parse(arg, c=2, data=sets, quick=False, test=False)
  errors.require(
    a.data != "array", "The config hmm_text models letters: take data=text, with the path of a text file or a folder."
  )
  name = base.data_name(a, small="licence")
  lines = name in ("licence", "text")
  if lines:
    data = data_section(name)
    data.tokens = "letter"
    batch_size, num_symbols = _NUM_TRAIN.get(name, 0), 30
  else:
    data = data_section(name)
    data.letters = True
    batch_size, num_symbols = 500, 27
  config = base.by_em(data, _NUM_TRAIN.get(name, 0), passes=100, test=a.test, batch_size=batch_size)
  config.batch_size = batch_size
  if lines and not a.test:
    config.num_epochs, config.num_steps = None, 300  # a step is a pass
    config.log_every, config.checkpoint_every = 10, 100
  args = {"num_states": a.c, "emission": "categorical", "num_symbols": num_symbols}
  config.model = {"name": "hidden_markov_model", "args": args}
  return config.lock()


def sweep() -> list[dict]:
  """Ten starts."""
  return product({"seed": range(10)})


def sweep_c() -> list[dict]:
  """Three starts for each number of states."""
  return product({"arg.c": [1, 2, 3, 4, 6, 8, 12], "seed": range(3)})
