"""ProdLDA and NVLDA of text: topic models with an encoder (Srivastava & Sutton, 2017).

Paper: https://arxiv.org/abs/1703.01488, tables 1 and 2.  NLL is told as perplexity, exp(nats a word); published of 20
newsgroups, 50 topics (read second-hand: not verified): perplexity ProdLDA 1172, NVLDA 1059; coherence (NPMI) 0.24 and
0.11; the authors' own dump of ProdLDA's topics has 0.2506.  Theirs has 1,995 words: not the same as here.

  python scripts/prepare_data.py kjv --manual_dir=FOLDER
  python -m dgm_jax.main --config=configs/prodlda_text.py --workdir=runs/prodlda
  python -m dgm_jax.main --config=configs/prodlda_text.py:data=newsgroups,k=50,method=nvlda --workdir=runs/nvlda
  python -m experiments.reproduce srivastava2017 --table=1 --budget=quick --manual_dir=FOLDER

Network, prior, dropout, batches of 200 and rates of Adam (beta_1 = 0.99) are those of the published code: 0.002 and 200
epochs for ProdLDA, 0.005 and 300 for NVLDA; the Bible's chapters, which are few, have batches of 100 and 400 epochs.

Arguments (after a colon, by commas):
  method=NAME     prodlda if not given, or nvlda; lda and nmf are those of lda_text.py, for one sweep of all
  k=N             topics, 20 if not given
  data=NAME       kjv if not given, newsgroups, bag_of_words (your own: --config.data.path=FILE), or bars
  verses          of kjv: documents are verses, not chapters
  quick           a minute on 2 cores: bars
  test            seconds: a few steps on bars

Sweeps (scripts/sweep.py): five seeds.
"""

from ml_collections import ConfigDict

from configs import lda_text
from dgm_jax.core.config_args import parse
from dgm_jax.principles.latent.options import Options
from dgm_jax.sweeps.axes import product
from dgm_jax.training import optimisers

METHODS = ("prodlda", "nvlda", "lda", "nmf")


def get_config(arg: str = "") -> ConfigDict:
  """The config; `arg` as above."""
  a = parse(arg, method=METHODS, k=20, data=lda_text.DATA, verses=False, quick=False, test=False)
  if a.method in ("lda", "nmf"):
    return lda_text.get_config(arg)
  data, product_of_experts = "bars" if (a.quick or a.test) and "data" not in a.given else a.data, a.method == "prodlda"
  few = lda_text.num_documents(data, a.verses) < 2_000
  epochs = 400 if few else 200 if product_of_experts else 300
  config = lda_text.text(data, a.verses, epochs, 100 if few else 200, a.test)
  config.model = ConfigDict({"name": "neural_topics", "args": {
    "num_topics": min(a.k, 10) if data == "bars" else a.k,
    "decoder": "product" if product_of_experts else "mixture",
    "hidden": (100, 100),
    "alpha": 1.0,
    "dropout": 0.6 if product_of_experts else 0.25,
  }})  # fmt: skip
  config.principle = "latent"
  config.objective = ConfigDict(Options(kl="analytic")._asdict() | {"eval_samples": 10, "eval_chunk": 10})
  config.optim = ConfigDict(optimisers.Options(lr=0.002 if product_of_experts else 0.005, b1=0.99, eps=1e-8)._asdict())
  samples = {"num_samples": 20, "batch_size": 100, "chunk": 20} if a.test else {}
  config.evaluate.importance_sampling = ConfigDict({"num_samples": 1000, "batch_size": 20, "chunk": 50} | samples)
  return config.lock()


def sweep() -> list[dict]:
  """Five seeds."""
  return product({"seed": range(5)})
