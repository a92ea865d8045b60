"""binarized_mnist: Larochelle's fixed binarisation of MNIST, 50,000 / 10,000 / 10,000.

One Bernoulli draw of every grey level, made once (Salakhutdinov & Murray, 2008; Larochelle & Murray, 2011).  Results on
it are not comparable with those on dynamically binarised digits: for the same VAE 88.71 against 86.76 nats (Burda et
al., 2016, section C).
"""

from dgm_jax.data.files import readers
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import DataSet, File
from dgm_jax.data.splits import Splits

_URL = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"
_PARTS = ("train", "valid", "test")


def _read(files: dict) -> dict:
  return {part: {"x": readers.digits(files[part], 784).reshape(-1, 28, 28, 1).astype(bool)} for part in _PARTS}


DATA_SETS = (
  DataSet(
    name="binarized_mnist",
    description="MNIST, binarised once and for all; no labels.",
    homepage="http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",
    license="none stated; a derivative of MNIST (CC BY-SA 3.0)",
    citation="Larochelle and Murray: The neural autoregressive distribution estimator, AISTATS 2011.",
    files={part: File(f"{_URL}binarized_mnist_{part}.amat", f"binarized_mnist_{part}.amat") for part in _PARTS},
    features={"x": ((28, 28, 1), "bool")},
    sizes={"train": 50_000, "valid": 10_000, "test": 10_000},
    read=_read,
  ),
)


def load(data_dir: str | None = None, manual_dir: str | None = None) -> Splits:
  """x bool [N, 28, 28, 1]; the validation split is the published one.

  Args:
    data_dir, manual_dir: see prepare.prepared.
  """
  return Splits(**prepared(DATA_SETS[0], data_dir, manual_dir))
