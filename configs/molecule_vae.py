"""VAE of your own molecules, with a property of each or without: Gomez-Bombarelli et al. (2018).

Paper: https://arxiv.org/abs/1610.02415, with GRUs and SELFIES in place of its networks and characters; it has no NLL.
The joint regression of a property of z is of that paper, too: it arranges the latent space by the property.

  python -m dgm_jax.main --config=configs/molecule_vae.py --config.data.path=MOLECULES.smi --workdir=runs/mine
  python -m dgm_jax.main --config=configs/molecule_vae.py:target=logP --config.data.path=MOLECULES.csv --workdir=runs/y
  python -m dgm_jax molecules optimise --workdir=runs/mine --file=MOLECULES.smi --out=best.csv

Arguments (after the colon, separated by commas):
  data=NAME       molecules if not given: a .smi file, a SMILES in each line, or a .csv file, with its column
                  --config.data.column=smiles
  tokens=NAME     selfies if not given; rule, derivations of the SMILES grammar; character; atom
  target=NAME     the column of a property; the model is then p(x, y), with y standardised
  drop=P          token dropout of the decoder's inputs, 0.1 if not given
  quick           some minutes on 2 cores: smaller networks, 1,500 steps; of 300 expressions, or of your molecules with
                  data=molecules,quick
  test            seconds: a few steps of a small network; likewise

Sweeps (python -m dgm_jax sweep): three seeds.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base, selfies_vae_moses
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  sets = base.sets("molecules", "equations", own=("text", "array"))
  a = parse(arg, data=sets, tokens=selfies_vae_moses.TOKENS, target="", drop=0.1, quick=False, test=False)
  errors.require(a.data != "array", "Models of molecules take data=molecules, with the path of a .smi or .csv file.")
  name = base.data_name(a, small="equations")
  data, tokens = data_section(name), a.tokens
  if name == "equations":
    data.num = 300
    tokens = "rule" if tokens not in ("rule", "character") else tokens
  if name == "text" and tokens == "rule":
    data.grammar = "smiles"
  data.tokens = tokens
  if a.target:
    errors.require(name == "molecules", f"target={a.target} is a column of a .csv file: data=molecules.")
    data.target, data.transforms = a.target, ("standardize_targets",)
  config = selfies_vae_moses.molecules(a, data, tokens)
  config.model.args.num_targets = 1 if a.target else 0
  if name in ("equations", "text") and "molecules" in config.evaluate:
    del config.evaluate["molecules"]  # which are no molecules, or need not be
  return config.lock()


def sweep() -> list[dict]:
  """Three seeds."""
  return product({"seed": range(3)})
