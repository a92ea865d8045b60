"""fashion_mnist: 60,000 + 10,000 articles of clothing in the format of MNIST (Xiao, Rasul & Vollgraf, 2017)."""

from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.sets import mnist
from dgm_jax.data.splits import Splits, hold_out_last

CLASSES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")

DATA_SETS = (
  mnist.DATA_SETS[0]._replace(
    name="fashion_mnist",
    description="Grey pictures of Zalando's articles, ten classes.",
    homepage="https://github.com/zalandoresearch/fashion-mnist",
    license="MIT, (c) 2017 Zalando SE",
    citation="Xiao, Rasul and Vollgraf: Fashion-MNIST, arXiv 1708.07747, 2017.",
    files=mnist.four_files("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"),
  ),
)


def load(data_dir: str | None = None, manual_dir: str | None = None, valid_size: int = 0) -> Splits:
  """x uint8 [N, 28, 28, 1], y int32 [N].

  Args:
    data_dir, manual_dir: see prepare.prepared.
    valid_size: number of training examples held out, from the end (0: none).
  """
  parts = prepared(DATA_SETS[0], data_dir, manual_dir)
  train, valid = hold_out_last(parts["train"], valid_size)
  return Splits(train, valid, parts["test"], {"classes": CLASSES})
