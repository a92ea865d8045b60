"""The definition of a sweep after a power cut, or a process that was killed while it wrote it."""

import pytest

from dgm_jax.core import errors
from dgm_jax.sweeps import tasks

NEW = tasks.Definition("configs/x.py", {"seed": 0}, {"a": {"optim.lr": 1e-3}}, None, "sweep")


@pytest.mark.parametrize("content", [b"", bytes(99)])
def test_a_definition_that_a_power_cut_emptied_is_written_again(content, tmp_path):
  (tmp_path / "sweep.json").write_bytes(content)
  (tmp_path / "runs" / "a").mkdir(parents=True)
  tasks.check(tmp_path, NEW)
  tasks.write(tmp_path, NEW)
  assert tasks.read(tmp_path) == NEW
  (tmp_path / "sweep.json").write_bytes(content)
  with pytest.raises(errors.UserError, match=r"sweep.json is damaged: it is empty"):
    tasks.check(tmp_path, NEW._replace(search={}))  # whose runs only the file lists


@pytest.mark.parametrize("name", [".tmp-0123456789abcdef.sweep.json", ".99999.sweep.json"])
def test_a_process_that_was_killed_while_it_wrote_the_definition_left_a_new_folder(name, tmp_path):
  (tmp_path / name).touch()
  tasks.check(tmp_path, NEW)
  (tmp_path / "mine.txt").touch()
  with pytest.raises(errors.UserError, match=r"do not belong to a sweep \(mine.txt\)"):
    tasks.check(tmp_path, NEW)
