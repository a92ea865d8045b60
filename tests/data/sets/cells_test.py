"""The data set `cells`: equal arrays from every format, moments, genes, and a sentence for what cannot be used."""

import numpy as np
import pytest
import scipy.special

from dgm_jax import data
from dgm_jax.core import errors
from dgm_jax.data import cells, simulated_cells
from dgm_jax.data.files import cell_files, gene_choice
from dgm_jax.data.sets import scrna
from dgm_jax.data.splits import Splits
from helpers import cell_files as made

COLUMNS = {"batch": "donor", "labels": "type", "unlabelled": "unknown", "categorical": "lane", "continuous": "age"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  return made.write_all(tmp_path_factory.mktemp("cells"))


def load(path, tmp_path, **options):
  return data.load("cells", path=str(path), data_dir=str(tmp_path), **options)


def test_every_format_gives_the_same_cells(files, tmp_path):
  x = made.counts()
  for name, path in files.items():
    layer = {"layer": "counts"} if name == "csr" else {}
    found = load(path, tmp_path, **layer)
    order = np.concatenate([a["row"] for a in found.parts().values()])
    joined = np.concatenate([a["x"] for a in found.parts().values()])
    assert sorted(order.tolist()) == list(range(made.N)), name
    np.testing.assert_array_equal(joined, x[order], err_msg=name)
    assert found.train["x"].dtype == np.uint16
    assert found.about["genes"] == [f"gene{j}" for j in range(made.G)]
    assert len(found.test["x"]) == round(0.1 * made.N)


def test_columns_of_the_cells(files, tmp_path):
  found = load(files["dense"], tmp_path, **COLUMNS, size_factor="depth")
  rows, i = found.train, found.train["row"]
  assert (found.about["batches"], found.about["classes"]) == (["d0", "d1"], ["alpha", "beta"])
  np.testing.assert_array_equal(rows["batch"], i % 2)
  np.testing.assert_array_equal(rows["y"], np.where(i % 3 == 2, -1, i % 3))
  np.testing.assert_array_equal(rows["categories"][:, 0], i % 4)
  np.testing.assert_allclose(rows["size_factor"], 1 + i / made.N, rtol=1e-6)
  exact = np.where(rows["x"] <= 10, scipy.special.gammaln(rows["x"] + 1.0), 0).sum(1)
  np.testing.assert_allclose(rows["log_factorials"], exact, rtol=1e-5)
  about = found.about["cells"]
  logs = np.log(rows["x"].sum(1))
  for b in range(2):
    of = logs[rows["batch"] == b]
    np.testing.assert_allclose([m[b] for m in about["library_moments"]], [of.mean(), of.var()], rtol=1e-6)
  assert [about[k] for k in ("num_batches", "num_labels", "categories", "num_continuous")] == [2, 2, [4], 1]


def test_large_counts_are_kept(tmp_path):
  x = made.counts()
  x[3, 4] = 70_000
  path = tmp_path / "large.h5ad"
  made.anndata_of(x).write_h5ad(path)
  found = load(path, tmp_path)
  assert max(a["x"].max() for a in found.parts().values()) == 70_000


def test_chosen_genes_are_those_with_the_largest_residual_variance():
  """Against the formula on the whole matrix; blocks of any size give the same."""
  rng = np.random.default_rng(1)
  x = rng.poisson(rng.gamma(0.5 + np.arange(12) % 3, 2.0, (50, 12)))
  batch = np.arange(50) % 2

  def blocks(size):
    return lambda: ((i, x[i : i + size]) for i in range(0, 50, size))

  found = gene_choice.residual_variances(blocks(7), batch, 2, 12)
  np.testing.assert_allclose(found, gene_choice.residual_variances(blocks(50), batch, 2, 12), rtol=1e-9)
  for b in range(2):
    of = x[batch == b].astype(float)
    mean = of.sum(1, keepdims=True) * of.sum(0) / of.sum()
    residual = np.clip((of - mean) / np.sqrt(mean + mean**2 / 100), -5, 5)
    np.testing.assert_allclose(found[b], residual.var(0), rtol=1e-6)
  chosen = gene_choice.choose(found[:1], 4)
  assert set(chosen) == set(np.argsort(-found[0])[:4])


def _changed(change):
  x, frame = made.counts().astype(float), made.obs()
  return change(x, frame) or (x, frame)


def _set(i, j, value):
  def change(x, frame):
    x[i, j] = value

  return change


def _column(name, values):
  def change(x, frame):
    frame[name] = values

  return change


def _empty_gene(x, frame):
  x[:, 2] = 0
  x[:, 3] += 1


WRONG = {
  "logged": (lambda x, frame: (np.log1p(x), frame), {}, "'cell0' and gene 'gene0'.*give raw counts, not normalised"),
  "negative": (_set(3, 1, -2), {}, "has -2 for cell 'cell3' and gene 'gene1'; counts are not negative"),
  "fraction": (_set(4, 2, 1.5), {}, "has 1.5 for cell 'cell4' and gene 'gene2'; whole numbers are expected"),
  "nan": (_set(5, 0, np.nan), {}, "has nan for cell 'cell5' and gene 'gene0'; counts have no NaN"),
  "empty cell": (_set(6, slice(None), 0), {}, "cell 'cell6' has no counts in the genes used"),
  "empty gene": (_empty_gene, {}, "gene 'gene2' has no counts in any cell"),
  "missing column": (None, {"batch": "doner"}, "Unknown column of obs .* Did you mean 'donor'"),
  "numbers": (None, {"batch": "depth"}, "column 'depth' holds numbers such as 1.0, not categories"),
  "single": (
    _column("donor", ["z"] + ["a"] * (made.N - 1)), {"batch": "donor"}, "batch 'z' of column 'donor' has one cell",
  ),
  "nan labels": (
    _column("type", ["a"] * 30 + [None] * 30), {"labels": "type"}, "'type' has no value for 30 cells, e.g. row 31",
  ),
  "unscaled": (
    _column("age", np.linspace(0, 90, made.N)), {"continuous": "age"}, "column 'age' has values up to 90: standardise",
  ),
  "size factor": (_column("depth", np.zeros(made.N)), {"size_factor": "depth"}, "size factors that are not positive"),
  "layer": (None, {"layer": "raw"}, "Unknown layer"),
  "unlabelled": (
    None, {"labels": "type", "unlabelled": "unknow"}, "a type in column 'type'.*'unknow'. Did you mean 'unknown'",
  ),
  "names": (_column("type", [f"t{i}" for i in range(made.N)]), {"labels": "type"}, "60 different values for 60 cells"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_used_gets_one_sentence_and_writes_nothing(kind, tmp_path):
  change, options, sentence = WRONG[kind]
  x, frame = _changed(change or (lambda x, frame: None))
  path = tmp_path / "wrong.h5ad"
  made.anndata_of(x, frame).write_h5ad(path)
  with pytest.raises(errors.UserError, match=sentence) as raised:
    load(path, tmp_path / "data", **options)
  assert "\n" not in str(raised.value)
  assert not list((tmp_path / "data").rglob("*.npy"))


def test_a_file_that_another_process_writes_is_refused(files, tmp_path, monkeypatch):
  import h5py

  monkeypatch.setattr(h5py, "File", lambda *a: (_ for _ in ()).throw(BlockingIOError(11, "unable to lock file")))
  with pytest.raises(errors.UserError, match="open in another process that writes it"):
    load(files["dense"], tmp_path)


def test_files_that_are_no_cells_get_one_sentence(tmp_path):
  (tmp_path / "a.h5ad").write_text("no HDF5")
  (tmp_path / "b.xyz").write_text("")
  (tmp_path / "c").mkdir()
  for name, sentence in (
    ("a.h5ad", "is not a file of cells"), ("b.xyz", "unknown format; supported"), ("c", r"no matrix\.mtx"),
    ("none.h5ad", "does not exist"),
  ):  # fmt: skip
    with pytest.raises(errors.UserError, match=sentence), cell_files.opened(tmp_path / name):
      pass


def test_counts_are_read_from_a_layer_of_a_loom(files, tmp_path):
  import shutil

  import h5py

  path = tmp_path / "layers.loom"
  shutil.copyfile(files["loom"], path)
  with h5py.File(path, "r+") as file:
    file["layers/spliced"] = made.counts(1).T
    file["layers/unspliced"] = made.counts(2).T
    file["matrix"][...] = 0
  for layer, seed in (("spliced", 1), ("unspliced", 2)):
    with cell_files.opened(path, layer) as file:
      np.testing.assert_array_equal(file.rows(7, 40), made.counts(seed)[7:40])
      assert file.column("donor").tolist() == [f"d{i % 2}" for i in range(made.N)]
  named = r"Unknown layer of .*'counts'.* Choices: spliced, unspliced"
  with pytest.raises(errors.UserError, match=named), cell_files.opened(path, "counts"):
    pass


def test_labels_named_as_the_unlabelled_are_no_class():
  codes, names = cells.labels(np.array(["a", "none", "b", "a"], object), "t", "f", "none")
  assert names == ["a", "b"] and codes.tolist() == [0, -1, 1, 0]
  with pytest.raises(errors.UserError, match="has 'c', which the model has not seen; it knows a, b"):
    cells.categories(np.array(["a", "c"], object), "t", "f", ["a", "b"])
  codes, names = cells.labels(np.array(["b", "a"], object), "t", "f", "none", ["a", "b"])  # for a trained model
  assert names == ["a", "b"] and codes.tolist() == [1, 0]


def test_simulated_cells_have_the_moments_of_their_parameters():
  drawn, about = simulated_cells.draw(4000)
  p = simulated_cells.parameters()
  z, batch = drawn["z"].astype(float), drawn["batch"]
  rho = np.exp(simulated_cells.log_rho(p, z, batch))
  mean = np.exp(drawn["log_library"].astype(float))[:, None] * rho / (1 + np.exp(p.logit))
  difference = drawn["x"] - mean
  assert (abs(difference.mean(0)) < 5 * difference.std(0) / np.sqrt(4000)).all()
  found = data.load("scrna/simulated")
  assert len(found.about["genes"]) == len(about["genes"]) == found.train["x"].shape[1]
  np.testing.assert_allclose(found.about["cells"]["library_moments"][0], simulated_cells.LIBRARY_MEAN, atol=0.2)


def test_cortex_keeps_the_genes_of_largest_variance(tmp_path):
  """A made file in the published format; the types are those of level1class."""
  x = np.random.default_rng(0).poisson(np.arange(1, 601), (12, 600))
  head = [["", name, *("a" * 12)] for name in ("tissue", "group #", *"cdefgh")]
  head += [["", "level1class", *(f"type{i % 3}" for i in range(12))], ["", "level2class", *("b" * 12)], [""]]
  genes = [[f"g{j}", "1", *map(str, x[:, j])] for j in range(600)]
  path = tmp_path / "expression.txt"
  path.write_text("\n".join("\t".join(row) for row in head + genes) + "\n")
  arrays, about = scrna._cortex(path)
  chosen = [int(name[1:]) for name in about["genes"]]
  np.testing.assert_array_equal(arrays["x"], x[:, chosen])
  others = np.setdiff1d(np.arange(600), chosen)
  assert len(set(chosen)) == 558 and x.var(0)[chosen].min() >= x.var(0)[others].max() - 1e-9
  assert arrays["y"].tolist() == [i % 3 for i in range(12)]


def _given(x, **more):
  part = lambda rows: {"x": x[rows], **{k: v[rows] for k, v in more.items()}}
  return Splits(part(slice(0, 40)), None, part(slice(40, 60)), {})


def test_float_counts_are_described_and_others_are_refused_for_a_model_of_cells():
  """Else num_batches would be 1, and the prior of the log library N(0, 1)."""
  x, batch = made.counts().astype(np.float32), np.arange(60) % 2
  found = cells.for_model(_given(x, batch=batch), "data")
  assert found == cells.described(_given(made.counts(), batch=batch)).about["cells"] and found["num_batches"] == 2
  changed = lambda value: np.where(np.arange(60)[:, None] * 100 + np.arange(made.G) == 302, value, x)
  wrong = {"NaN": np.nan, "not negative": -1.0, "whole numbers": 0.5}
  for sentence, value in wrong.items():
    with pytest.raises(errors.UserError, match=f"'train 3' and gene 2.*{sentence}"):
      cells.for_model(_given(changed(value), batch=batch), "data")
  with pytest.raises(errors.UserError, match=r"cell 'test 10' has no counts"):
    cells.for_model(_given(np.where(np.arange(60)[:, None] == 50, 0, x)), "data")
  with pytest.raises(errors.UserError, match=r"batch 1 has 1 training cells"):
    cells.for_model(_given(x, batch=(np.arange(60) == 3).astype(int)), "data")


def test_features_of_10x_files_that_are_no_genes_are_left_out(files, tmp_path):
  import shutil

  import h5py

  x, kinds = made.counts(), ["Gene Expression"] * made.G
  kinds[1] = kinds[-1] = "Antibody Capture"
  shutil.copyfile(files["10x"], tmp_path / "matrix.h5")
  with h5py.File(tmp_path / "matrix.h5", "r+") as file:
    file["matrix/features/feature_type"] = np.array([kind.encode() for kind in kinds])
  shutil.copytree(files["mtx"], tmp_path / "mtx")
  lines = (f"ENS{j}\tgene{j}\t{kind}\n" for j, kind in enumerate(kinds))
  (tmp_path / "mtx" / "features.tsv").write_text("".join(lines))
  for path in (tmp_path / "matrix.h5", tmp_path / "mtx"):
    with cell_files.opened(path) as file:
      assert file.left_out == 2 and file.genes == [f"gene{j}" for j in range(made.G) if j not in (1, made.G - 1)]
      np.testing.assert_array_equal(file.rows(3, 9), np.delete(x, [1, made.G - 1], 1)[3:9])
