"""Latent Dirichlet allocation of text by variational Bayes, online or full-batch, and NMF beside it.

Paper: https://papers.nips.cc/paper/3902 (Hoffman, Blei & Bach, 2010, online) and
https://www.jmlr.org/papers/v3/blei03a.html (Blei, Ng & Jordan, 2003).  NLL is told as perplexity, exp(nats a word);
published for 50 and 200 topics of 2,000 words of 20 newsgroups: 1091 and 1058 (Mnih & Gregor, 2014, table 3), whose
words are stemmed: not the same as here.

  python scripts/prepare_data.py kjv --manual_dir=FOLDER
  python -m dgm_jax.main --config=configs/lda_text.py --workdir=runs/lda
  python -m dgm_jax.main --config=configs/lda_text.py:data=bag_of_words --config.data.path=lines.txt --workdir=runs/mine

results.json has the topics in words, their coherence (NPMI in documents of the training set), and perplexities by the
bound, by held-out words, and (ais_log_px) of some documents by annealing.

Arguments (after a colon, by commas):
  method=NAME     lda if not given, or nmf
  k=N             topics, 20 if not given
  data=NAME       kjv if not given, newsgroups, bag_of_words (your own), or bars, documents of planted topics
  verses          of kjv: documents are verses, not chapters
  full            an update after each pass over the data, not after each batch; always so of nmf
  quick           less than a minute on 2 cores: bars
  test            seconds: a few steps on bars

Step sizes are (t + tau)^-0.7, tau = 64, or 1024 where there are more than 10,000 documents, as in the paper's code.
Sweeps (scripts/sweep.py): five starts; --name=k, topics.
"""

from ml_collections import ConfigDict, config_dict

from configs import iwae_mnist
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

DATA = ("kjv", "newsgroups", "bag_of_words", "bars")
_MANY = 10_000


def num_documents(data: str, verses: bool) -> int:
  """Training documents, about; those of one's own text are not known."""
  return {"newsgroups": 11_269, "bars": 1_000}.get(data, 24_738 if data == "kjv" and verses else 951)


def text(data: str, verses: bool, epochs: int, batch_size: int, test: bool) -> ConfigDict:
  """What configs of topic models share; model, principle and objective have yet to be given."""
  config = iwae_mnist.get_config("test" if test else "constant").unlock()
  config.data = data_section(data)
  if data == "kjv" and verses:
    config.data.documents, config.data.max_share = "verse", 1.0
  config.batch_size, config.eval_batch_size = batch_size, 500
  config.evaluate = ConfigDict({
    "perplexity": {"batch_size": 100, "share": 0.5},
    "coherence": {"num_words": 10, "unseen": -1.0},
  })  # fmt: skip
  if not test:
    steps = max(1, num_documents(data, verses) // batch_size)
    config.num_epochs, config.num_steps = epochs, config_dict.placeholder(int)
    config.log_every = steps * max(1, epochs // 100)
    config.checkpoint_every = 0
  return config


def get_config(arg: str = "") -> ConfigDict:
  """The config; `arg` as above."""
  a = parse(arg, method=("lda", "nmf"), k=20, data=DATA, verses=False, full=False, quick=False, test=False)
  data = "bars" if (a.quick or a.test) and "data" not in a.given else a.data
  n, full = num_documents(data, a.verses), a.full or a.method == "nmf"
  config = text(data, a.verses, 50 if full else 100, n if full else 100, a.test)
  args = {"num_topics": min(a.k, 10) if data == "bars" else a.k, "tolerance": 1e-3, "max_iterations": 100}
  args["max_words"] = 32 if data == "kjv" and a.verses else 0  # the richest verse has fewer
  tau, name = 1024.0 if n > _MANY else 64.0, "latent_dirichlet_allocation" if a.method == "lda" else "nmf"
  if a.method == "lda":
    args |= {"alpha": 0.0, "eta": 0.0}  # 1 / k
  config.model = ConfigDict({"name": name, "args": args})
  config.principle, config.optim = "em", ConfigDict()
  config.objective = ConfigDict(
    {"update": "batch" if full else "online", "decay": 0.7, "delay": tau - 1, "scale": tau**-0.7, "block": 64}
  )
  config.evaluate.means = ConfigDict({"batch_size": 100})
  if a.method == "lda":
    annealing = {"num_examples": 20, "batch_size": 20, "num_temperatures": 200, "num_chains": 8, "chunk": 8}
    config.evaluate.ais = ConfigDict(annealing | {"start": "q"})
  if a.test:
    config.batch_size = 400 if full else 100
    if a.method == "lda":
      config.evaluate.ais.update(num_examples=4, batch_size=4, num_temperatures=3, num_chains=2, chunk=2)
  return config.lock()


def sweep() -> list[dict]:
  """Five starts."""
  return product({"seed": range(5)})


def sweep_k() -> list[dict]:
  """Topics, three starts each."""
  return product({"arg.k": [10, 20, 50, 100], "seed": range(3)})
