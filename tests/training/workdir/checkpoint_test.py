"""Checkpoints: one counts when all of it is on the disk, and none is restored that is not what was written."""

import json
import os
import pathlib
import shutil

import jax.numpy as jnp
import pytest

from dgm_jax.core import errors
from dgm_jax.core.system import TrainState
from dgm_jax.training.workdir import checkpoint, manifest


def state(step):
  return TrainState(jnp.int32(step), {"a": jnp.full(1000, float(step))}, (), {}, {})


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
  """A folder with checkpoints of steps 2 and 3."""
  workdir = tmp_path_factory.mktemp("saved")
  (workdir / "metrics.jsonl").write_text('{"step": 3}\n')
  with checkpoint.open_manager(workdir) as manager:
    for step in (1, 2, 3):
      checkpoint.save(manager, step, state(step), float(step), {"config": {"seed": 0}})
      manager.wait_until_finished()
  return workdir


@pytest.fixture
def workdir(saved, tmp_path):
  return shutil.copytree(saved, tmp_path / "run")


def restored(workdir, read_only=True, **options):
  with checkpoint.open_manager(workdir, read_only=read_only) as manager:
    found = checkpoint.restore_latest(manager, state(0), repair=not read_only, **options)
    return None if found is None else int(found.params["a"][0])


def flip(path, at=-1):
  content = bytearray(path.read_bytes())
  content[at] ^= 1
  path.write_bytes(content)


def change_key(path):
  path.write_bytes(path.read_bytes().replace(b'"item_handlers"', b'"item_handlerz"'))


def arrays(folder):
  """The largest file, which holds the array."""
  return max((p for p in folder.rglob("*/d/*") if p.is_file()), key=lambda p: p.stat().st_size)


def test_each_file_has_its_size_and_digest_in_the_manifest(saved):
  folder = saved / "checkpoints" / "3"
  files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
  assert set(json.loads((folder / "manifest.json").read_text())) == files - {"manifest.json"}
  assert (folder / "metrics.jsonl").read_text() == '{"step": 3}\n'  # what a run that continues from here needs
  assert manifest.damage(folder) == ""


def test_any_change_of_any_file_is_found(workdir):
  folder = workdir / "checkpoints" / "3"
  faults = {
    "has another content": flip,
    "bytes instead of": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "is missing": pathlib.Path.unlink,
  }
  for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json"):
    content = path.read_bytes()
    for sentence, fault in faults.items():
      fault(path)
      assert str(path.relative_to(folder)) in manifest.damage(folder)
      assert sentence in manifest.damage(folder)
      path.write_bytes(content)
  assert manifest.damage(folder) == ""


@pytest.mark.parametrize(
  "name, fault",
  [
    ("", flip),
    ("_CHECKPOINT_METADATA", change_key),
    ("_CHECKPOINT_METADATA", lambda path: path.write_bytes(b"")),
    ("manifest.json", flip),
    ("manifest.json", pathlib.Path.unlink),
  ],
)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(name, fault, workdir, caplog):
  folder = workdir / "checkpoints" / "3"
  fault(folder / name if name else arrays(folder))
  incomplete = not (folder / "manifest.json").exists()
  assert checkpoint.steps(workdir) == ({2} if incomplete else {2, 3})
  assert restored(workdir) == 2
  with pytest.raises(errors.UserError, match=r"No checkpoint in .* can be read"):
    restored(workdir, step=3)
  assert incomplete or "The checkpoint of step 3 in" in caplog.text
  assert folder.exists()  # evaluation removes nothing
  assert restored(workdir, read_only=False) == 2
  assert not folder.exists()
  assert "The checkpoint of step 3 in" in caplog.text


@pytest.mark.parametrize("name", ["", "_CHECKPOINT_METADATA"])
def test_where_all_are_damaged_a_sentence_says_so_and_nothing_is_removed(name, workdir):
  for step in "23":
    folder = workdir / "checkpoints" / step
    flip(folder / name if name else arrays(folder))
  for read_only in (True, False):
    with pytest.raises(errors.UserError, match=r"can be read: they are damaged, or .*has another content than was"):
      restored(workdir, read_only)
  assert checkpoint.steps(workdir) == {2, 3}


def test_a_whole_checkpoint_of_another_model_is_not_removed_for_an_older_one(workdir):
  other = TrainState(jnp.int32(0), {"b": jnp.zeros(3)}, (), {}, {})
  with checkpoint.open_manager(workdir) as manager:
    with pytest.raises(errors.UserError, match="belong to another model"):
      checkpoint.restore_latest(manager, other, repair=True)
    with pytest.raises(errors.UserError, match=r"step 3 .*has format 9; this version reads up to 2"):
      path = workdir / "checkpoints" / "3" / "_CHECKPOINT_METADATA"
      path.write_bytes(path.read_bytes().replace(b'"format": 2', b'"format": 9'))
      manifest.write(path.parent)
      checkpoint.restore_latest(manager, state(0), repair=True)
  assert checkpoint.steps(workdir) == {2, 3}


def test_those_of_earlier_versions_count_without_a_manifest(workdir):
  for step, known in (("2", b'"other": 2'), ("3", b'"format": 1')):  # the first ones recorded no format
    path = workdir / "checkpoints" / step / "_CHECKPOINT_METADATA"
    path.write_bytes(path.read_bytes().replace(b'"format": 2', known))
    (path.parent / "manifest.json").unlink()
  assert checkpoint.steps(workdir) == {2, 3}
  assert restored(workdir) == restored(workdir, read_only=False) == 3
  path.write_bytes(b"")
  assert checkpoint.steps(workdir) == {2}
  assert restored(workdir, read_only=False) == 2


def test_the_only_one_is_set_aside_if_it_is_incomplete(workdir, caplog):
  shutil.rmtree(workdir / "checkpoints" / "2")
  (workdir / "checkpoints" / "3" / "manifest.json").unlink()
  assert restored(workdir, read_only=False) is None
  assert "it is kept as 3.damaged" in caplog.text
  assert restored(workdir, read_only=False) is None
  assert [p.name for p in (workdir / "checkpoints").iterdir()] == ["3.damaged"]


def test_the_manifest_comes_after_all_else_is_synced_and_before_the_older_one_goes(tmp_path, monkeypatch):
  """With one checkpoint to keep there is never an instant without a complete one."""
  events, fsync, replace = [], os.fsync, os.replace

  def synced(descriptor):
    events.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))
    fsync(descriptor)

  def replaced(source, target):
    events.append(("rename", str(target)))
    assert checkpoint.steps(tmp_path) >= {1} or "2" not in str(target)
    replace(source, target)

  with checkpoint.open_manager(tmp_path, keep=1) as manager:
    checkpoint.save(manager, 1, state(1))
    manager.wait_until_finished()
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    checkpoint.save(manager, 2, state(2))
    manager.wait_until_finished()
  folder = tmp_path / "checkpoints" / "2"
  written = events.index(("rename", str(folder / "manifest.json")))
  needed = {str(p) for p in folder.rglob("*") if p.name != "manifest.json"} | {str(folder), str(folder.parent)}
  assert needed <= {path for kind, path in events[:written] if kind == "sync"}
  assert ("sync", str(folder)) in events[written:]
  assert checkpoint.steps(tmp_path) == {2}
