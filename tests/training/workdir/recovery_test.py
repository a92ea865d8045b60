"""Files of a run that a power cut or a damaged disk spoilt: another copy serves, or a sentence says what to do."""

import json
import re

import pytest

from dgm_jax.core import errors, files
from dgm_jax.sweeps import states
from dgm_jax.training.loggers import hub
from dgm_jax.training.workdir import folder, legacy_configs, manifest, recovery, run_record

CONFIG = {"seed": 3, "data": {"name": "mnist5k"}}
EMPTY, ZEROS, CUT, BINARY = b"", bytes(99), b'{"seed": 3', b"\xff\xfe"


def add_checkpoint(workdir, step=20):
  """What recovery reads of one: its metadata, and the manifest."""
  path = workdir / "checkpoints" / str(step)
  path.mkdir(parents=True)
  about = {"format": 2, "config": CONFIG}
  (path / "_CHECKPOINT_METADATA").write_text(json.dumps({"custom_metadata": about}))
  manifest.write(path)


@pytest.mark.parametrize("content", [None, EMPTY, ZEROS, CUT, BINARY, b"[1]", b"3"])
def test_the_config_of_a_checkpoint_replaces_a_damaged_one(content, tmp_path, caplog):
  add_checkpoint(tmp_path)
  if content is not None:
    (tmp_path / "config.json").write_bytes(content)
  assert recovery.config(tmp_path) == CONFIG
  assert "the config in the checkpoint of step 20 is used" in caplog.text
  given = legacy_configs.upgraded(json.loads(json.dumps(CONFIG)))
  assert folder.check(tmp_path, given) is None
  with pytest.raises(errors.UserError, match=re.escape("It differs in: seed (3 there, 4 now)")):
    folder.check(tmp_path, given | {"seed": 4})
  folder.create(tmp_path, given)
  assert files.read_json(tmp_path / "config.json") == given


@pytest.mark.parametrize("content", [EMPTY, ZEROS])
def test_a_run_whose_config_was_lost_before_its_first_checkpoint_begins_again(content, tmp_path):
  (tmp_path / "config.json").write_bytes(content)
  for name in ("data.json", "run.json", "metrics.jsonl", "lock"):
    (tmp_path / name).touch()
  assert folder.check(tmp_path, CONFIG) is None
  folder.create(tmp_path, CONFIG)
  assert files.read_json(tmp_path / "config.json") == CONFIG


@pytest.mark.parametrize("content", [CUT, BINARY])
def test_a_config_that_nothing_replaces_gets_a_sentence(content, tmp_path):
  (tmp_path / "config.json").write_bytes(content)
  sentence = r"config.json is damaged: .*, and no checkpoint has a copy. Restore it, or remove .* to train anew"
  with pytest.raises(errors.UserError, match=sentence):
    folder.check(tmp_path, CONFIG)


@pytest.mark.parametrize("name", [".tmp-0123456789abcdef.config.json", ".99999.config.json"])
def test_a_process_that_was_killed_while_it_wrote_the_config_left_a_new_folder(name, tmp_path):
  (tmp_path / name).write_text("{")
  assert folder.check(tmp_path, CONFIG) is None
  (tmp_path / "mine.txt").touch()
  with pytest.raises(errors.UserError, match="holds files that are not a run's"):
    folder.check(tmp_path, CONFIG)


@pytest.mark.parametrize("content", [EMPTY, CUT, BINARY, b"[]"])
def test_damaged_results_are_evaluated_again_if_there_is_a_checkpoint(content, tmp_path, caplog):
  (tmp_path / "results.json").write_bytes(content)
  with pytest.raises(errors.UserError, match=r"there is no checkpoint to evaluate. Remove it to train the run again"):
    recovery.results(tmp_path)
  add_checkpoint(tmp_path)
  assert recovery.results(tmp_path) is None
  assert "results.json is damaged" in caplog.text
  files.write_json(tmp_path / "results.json", {"test/nll": 1.0})
  assert recovery.results(tmp_path) == {"test/nll": 1.0}


def test_damaged_identity_of_the_data_is_in_the_first_row(tmp_path, caplog):
  about = {"data": "mnist5k", "split_sizes": {"train": 8}, "data_digest": "d"}
  folder.check_data(tmp_path, about)
  (tmp_path / "data.json").write_bytes(EMPTY)
  assert recovery.data(tmp_path) is None  # nothing was trained yet
  add_checkpoint(tmp_path)
  with pytest.raises(errors.UserError, match="Remove it if you are sure that they have not changed"):
    folder.check_data(tmp_path, about)
  (tmp_path / "metrics.jsonl").write_text(json.dumps({"seed": 0, **about}) + "\n")
  folder.check_data(tmp_path, about)
  with pytest.raises(errors.UserError, match="was trained on other data"):
    folder.check_data(tmp_path, about | {"data_digest": "e"})
  assert "The first line of metrics.jsonl is used" in caplog.text


def test_a_damaged_record_is_kept_under_another_name(tmp_path, caplog):
  (tmp_path / "run.json").write_bytes(CUT)
  assert recovery.starts(tmp_path, writes=False) == []
  record = run_record.RunRecord(tmp_path, seed=0, step=20)
  record.finish()
  assert [entry["from_step"] for entry in files.read_json(tmp_path / "run.json")] == [20]
  assert (tmp_path / "run.json.damaged").read_bytes() == CUT
  assert "it is kept as run.json.damaged" in caplog.text


@pytest.mark.parametrize("content", [EMPTY, CUT, BINARY])
def test_a_failure_and_the_names_at_services_can_be_lost(content, tmp_path):
  for name in ("failure.json", "loggers.json"):
    (tmp_path / name).write_bytes(content)
  assert states.state(tmp_path) == states.State("failed", 0)
  about = hub.About(tmp_path, 0, {})
  assert about.known("wandb") is None
  about.remember("wandb", "id")
  assert about.known("wandb") == "id"
