"""ptb: the Penn Treebank's Wall Street Journal as Mikolov prepared it, 42,068 / 3,370 / 3,761 sentences.

Words are lower case without punctuation, numbers are N, and rare words are <unk>: 10,000 distinct words, including the
end of a sentence.  Perplexity is exp of the nats per word, where ends of sentences count as words, 929,589 / 73,760 /
82,430 in all.  Language models that carry their state from one sentence to the next have an advantage over models of
single sentences, such as VAEs (Bowman et al., 2016), whose perplexities are also only bounds.
"""

import pathlib
import tarfile

from dgm_jax.data.files import readers, tokenisation
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import TEXT, DataSet, File
from dgm_jax.data.splits import Splits

_PARTS = ("train", "valid", "test")


def members(path: pathlib.Path, names: list[str]) -> list[bytes]:
  """The contents of the files `names` in a gzipped tar archive."""
  with readers.reading(path, f"a .tgz archive with {names[0]}"), tarfile.open(path, "r:gz") as archive:
    return [archive.extractfile(name).read() for name in names]


def _read(files: dict[str, pathlib.Path]) -> dict:
  names = [f"./simple-examples/data/ptb.{part}.txt" for part in _PARTS]
  parts = {}
  for part, name, raw in zip(_PARTS, names, members(files["archive"], names), strict=True):
    with readers.reading(files["archive"], f"an archive with sentences in UTF-8 in {name}"):
      lines = [line.strip() for line in raw.decode().split("\n")]
    parts[part] = ({"text": line} for line in lines if line)
  return parts


DATA_SETS = (
  DataSet(
    name="ptb",
    description="Sentences of the Wall Street Journal, 10,000 words.",
    homepage="https://www.fit.vutbr.cz/~imikolov/rnnlm/",
    license="LDC User Agreement for Non-Members; research only",
    citation="Marcus, Santorini and Marcinkiewicz: Building a large annotated corpus of English, 1993; "
    "Mikolov, Karafiat, Burget, Cernocky and Khudanpur: Recurrent neural network based language model, 2010.",
    files={
      "archive": File("https://www.fit.vutbr.cz/~imikolov/rnnlm/simple-examples.tgz", "simple-examples.tgz"),
    },
    features={"text": ((), TEXT)},
    sizes={"train": 42_068, "valid": 3_370, "test": 3_761},
    read=_read,
  ),
)


def load(
  data_dir: str | None = None,
  manual_dir: str | None = None,
  vocabulary_size: int = 0,
  max_length: int = 0,
  seq_len: int = 0,
  stride: int = 0,
) -> Splits:
  """x int32 [N, T] word ids, `length` int32 [N], see tokenisation.encode; or windows of the text, x int32 [N, seq_len].

  The text's own <unk> has the id 1.

  Args:
    data_dir, manual_dir: see prepare.prepared.
    vocabulary_size, max_length: see tokenisation.encode; perplexities with other vocabularies or fewer sentences are
      not comparable with published ones.
    seq_len: 0 for an example in each sentence; else words in each window of the text, whose sentences are joined by
      <end>.
    stride: words from one window to the next; 0 for windows that do not overlap.
  """
  splits = Splits(**prepared(DATA_SETS[0], data_dir, manual_dir))
  if seq_len:
    return tokenisation.encode_windows(splits, "word", seq_len, stride, vocabulary_size)
  return tokenisation.encode(splits, "word", vocabulary_size, max_length)
