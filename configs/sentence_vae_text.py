"""VAE of sentences that need not collapse: Bowman et al., "Generating Sentences from a Continuous Space" (CoNLL 2016).

Paper: https://arxiv.org/abs/1511.06349, table 2; aggressive updates of the encoder as in He et al. (ICLR 2019),
https://arxiv.org/abs/1901.05534.  Published for ptb (not verified at the source): NLL 101 of a VAE with 2 nats of KL,
100 of an LSTM without z; without inputs 125 with 15 nats, and 135.

  python -m dgm_jax prepare-data kjv --manual_dir=FOLDER
  python -m dgm_jax.main --config=configs/sentence_vae_text.py --workdir=runs/verses
  python -m dgm_jax.main --config=configs/sentence_vae_text.py:method=plain --workdir=runs/collapsed
  python -m dgm_jax.main --config=configs/sentence_vae_text.py:method=aggressive --workdir=runs/aggressive
  python -m dgm_jax.main --config=configs/sentence_vae_text.py:data=ptb --workdir=runs/ptb      # by download
  python -m dgm_jax.main --config=configs/sentence_vae_text.py:data=text --config.data.path=TEXT.txt --workdir=runs/mine
  python -m dgm_jax sentences sample --workdir=runs/verses
  python -m dgm_jax sentences interpolate --workdir=runs/verses "let there be light ." "and it was so ."

Arguments (after the colon, separated by commas):
  data=NAME       kjv if not given, verses; ptb, sentences; simulated_text, of a random LSTM with a latent of two
                  dimensions, whose log p(x) is known; text: your own, a file or a folder, a sentence each line, or with
                  --config.data.unit=sentence divided at . ! and ?
  method=NAME     annealed if not given: the weight of the KL grows as a sigmoid, inputs are dropped (word_dropout);
                  plain: neither; cyclical: the weight grows in four cycles; aggressive: no annealing, but up to 100
                  updates of the encoder alone precede each of the decoder at first; the run ends after as many updates
                  of the decoder as the other methods have steps, in at most forty times as many steps of one update;
                  lm: an LSTM without z
  drop=P          word dropout, 0.3 if not given for annealed and cyclical, 0 for the others
  net=NAME        lstm if not given, gru, or transformer: the decoder
  inputless       words are independent given z
  words=V         vocabulary, 5,000 if not given; rarer words are <unk>
  length=T        tokens of a sentence, 40 if not given, with its end; longer ones are left out
  quick           a minute on 2 cores: simulated_text
  test            seconds: a few steps of a small network on simulated_text

Perplexity is exp of nats for each token, of which <end> is one.  Numbers with other vocabularies or lengths are not
comparable with published ones: for those of ptb words=0,length=83 keep all.

Sweeps (python -m dgm_jax sweep): four methods; --name=seeds, three seeds.
"""

from types import SimpleNamespace

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.principles.latent.options import Options
from dgm_jax.sweeps.axes import product
from dgm_jax.training import optimisers
from dgm_jax.training.build import data_section

METHODS = ("annealed", "plain", "cyclical", "aggressive", "lm")
STEPS = 10_000
MOST_STEPS = 40  # of an aggressive run, for each update of the decoder; two windows of 15 and the update itself are 31


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  sets = base.sets("kjv", "ptb", "simulated_text", own=("text", "array"))
  a = parse(
    arg, data=sets, method=METHODS, drop=0.3, net=("lstm", "gru", "transformer"), inputless=False, words=5000,
    length=40, quick=False, test=False,
  )  # fmt: skip
  errors.require(a.data != "array", "Models of sentences take data=text, with the path of a text file or a folder.")
  errors.require(
    not (a.inputless and a.drop and "drop" in a.given), f"drop = {a.drop} is for a decoder with inputs, not inputless."
  )
  errors.require("drop" not in a.given or a.method != "lm", f"drop = {a.drop} is for a VAE; method=lm has none.")
  config = base.default()
  config.data = _data(a)
  small = config.data.name == "simulated_text"
  config.model = {"name": "sequence_vae", "args": _model(a, small)}
  config.optim = ConfigDict(optimisers.Options(name="adam", lr=3e-3 if small else 1e-3, clip_norm=5.0)._asdict())
  steps = 3000 if a.quick or small else STEPS
  config.objective = ConfigDict(_objective(a, steps)._asdict() | {"eval_samples": 1, "eval_chunk": 1})
  config.evaluate = ConfigDict({
    "importance_sampling": {"num_samples": 500, "batch_size": 10, "chunk": 25},
    "collapse": {"num_samples": 1, "batch_size": 100, "chunk": 100, "threshold": 0.01},
  })  # fmt: skip
  config.batch_size, config.num_steps = 64 if small else 32, steps
  if a.method == "aggressive":
    config.num_steps = MOST_STEPS * steps
  config.log_every, config.eval_every, config.figures_every, config.checkpoint_every = 100, 500, 1000, 500
  config.eval_batch_size = 100
  if a.method == "lm":
    _language_model(config, a, small)
  if a.test:
    base.shrink(config, batch_size=32)
  return config.lock()


def _data(a: SimpleNamespace) -> ConfigDict:
  name = base.data_name(a, small="simulated_text")
  data = data_section(name)
  if name == "simulated_text":
    for given in ("words", "length"):
      errors.require(given not in a.given, f"{given} is for texts; of simulated_text set data.num_words, data.length.")
    if a.test:
      data.update(train_size=200, valid_size=50, test_size=50, num_words=6, length=6, hidden=8)
    return data
  data.update(vocabulary_size=a.words, max_length=a.length)
  if name == "kjv":
    data.update(documents="verse", tokens="word", valid_fraction=0.05, test_fraction=0.05)
  elif name == "text":
    data.update(tokens="word", separate=True)
  return data


def _model(a: SimpleNamespace, small: bool) -> dict:
  width, embedding = (8, 4) if a.test else (64, 16) if small else (256, 128)
  decoder = {"hidden": (width,)}
  if a.net == "transformer":
    decoder = {"num_layers": 1 if a.test else 2, "num_heads": 2 if a.test else 4, "width": width}
  drops = a.method in ("annealed", "cyclical") and not a.inputless
  return {
    "latent_dim": 2 if small else 32,
    "encoder": "lstm",
    "encoder_args": {"hidden": (width,)},
    "decoder": a.net,
    "decoder_args": decoder,
    "inputless": a.inputless,
    "embedding_dim": embedding,
    "word_dropout": a.drop if drops or ("drop" in a.given and not a.inputless) else 0.0,
    "dropout": 0.0 if small else 0.3,
  }


def _objective(a: SimpleNamespace, steps: int) -> Options:
  if a.method == "annealed":
    return Options(beta_schedule="sigmoid", beta_steps=round(0.25 * steps), beta_width=0.03 * steps)
  if a.method == "cyclical":
    return Options(beta_schedule="cyclical", beta_steps=steps // 4)
  if a.method == "aggressive":
    return Options(aggressive=4 if a.test else 100, decoder_updates=steps)
  return Options()


def _language_model(config: ConfigDict, a: SimpleNamespace, small: bool) -> None:
  """An LSTM without z, of the size of the decoder."""
  errors.require(a.net != "transformer" and not a.inputless, "method=lm is an LSTM or GRU with inputs.")
  args = config.model.args
  config.model = {"name": "lstm", "args": {
    "hidden": tuple(args.decoder_args.hidden), "cell": a.net, "embedding_dim": args.embedding_dim,
    "dropout": args.dropout, "tied": False,
  }}  # fmt: skip
  config.principle, config.objective = "maximum_likelihood", ConfigDict()
  config.evaluate = ConfigDict({"exact_likelihood": {"batch_size": 100}})


def sweep() -> list[dict]:
  """Four methods."""
  return product({"arg.method": ["plain", "annealed", "cyclical", "aggressive"]})


def sweep_seeds() -> list[dict]:
  """Three seeds."""
  return product({"seed": range(3)})
