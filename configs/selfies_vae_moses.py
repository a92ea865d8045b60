"""VAE of drug-like molecules as SELFIES, derivations or characters: Polykovskiy et al., "MOSES" (2020).

Paper: https://arxiv.org/abs/1811.12823, table 2.  Published for its VAE of characters: valid .977, unique@1000 1,
novel .695, FCD .099; its authors say that its posterior collapsed, so read KL and active units beside NLL and validity.
Grammar: Kusner et al. (ICML 2017), https://arxiv.org/abs/1703.01925; SELFIES: Krenn et al. (2020),
https://arxiv.org/abs/1905.13741, of which every string is a molecule.

  python -m dgm_jax prepare-data moses --manual_dir=FOLDER        # or by download
  python -m dgm_jax.main --config=configs/selfies_vae_moses.py --workdir=runs/selfies
  python -m dgm_jax.main --config=configs/selfies_vae_moses.py:tokens=rule --workdir=runs/derivations
  python -m dgm_jax.main --config=configs/selfies_vae_moses.py:tokens=character --workdir=runs/smiles
  python -m dgm_jax molecules generate --workdir=runs/selfies --num=1000 --out=drawn.smi

Arguments (after the colon, separated by commas):
  tokens=NAME     selfies if not given, which needs pip install '.[molecules]'; rule, derivations of the SMILES grammar;
                  character; atom
  data=NAME       moses if not given; zinc250k/small, zinc250k/jtvae; molecules: your own, as in molecule_vae
  size=N          training molecules of moses, 100,000 if not given; 0: all 1,584,663
  drop=P          token dropout of the decoder's inputs, 0.1 if not given
  quick           five minutes on 2 cores: 5,000 molecules, smaller networks
  test            seconds: a few steps of a small network on 300 expressions, because molecules must be prepared first

NLL is of what a token is: of derivations, of symbols or of characters, and the three can be compared, because each
sequence is one molecule's (a SMILES in the way in which the set writes it).  The weight of the KL grows over the first
quarter of the steps, and each of 32 units may have 0.1 nats of KL without penalty.

Sweeps (python -m dgm_jax sweep): selfies, rule and character; --name=seeds, three seeds.
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

TOKENS = ("selfies", "rule", "character", "atom")
STEPS = {"selfies": 20_000, "rule": 8000, "character": 20_000, "atom": 20_000}  # about two hours on 2 cores


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  sets = base.sets("moses", "zinc250k/small", "zinc250k/jtvae", "equations", own=("molecules", "text", "array"))
  a = parse(arg, data=sets, tokens=TOKENS, size=100_000, drop=0.1, quick=False, test=False)
  errors.require(a.data != "array", "Models of molecules take data=molecules, with the path of a .smi or .csv file.")
  config = molecules(a, _data(a), "character" if a.test and "tokens" not in a.given else a.tokens)
  return config.lock()


def _data(a: SimpleNamespace) -> ConfigDict:
  name = "equations" if a.test and "data" not in a.given else a.data
  data = data_section(name)
  data.tokens = "character" if a.test and "tokens" not in a.given else a.tokens
  if name == "equations":
    data.num = 300
  elif name == "moses":
    data.update(train_size=5000 if a.quick else a.size, test_size=1000 if a.quick else 10_000)
  elif name == "text" and a.tokens == "rule":
    data.grammar = "smiles"
  return data


def molecules(a: SimpleNamespace, data: ConfigDict, tokens: str) -> ConfigDict:
  """The config of a VAE of molecules; a has drop, quick and test."""
  config, steps = base.default(), 1500 if a.quick else STEPS[tokens]
  config.data = data
  width = 8 if a.test else 128 if a.quick else 256
  config.model = {"name": "sequence_vae", "args": {
    "latent_dim": 2 if a.test else 32,
    "encoder": "gru",
    "encoder_args": {"hidden": (width,)},
    "decoder": "gru",
    "decoder_args": {"hidden": (width,)},
    "embedding_dim": 4 if a.test else 32,
    "word_dropout": a.drop,
  }}  # fmt: skip
  config.optim = ConfigDict(optimisers.Options(name="adam", lr=1e-3, clip_norm=5.0)._asdict())
  objective = Options(kl="analytic", free_bits=0.1, beta_steps=steps // 4)
  config.objective = ConfigDict(objective._asdict() | {"eval_samples": 1, "eval_chunk": 1})
  config.evaluate = ConfigDict({
    "importance_sampling": {"num_samples": 100, "batch_size": 20, "chunk": 20},
    "collapse": {"num_samples": 1, "num_examples": 1000, "batch_size": 100, "chunk": 100, "threshold": 0.01},
    "strings": {"num_examples": 200, "num_samples": 1000, "encodings": 5, "decodings": 5},
  })  # fmt: skip
  if not a.test:
    config.evaluate.molecules = ConfigDict({"num_samples": 1000 if a.quick else 10_000, "reference": 10_000,
                                            "batch_size": 500, "filter_files": ""})  # fmt: skip
  config.batch_size, config.num_steps = 64 if a.quick else 128, steps
  config.log_every, config.eval_every, config.figures_every, config.checkpoint_every = 100, 500, 1000, 500
  config.eval_batch_size = 100
  if a.test:
    base.shrink(config, batch_size=32)
    config.objective.beta_steps = 10
    config.evaluate.strings.update(num_examples=20, num_samples=100, encodings=2, decodings=2)
  return config


def sweep() -> list[dict]:
  """SELFIES, derivations and characters."""
  return product({"arg.tokens": ["selfies", "rule", "character"]})


def sweep_seeds() -> list[dict]:
  """Three seeds."""
  return product({"seed": range(3)})
