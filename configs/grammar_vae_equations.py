"""Grammar VAE of equations, as published, and as a VAE: Kusner et al., "Grammar Variational Autoencoder" (ICML 2017).

Paper: https://arxiv.org/abs/1703.01925, section 4.  Published, by Bayesian optimisation in the latent space (not
verified at the source): average score 3.47 by the grammar, 4.75 by characters; NLL was not published.  The best
possible NLL of these 100,000 equally probable expressions is log 100,000 = 11.513.

  python -m dgm_jax.main --config=configs/grammar_vae_equations.py --workdir=runs/equations
  python -m dgm_jax.main --config=configs/grammar_vae_equations.py:by=character --workdir=runs/characters
  python -m dgm_jax.main --config=configs/grammar_vae_equations.py:loss=elbo --workdir=runs/as_a_vae
  python -m dgm_jax.main --config=configs/grammar_vae_equations.py:loss=elbo,decoder=autoregressive --workdir=runs/best

Arguments (after the colon, separated by commas):
  by=NAME         grammar if not given: sequences of at most 15 rules; character
  loss=NAME       published if not given: binary cross-entropy over rules plus the mean KL over units, with z drawn
                  with 1 % of the standard deviations that the encoder reports; an autoencoder's loss, and no
                  bound on log p(x).  elbo: log p(x|z) of the rules, the KL, and z drawn from q
  decoder=NAME    inputless if not given, as published: rules are independent given z, but for the grammar's masks;
                  autoregressive: each rule reads those before it
  held_out=NAME   random if not given: 10,000 expressions; last: the last 10,000, as Keras takes them: all that begin
                  with 1 /, of which none is trained on, and x / 3 but for 400
  data=NAME       equations if not given; text: your own strings by a grammar, with --config.data.path=LINES.txt and
                  --config.data.grammar=equations, smiles, or a file of rules
  quick           two minutes on 2 cores: 5,000 expressions, small networks
  test            seconds: a few steps of a small network

The networks are the published ones: convolutions of 2, 3 and 4 filters of widths 2, 3 and 4 with batch normalisation,
a dense layer of 100, three GRUs of 100, z of 25 dimensions, 50 epochs with Adam at batch 600.  A constant learning rate
in place of theirs, which falls where the validation loss does not; gradients are clipped.

Sweeps (python -m dgm_jax sweep): grammar and characters, three seeds each; --name=losses, both losses.
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

LATENT = 25
LENGTHS = {"rule": 15, "character": 20}


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(
    arg, data=base.sets("equations", own=("text", "array")), by=("grammar", "character"), loss=("published", "elbo"),
    decoder=("inputless", "autoregressive"), held_out=("random", "last"), quick=False, test=False,
  )  # fmt: skip
  errors.require(a.data != "array", "Models of strings take data=text, with the path of a file of lines.")
  small = a.quick or a.test
  config = base.default()
  config.data = _data(a)
  latent = 2 if a.test else LATENT
  config.model = {"name": "sequence_vae", "args": _model(a, latent)}
  published = a.loss == "published"
  objective = Options(kl="analytic", beta=1 / latent) if published else Options(beta_steps=0 if a.test else 2000)
  config.objective = ConfigDict(objective._asdict() | {"eval_samples": 1, "eval_chunk": 1})
  config.optim = ConfigDict(optimisers.Options(name="adam", lr=3e-3 if small else 1e-3, clip_norm=5.0)._asdict())
  config.batch_size, config.num_epochs = (100, 40) if small else (600, 50)
  config.log_every, config.eval_every, config.figures_every, config.checkpoint_every = 150, 1500, 3000, 1500
  config.eval_batch_size = 200
  config.evaluate = ConfigDict({
    "importance_sampling": {"num_samples": 100 if small else 1000, "batch_size": 50, "chunk": 50},
    "collapse": {"num_samples": 1, "batch_size": 100, "chunk": 100, "threshold": 0.01},
    "strings": {"num_examples": 200 if small else 1000, "num_samples": 1000 if small else 10_000},
  })  # fmt: skip
  if a.test:
    base.shrink(config, batch_size=32)
  return config.lock()


def _data(a: SimpleNamespace) -> ConfigDict:
  data, tokens = data_section(a.data), "rule" if a.by == "grammar" else "character"
  data.tokens = tokens
  if a.data == "text":
    data.grammar = "smiles" if a.by == "grammar" else ""
    return data
  data.held_out, data.max_length = a.held_out, LENGTHS[tokens]
  if a.quick or a.test:
    data.num = 300 if a.test else 5000
  return data


def _model(a: SimpleNamespace, latent: int) -> dict:
  width = 8 if a.test else 64 if a.quick else 100
  layers = 1 if a.test or a.quick else 3
  return {
    "latent_dim": latent,
    "encoder": "conv",
    "encoder_args": {"filters": (2, 3, 4), "kernels": (2, 3, 4), "hidden": width},
    "decoder": "gru",
    "decoder_args": {"hidden": (width,) * layers, "initial_state": False},
    "inputless": a.decoder == "inputless",
    "embedding_dim": 12,
    "batch_norm": True,
    "loss": "published" if a.loss == "published" else "log_prob",
    "noise": 0.01 if a.loss == "published" else 1.0,
  }


def sweep() -> list[dict]:
  """Grammar and characters, three seeds each."""
  return product({"arg.by": ["grammar", "character"], "seed": range(3)})


def sweep_losses() -> list[dict]:
  """The published loss and the ELBO, with both decoders."""
  return product({"arg.loss": ["published", "elbo"], "arg.decoder": ["inputless", "autoregressive"]})
