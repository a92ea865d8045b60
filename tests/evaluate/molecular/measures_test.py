"""Measures of sets of molecules against sets made by hand, and MOSES' row of its training set."""

import math
import pathlib

import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.evaluate import molecules
from dgm_jax.evaluate.molecular import filters, measures, properties

pytest.importorskip("rdkit")
TRAIN = ["CCO", "c1ccccc1", "CC(=O)O", "CCN", "c1ccc2ccccc2c1", "CC(=O)Nc1ccccc1"]
TEST = ["CCO", "c1ccncc1", "CC(=O)Nc1ccc(O)cc1", "c1ccc2[nH]ccc2c1"]


def test_shares_by_hand():
  drawn = ["OCC", "CCO", "c1ccccc1", "C1CC", "", "<incomplete>", "CCCl", "C.C"]
  found = molecules.sets_apart(drawn, TRAIN, TEST)
  assert found["valid"] == 5 / 8 and found["drawn"] == 8
  assert found["valid_stderr"] == pytest.approx(math.sqrt(5 / 8 * 3 / 8 / 7))
  assert found["unique"] == 4 / 5  # two ways to write ethanol
  assert found["novel"] == 2 / 4 and "unique@1000" not in found
  assert found["rdkit"] == properties.version()
  assert "fcd" in found or "fcd_why" in found
  nothing = molecules.sets_apart(["C1CC", "x"], TRAIN, TEST)
  assert nothing["valid"] == 0 and "fewer than two" in nothing["why"]


def test_similarities_by_hand():
  a = np.array([[1, 1, 0, 0], [1, 1, 1, 0]], np.float32)
  b = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0]], np.float32)
  # rows of Tanimoto: (1, 0, 1/2), (2/3, 1/4, 1/3)
  assert measures.nearest(a, b).value == pytest.approx((1 + 2 / 3) / 2)
  assert measures.internal_diversity(a).value == pytest.approx(1 - (1 + 2 / 3) / 2)
  by_hand = 1 - np.mean([math.sqrt((1 + 4 / 9) / 2)] * 2)
  assert measures.internal_diversity(a, 2).value == pytest.approx(by_hand, abs=1e-6)
  mols = properties.molecules(TRAIN)
  from rdkit import DataStructs
  from rdkit.Chem import rdFingerprintGenerator

  make = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
  theirs = [
    [DataStructs.TanimotoSimilarity(make.GetFingerprint(m), make.GetFingerprint(n)) for n in mols] for m in mols
  ]
  prints = properties.fingerprints(mols)
  np.testing.assert_allclose(measures._similarities(prints, prints), theirs, atol=1e-6)


def test_cosines_and_distances_by_hand():
  found = measures.cosine([["a"], ["a", "b"]], [["a"], ["c"]])
  assert found.value == pytest.approx(2 / (math.sqrt(5) * math.sqrt(2)))
  assert measures.wasserstein(np.array([0.0, 1.0]), np.array([2.0, 3.0])).value == pytest.approx(2)
  same = measures.cosine([["a"], ["b"]] * 50, [["a"], ["b"]])
  assert same.value == pytest.approx(1) and 0 <= same.stderr < 0.05


def test_errors_are_those_of_repetitions():
  """The standard error of the internal diversity, and of the nearest neighbour, over draws from a larger set."""
  g = np.random.default_rng(0)
  prints = (g.random((4000, 32)) < g.random((4000, 1))).astype(np.float32)
  reference = prints[:50]
  for of in (measures.internal_diversity, lambda a: measures.nearest(a, reference)):
    found = [of(prints[g.permutation(4000)[:100]]) for _ in range(60)]
    spread, told = np.std([f.value for f in found]), np.mean([f.stderr for f in found])
    assert 0.7 < told / spread < 1.45


def test_parts_of_molecules():
  mol = properties.molecule("CC(=O)Nc1ccc(-c2ccccc2)cc1")
  assert properties.scaffold(mol) == "c1ccc(-c2ccccc2)cc1"
  assert properties.scaffold(properties.molecule("CCc1ccccc1")) is None  # one ring
  assert len(properties.fragments(mol)) >= 3
  log_p, qed, sa, weight = properties.descriptors([properties.molecule("CC(=O)Oc1ccccc1C(=O)O")])[0]
  assert (log_p, qed, weight) == pytest.approx((1.31, 0.550, 180.16), abs=0.01) and 1 < sa < 3


def test_filters(tmp_path, monkeypatch):
  (tmp_path / "mine.csv").write_text("names,smarts\nnitro,[N+](=O)[O-]\nacid,C(=O)[OH]\n")
  patterns = filters.read(str(tmp_path / "mine.csv"))
  passes = lambda s: filters.passes(properties.molecule(s), patterns)
  assert passes("CCO") and not passes("CC(=O)O") and not passes("C1CCCCCCC1") and not passes("CC[NH3+]")
  assert not passes("C[Si](C)C")
  found = molecules.sets_apart(["CCO", "CC(=O)O"], TRAIN, TEST, str(tmp_path / "mine.csv"))
  assert found["filters"] == 0.5
  (tmp_path / "bad.csv").write_text("smarts\nC(\n")
  for place, named in (("none.csv", "does not exist"), ("bad.csv", "line 2: RDKit does not accept"), ("", "molsets")):
    monkeypatch.setattr(filters, "folder", lambda: None)
    with pytest.raises(errors.UserError, match=named):
      filters.read(str(tmp_path / place) if place else "")


@pytest.mark.parametrize("lines,named", [
  (["CC", ""], "molecule 2 is empty"),
  (["CC.O"], "molecule 1 is a mixture"),
  (["CC", "CO", "C1CC"], "molecule 3 is no SMILES"),
])  # fmt: skip
def test_molecules_that_cannot_be_used_are_named(lines, named):
  with pytest.raises(errors.UserError, match=named):
    properties.check(lines)


@pytest.mark.slow
def test_training_molecules_of_moses_have_the_published_row(raw_data):
  """Polykovskiy et al. (2020), row Train, by 10,000 training against 20,000 of the test molecules."""
  import gzip

  read = lambda part: gzip.decompress((raw_data / "moses" / f"{part}.csv.gz").read_bytes()).decode().split()[1:]
  if not (raw_data / "moses" / "train.csv.gz").exists():
    pytest.skip("needs the files of moses")
  g = np.random.default_rng(0)
  train, test = read("train"), read("test")
  some = [train[i] for i in g.permutation(len(train))[:2000].tolist()]
  real = [test[i] for i in g.permutation(len(test))[:20_000].tolist()]
  found = molecules.sets_apart(some, some, real)
  assert found["valid"] == found["unique"] == 1 and found["novel"] == 0
  assert found["internal_diversity_1"] == pytest.approx(0.8567, abs=4 * found["internal_diversity_1_stderr"])
  assert found["fragments"] > 0.99
  assert pathlib.Path(__file__).exists()
