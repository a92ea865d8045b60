"""Transformer of characters or words: the architecture of GPT-2 in the size of Karpathy's nanoGPT on Shakespeare.

Paper: https://arxiv.org/abs/1706.03762 (Vaswani et al., 2017); code: https://github.com/karpathy/nanoGPT, whose README
has the validation NLL 1.88 nats per character of 4 layers of width 128, contexts of up to 64, batches of 12 and 2,000
steps, the defaults here, and 1.4697 of 6 layers of width 384 with contexts of up to 256, batches of 64, 5,000 steps and
dropout 0.2.

  python -m dgm_jax.main --config=configs/transformer_text.py --workdir=runs/gpt      # by download
  python -m dgm_jax.main --config=configs/transformer_text.py:size=large --workdir=runs/gpt_large
  python -m dgm_jax.main --config=configs/transformer_text.py:quick --workdir=runs/quick
  python -m dgm_jax.main --config=configs/transformer_text.py:data=text --config.data.path=TEXT.txt --workdir=runs/mine
  python -m dgm_jax sample --workdir=runs/gpt --prompt="ROMEO:" --temperature=0.8

Arguments (after the colon, separated by commas):
  size=small|large   the two settings above
  context=T          characters before the last of a window; 64 and 256 if not given
  positions=NAME     learned or rotary
  data=NAME          tiny_shakespeare if not given, characters in nanoGPT's split: the first 90 % for training, the rest
                     for testing; ptb, words; licence, this project's LICENSE file; text, a file or a folder of your own
  quick              minutes on 2 cores: 500 steps on data=licence, no download
  test               seconds: a few steps of a small network on the same data

A training example is T + 1 characters from any place of the text; all places are equally likely.  results.json has bits
and nats per character of the whole test text by nanoGPT's protocol, and with at least T/2 characters before each.

Sweeps (python -m dgm_jax sweep): learning rates, lanes of one program; --name=positions, learned and rotary.
"""

from types import SimpleNamespace

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

_SIZES = {  # layers, width, heads, context, batch, steps, dropout
  "small": (4, 128, 4, 64, 12, 2000, 0.0),
  "large": (6, 384, 6, 256, 64, 5000, 0.2),
}


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  sets = base.sets("tiny_shakespeare", "ptb", "licence", own=("text", "array"))
  a = parse(
    arg, size=tuple(_SIZES), context=64, positions=("learned", "rotary"), data=sets, quick=False, test=False
  )  # fmt: skip
  layers, width, heads, context, batch, steps, dropout = (2, 16, 2, 16, 8, 40, 0.0) if a.test else _SIZES[a.size]
  context = a.context if "context" in a.given else context
  config = of_text(a, context)
  args = {"num_layers": layers, "width": width, "num_heads": heads, "positions": a.positions, "dropout": dropout}
  config.model = {"name": "transformer", "args": args | {"expansion": 4, "biases": False, "tied": True}}
  if not a.test:
    config.batch_size, config.num_steps = batch, 500 if a.quick else steps
  config.optim.update(name="adam", lr=1e-3, b2=0.99, schedule="cosine", end_scale=0.1, weight_decay=0.1)
  config.optim.update(warmup=min(0.05, 100 / config.num_steps), clip_norm=float(context))  # 1 for each prediction
  return config.lock()


def of_text(a: SimpleNamespace, context: int) -> ConfigDict:
  """For principle maximum_likelihood on windows of a text, of context + 1 tokens; config.model is the caller's.

  Args:
    a: the arguments `data`, `quick` and `test`.
    context: tokens before the last of a window.
  """
  errors.require(
    a.data != "array", "Models of tokens take data=text, with the path of a text file or of a folder of them."
  )
  config, name, length = base.maximum_likelihood(a), base.data_name(a, small="licence"), context + 1
  config.data = data_section(name, transforms=(f"crop:length={length}",))
  config.data.update(seq_len=2 * length - 1, stride=length)  # so that all places are equally likely, see crops.py
  if name == "tiny_shakespeare":
    config.data.split = "nanogpt"
  if name in ("licence", "text"):
    config.data.update(tokens="character", valid_fraction=0.0)
  config.evaluate = ConfigDict({"bits_per_character": {"batch_size": 64}, "exact_likelihood": {"batch_size": 64}})
  config.evaluate.normalisation = {"chunk": 256}
  if a.test:
    base.shrink(config, batch_size=8)
  else:
    config.log_every, config.eval_every, config.figures_every, config.checkpoint_every = 50, 500, 500, 500
    config.eval_batch_size = 64
  return config


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3]})


def sweep_positions() -> list[dict]:
  """Learned and rotary positions, two seeds each."""
  return product({"arg.positions": ["learned", "rotary"], "seed": range(2)})
