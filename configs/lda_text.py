"""Latent Dirichlet allocation of text by variational Bayes, online or full-batch, and NMF for comparison.

Paper: https://papers.nips.cc/paper/3902 (Hoffman, Blei & Bach, 2010, online) and
https://www.jmlr.org/papers/v3/blei03a.html (Blei, Ng & Jordan, 2003).  The NLL is reported as perplexity, exp(nats per
word).  Published for 50 and 200 topics of 2,000 words of 20 newsgroups: 1091 and 1058 (Mnih & Gregor, 2014, table 3);
their words are stemmed, here they are not.

  python -m dgm_jax prepare-data kjv --manual_dir=FOLDER
  python -m dgm_jax.main --config=configs/lda_text.py --workdir=runs/lda
  python -m dgm_jax.main --config=configs/lda_text.py:data=bag_of_words --config.data.path=lines.txt --workdir=runs/mine

results.json has the topics as words, their coherence (NPMI in documents of the training set), and perplexities by the
bound, by held-out words, and (ais_log_px) for some documents by annealing.

Arguments (after the colon, separated by commas):
  method=NAME     lda if not given, or nmf
  k=N             topics, 20 if not given
  data=NAME       kjv if not given, newsgroups, or bars, documents of planted topics; bag_of_words: your own text, a
                  file of documents or a folder of files; array: your own counts [documents, words]
  verses          with kjv: documents are verses, not chapters
  full            an update after each pass over the data instead of after each batch; nmf always has this
  quick           less than a minute on 2 cores: bars
  test            seconds: a few steps on bars

Step sizes are (t + tau)^-0.7, tau = 64, or 1024 where there are more than 10,000 documents, as in the paper's code.
Sweeps (python -m dgm_jax sweep): five starts; --name=k, numbers of topics.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

DATA = base.sets("kjv", "newsgroups", "bars", own=("bag_of_words", "array"))
OWN = DATA[3:]
_MANY = 10_000


def num_documents(data: str, verses: bool) -> int:
  """Approximate number of training documents; a guess for the user's own."""
  return {"newsgroups": 11_269, "bars": 1_000}.get(data, 24_738 if data == "kjv" and verses else 951)


def text(data: str, verses: bool, epochs: int, batch_size: int, test: bool) -> ConfigDict:
  """What the configs of topic models share; config.model, principle, objective and optim are left to the caller.

  Args:
    data: of DATA.
    verses: whether the documents of kjv are verses.
    epochs: passes over the data.
    batch_size: documents per step; 0 for all.
    test: a run of seconds.
  """
  config = base.default()
  config.data = data_section(data)
  if data == "kjv" and verses:
    config.data.documents, config.data.max_share = "verse", 1.0
  config.evaluate = ConfigDict({
    "perplexity": {"batch_size": 100, "share": 0.5},
    "coherence": {"num_words": 10, "unseen": -1.0},
  })  # fmt: skip
  if test:
    base.shrink(config, batch_size)
  else:
    config.batch_size, config.num_epochs = batch_size, epochs
    if data in OWN:
      config.log_every = 0
    else:
      config.log_every = max(1, num_documents(data, verses) // batch_size) * max(1, epochs // 100)
    config.checkpoint_every = 0
  return config


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, method=("lda", "nmf"), k=20, data=DATA, verses=False, full=False, quick=False, test=False)
  data, lda = base.data_name(a, small="bars"), a.method == "lda"
  n, full = num_documents(data, a.verses), a.full or not lda
  batch_size = (0 if data in OWN else 400 if a.test else n) if full else 100
  config = text(data, a.verses, 50 if full else 100, batch_size, a.test)
  args = {"num_topics": min(a.k, 10) if data == "bars" else a.k, "tolerance": 1e-3, "max_iterations": 100}
  args["max_words"] = 32 if data == "kjv" and a.verses else 0  # no verse has more distinct words
  if lda:
    args |= {"alpha": 0.0, "eta": 0.0}  # 0: 1 / k
  config.model = {"name": "latent_dirichlet_allocation" if lda else "nmf", "args": args}
  tau = 1024.0 if n > _MANY else 64.0
  config.principle, config.optim = "em", ConfigDict()
  config.objective = ConfigDict(
    {"update": "batch" if full else "online", "decay": 0.7, "delay": tau - 1, "scale": tau**-0.7, "block": 64}
  )
  config.evaluate.means = ConfigDict({"batch_size": 100})
  if lda:
    annealing = {"num_examples": 20, "batch_size": 20, "num_temperatures": 200, "num_chains": 8, "chunk": 8}
    if a.test:
      annealing = {"num_examples": 4, "batch_size": 4, "num_temperatures": 3, "num_chains": 2, "chunk": 2}
    config.evaluate.ais = ConfigDict(annealing | {"start": "q"})
  return config.lock()


def sweep() -> list[dict]:
  """Five starts."""
  return product({"seed": range(5)})


def sweep_k() -> list[dict]:
  """Three starts for each number of topics."""
  return product({"arg.k": [10, 20, 50, 100], "seed": range(3)})
