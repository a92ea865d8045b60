"""The command that prepares data sets: lists, verifies, waits for another process, reports mistakes."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from dgm_jax import data
from dgm_jax.data.published import fingerprints
from helpers import processes, tables

COMMAND = [sys.executable, str(tables.ROOT / "scripts" / "prepare_data.py")]


def prepare(*args):
  return processes.dgm_jax("prepare-data", *args)


def test_every_published_set_is_listed_and_documented(tmp_path):
  listed = prepare("--list", f"--data_dir={tmp_path}").stdout
  readme = (tables.ROOT / "dgm_jax" / "data" / "README.md").read_text()
  for name, spec in data.published().items():
    (line,) = [line for line in listed.splitlines() if line.split()[:1] == [name]]
    assert " + ".join(f"{n:,}" for n in spec.sizes.values()) in line
    assert f"`{name}`" in readme
    assert min(len(spec.license), len(spec.citation), len(spec.homepage), len(spec.description)) > 2
    assert all(f.url or f.made_by for f in spec.files.values())


def test_registered_fingerprints_match_the_specs():
  specs = {spec.folder: spec for spec in data.published().values()}
  for folder, known in fingerprints.registered().items():
    if folder in specs:
      sizes = {part: int(f.shape.partition("x")[0]) for (part, _), f in known.items()}
      assert sizes == specs[folder].sizes, folder


def test_list_with_a_name_describes_the_data_set():
  described = prepare("--list", "uci/concrete").stdout
  for word in ("rows 1,030", "CC BY 4.0", "Concrete_Data.xls", "https://archive.ics.uci.edu", "x float32 [8]"):
    assert word in described


def test_mistakes_get_one_sentence(tmp_path):
  for args, named in (
    (("minst",), "Did you mean 'mnist'"),
    (("mnist", f"--manual_dir={tmp_path}"), "lacks 'train-images-idx3-ubyte.gz'"),
    (("maf/gas",), "maf/gas cannot be downloaded. Alternatives: "),
  ):
    done = prepare(*args, f"--data_dir={tmp_path / 'data'}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
    assert named in done.stderr


def test_a_data_set_that_fails_does_not_stop_the_others(tmp_path):
  done = prepare("maf/gas", "mnist5k", f"--data_dir={tmp_path}")
  assert done.returncode == 2
  assert "mnist5k: train 4,000, valid 500, test 500" in done.stdout
  assert "error: not prepared: maf/gas." in done.stderr


def test_mnist5k_is_the_registered_one_and_a_change_is_found(tmp_path):
  done = prepare("mnist5k", "--verify", f"--data_dir={tmp_path}")
  assert done.returncode == 0, done.stderr
  assert done.stdout.count("as registered") == 6
  (path,) = pathlib.Path(tmp_path).rglob("test/x.npy")
  changed = np.load(path)
  changed[0, 0, 0, 0] ^= 1
  np.save(path, changed)
  (path.parents[1] / "digests.json").unlink()  # as an earlier version left them; else it would be prepared again
  done = prepare("mnist5k", "--verify", f"--data_dir={tmp_path}")
  assert done.returncode == 1
  assert done.stdout.count("as registered") == 5
  assert done.stdout.count("DIFFERS") == 1


def test_fingerprints_depend_on_the_values():
  import hashlib

  array = np.arange(24, dtype=np.float32).reshape(4, 6)
  found = fingerprints.fingerprint(array)
  assert found == ("f4", "4x6", hashlib.sha256(array.tobytes()).hexdigest())
  assert fingerprints.fingerprint(np.asfortranarray(array)) == found
  assert fingerprints.fingerprint(array.astype(">f4")).sha256 == found.sha256


@pytest.mark.slow
def test_two_processes_leave_one_good_set(raw_data, tmp_path):
  """The files are in a sub-folder with the set's name."""
  command = [*COMMAND, "mnist", "--verify", f"--manual_dir={raw_data}", f"--data_dir={tmp_path}"]
  both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
  outputs = [process.communicate() for process in both]
  assert [process.returncode for process in both] == [0, 0], outputs
  assert all(out.count("as registered") == 4 for out, _ in outputs)
  assert sum("waiting for it" in out for out, _ in outputs) == 1
  assert sorted(p.name for p in (tmp_path / "dgm_arrays").iterdir()) == ["mnist-1.0.0", "mnist-1.0.0.lock"]
  assert [p.name for p in (tmp_path / "dgm_mnist").iterdir()] == ["1.0.0"]


@pytest.mark.parametrize("name,folder", [
  ("frey_faces", "freyfaces"), ("omniglot_resized/small", "omniglot_small"), ("cifar10/small", "cifar10_subset"),
  ("uci/banknote", "uci"), ("uci/breast", "uci"), ("uci/concrete", "uci"), ("uci/red", "uci"), ("uci/white", "uci"),
  ("uci/yeast", "uci"), ("tiny_shakespeare", "text/tinyshakespeare"), ("zinc250k/small", "zinc"),
  ("scrna/smfish", "scrna"), ("scrna/starmap", "scrna"), ("scrna/pbmc68k", "scrna"),
  ("binary/dna", "nade_uci"), ("binary/dna_debd", "debd"), ("binary/nltcs", "debd"), ("binary/mushrooms", "nade_uci"),
])  # fmt: skip
def test_arrays_of_the_raw_files_have_the_registered_fingerprints(name, folder, raw_data, tmp_path):
  spec = data.published()[name]
  from dgm_jax.data.published.prepare import prepared

  parts = prepared(spec, str(tmp_path), str(raw_data / folder))
  assert fingerprints.of(parts) == fingerprints.registered()[spec.folder]
