"""Files: complete or absent, on the disk when written, through no link, and nothing is left of a killed process."""

import ast
import os
import pathlib
import re
import signal
import stat
import subprocess
import sys

import pytest

from dgm_jax.core import errors, files
from helpers import tables

KILLED = """
import os, pathlib, signal, sys
from dgm_jax.core import files
with files.whole(pathlib.Path(sys.argv[1]) / "config.json") as temporary:
  temporary.write_text("half")
  if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
  print("open", flush=True)
  sys.stdin.read()
"""


def start(folder, how):
  command = [sys.executable, "-c", KILLED, str(folder), how]
  return subprocess.Popen(command, cwd=tables.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_content_and_name_are_synced_before_and_after_the_renaming(tmp_path, monkeypatch):
  events, fsync, replace = [], os.fsync, os.replace

  def synced(descriptor):
    events.append(f"sync {pathlib.Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
    fsync(descriptor)

  def replaced(source, target):
    events.append(f"rename to {pathlib.Path(target).name}")
    replace(source, target)

  monkeypatch.setattr(os, "fsync", synced)
  monkeypatch.setattr(os, "replace", replaced)
  files.write_with(tmp_path / "new" / "a.json", lambda p: p.write_text("1"))
  assert events[0] == f"sync {tmp_path.name}"  # which has the name of the new folder
  assert re.fullmatch(r"sync \.tmp-[0-9a-f]{16}\.a\.json", events[1])
  assert events[2:] == ["rename to a.json", "sync new"]


def test_an_error_leaves_the_former_file_and_nothing_else(tmp_path):
  files.write_text(tmp_path / "a", "former")
  with pytest.raises(ZeroDivisionError), files.whole(tmp_path / "a") as temporary:
    temporary.write_text("half")
    1 / 0  # noqa: B018
  assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a", "former")]


def test_a_file_is_as_open_as_the_account_wants_and_replaces_a_link(tmp_path):
  (tmp_path / "precious").write_text("precious")
  (tmp_path / "a").symlink_to("precious")
  files.write_text(tmp_path / "a", "mine")
  assert (tmp_path / "precious").read_text() == "precious"
  mask = os.umask(0)
  os.umask(mask)
  assert stat.S_IMODE((tmp_path / "a").lstat().st_mode) == 0o666 & ~mask


def test_the_longest_name_can_be_written(tmp_path):
  name = "ä" * 125 + ".json"
  files.write_json(tmp_path / name, 1)
  assert files.read_json(tmp_path / name) == 1


def test_what_a_killed_process_left_is_removed_and_what_a_live_one_writes_is_kept(tmp_path):
  killed = start(tmp_path, "killed")
  assert killed.wait() == -signal.SIGKILL
  [left] = tmp_path.iterdir()
  assert files.is_temporary(left.name)
  live = start(tmp_path, "live")
  assert live.stdout.readline() == "open\n"  # with its first file the folder was cleaned
  [open_] = tmp_path.iterdir()
  assert open_ != left
  files.remove_left(tmp_path, former=True)
  assert open_.exists()
  live.communicate("")
  assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("config.json", "half")]


def test_files_that_earlier_versions_left_are_removed_where_nobody_else_names_them_so(tmp_path):
  ended = subprocess.Popen(["true"])
  ended.wait()
  names = [f".{ended.pid}.config.json", ".99999999999999999999.a", f".{os.getpid()}.config.json", ".1.x", ".hidden"]
  for name in names:
    (tmp_path / name).touch()
  files.remove_left(tmp_path)
  assert len(list(tmp_path.iterdir())) == 5
  files.remove_left(tmp_path, former=True)
  assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names[2:])


@pytest.mark.parametrize(
  "content, sentence",
  [
    (b"", "stop.json is damaged: it is empty."),
    (bytes(4096), "stop.json is damaged: it is empty."),
    (b'{"a": 1', r"stop.json is damaged: .* line 1 column 8"),
    (b"\xff\x00\xfe", "stop.json is damaged: .*decode"),
    (b"[" * 100_000, "stop.json is damaged: "),
    (b"[1]", r"stop.json is damaged: it is '\[1\]', not an object"),
    (b"3", r"stop.json is damaged: it is '3', not an object"),
    (b'{"b": 1}', "stop.json is damaged: 'reason' is missing"),
  ],
)
def test_json_that_is_not_as_expected_gets_a_sentence(content, sentence, tmp_path):
  (tmp_path / "stop.json").write_bytes(content)
  with pytest.raises(errors.UserError, match=sentence):
    files.read_json(tmp_path / "stop.json")


def test_json_that_is_as_expected_or_absent_is_read(tmp_path):
  assert files.read_json(tmp_path / "stop.json") is None
  files.write_json(tmp_path / "stop.json", {"reason": "a"})
  assert files.read_json(tmp_path / "stop.json") == {"reason": "a"}
  with pytest.raises(errors.UserError, match="cannot be read: Is a directory"):
    files.read_json(tmp_path)


METHODS = {"write_text", "write_bytes", "to_csv"}
WRITERS = METHODS | {"save", "savez", "savez_compressed", "rename", "replace", "dump"}
ELSEWHERE = {  # file: why what it writes is not of a run, or is whole in another way
  "core/files.py": "it has the function itself",
  "data/published/cache.py": "a new folder, which is renamed when it is whole",
  "data/published/raw_files.py": "unpacked for the moment",
  "data/files/images.py": "into the new folder of the cache",
}


def writes(tree):
  """Lines of a module that write a file other than through files.whole, write_with, write_text and the like."""

  def visit(node, inside):
    name = lambda call: call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if isinstance(node, ast.With):
      inside |= any(isinstance(i.context_expr, ast.Call) and name(i.context_expr) == "whole" for i in node.items)
    if isinstance(node, ast.Call):
      inside |= name(node) in ("whole", "write_with")
      module = getattr(getattr(node.func, "value", None), "id", "")
      known = name(node) in WRITERS and (module in ("np", "numpy", "os", "json") or name(node) in METHODS)
      modes = [a.value for a in node.args[:2] if isinstance(a, ast.Constant)] if name(node) == "open" else []
      known &= isinstance(node.func, ast.Attribute)  # write_text of core.files itself
      known |= any(isinstance(m, str) and m in ("w", "wb", "x", "xb", "r+b", "w+") for m in modes)
      if known and not inside and module != "files":
        yield node.lineno
    for child in ast.iter_child_nodes(node):
      yield from visit(child, inside)

  return list(visit(tree, False))


def test_every_file_is_written_by_the_one_function():
  """Logs and rows, which are appended, are the only others."""
  package = tables.ROOT / "dgm_jax"
  found = {str(p.relative_to(package)): writes(ast.parse(p.read_text())) for p in sorted(package.rglob("*.py"))}
  assert {name: lines for name, lines in found.items() if lines and name not in ELSEWHERE} == {}
  assert [name for name in ELSEWHERE if not found[name]] == []
