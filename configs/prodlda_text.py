"""ProdLDA and NVLDA of text: topic models with an encoder (Srivastava & Sutton, 2017).

Paper: https://arxiv.org/abs/1703.01488, tables 1 and 2.  The NLL is reported as perplexity, exp(nats per word).
Published for 20 newsgroups, 50 topics (as cited elsewhere, not verified): perplexity 1172 of ProdLDA and 1059 of NVLDA;
coherence (NPMI) 0.24 and 0.11; ProdLDA's topics as released by the authors have 0.2506.  Their vocabulary of 1,995
words is not the one here.

  python -m dgm_jax prepare-data kjv --manual_dir=FOLDER
  python -m dgm_jax.main --config=configs/prodlda_text.py --workdir=runs/prodlda
  python -m dgm_jax.main --config=configs/prodlda_text.py:data=newsgroups,k=50,method=nvlda --workdir=runs/nvlda
  python -m dgm_jax reproduce srivastava2017 --table=1 --budget=quick --manual_dir=FOLDER

Network, prior, dropout, batches of 200 and Adam (beta_1 = 0.99) are those of the published code, with its rates: 0.002
and 200 epochs for ProdLDA, 0.005 and 300 for NVLDA.  Sets of less than 2,000 documents, such as the chapters of the
Bible, have batches of 100 and 400 epochs.

Arguments (after the colon, separated by commas):
  method=NAME     prodlda if not given, or nvlda; lda and nmf give the configs of lda_text.py, for one sweep of all
  k=N             topics, 20 if not given
  data=NAME       kjv if not given, newsgroups, or bars; bag_of_words: your own text, a file of documents or a folder of
                  files (--config.data.path=PATH); array: your own counts [documents, words]
  verses          with kjv: documents are verses, not chapters
  quick           a minute on 2 cores: bars
  test            seconds: a few steps on bars

Sweeps (python -m dgm_jax sweep): five seeds.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base, lda_text
from dgm_jax.core.config_args import parse
from dgm_jax.principles.latent.options import Options
from dgm_jax.sweeps.axes import product
from dgm_jax.training import optimisers

METHODS = ("prodlda", "nvlda", "lda", "nmf")


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, method=METHODS, k=20, data=lda_text.DATA, verses=False, quick=False, test=False)
  if a.method in ("lda", "nmf"):
    return lda_text.get_config(arg)
  data, prodlda = base.data_name(a, small="bars"), a.method == "prodlda"
  few = lda_text.num_documents(data, a.verses) < 2_000
  epochs = 400 if few else 200 if prodlda else 300
  config = lda_text.text(data, a.verses, epochs, 100 if few else 200, a.test)
  config.model = {"name": "neural_topics", "args": {
    "num_topics": min(a.k, 10) if data == "bars" else a.k,
    "decoder": "product" if prodlda else "mixture",
    "hidden": (100, 100),
    "alpha": 1.0,
    "dropout": 0.6 if prodlda else 0.25,
  }}  # fmt: skip
  config.objective = ConfigDict(Options(kl="analytic")._asdict() | {"eval_samples": 10, "eval_chunk": 10})
  config.optim = ConfigDict(optimisers.Options(lr=0.002 if prodlda else 0.005, b1=0.99)._asdict())
  samples = {"num_samples": 20, "batch_size": 100, "chunk": 20} if a.test else {}
  config.evaluate.importance_sampling = ConfigDict({"num_samples": 1000, "batch_size": 20, "chunk": 50} | samples)
  return config.lock()


def sweep() -> list[dict]:
  """Five seeds."""
  return product({"seed": range(5)})
