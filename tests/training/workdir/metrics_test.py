"""The rows of a run: a damaged line costs that line alone, and not even that where a checkpoint has a copy."""

import json
import pathlib

import pytest

from dgm_jax.training.workdir import metrics

ABOUT = json.dumps({"data": "d", "seed": 0})
ROWS = [json.dumps({"step": step, "train/loss": step / 8}) for step in (10, 20, 30, 40)]


def steps(rows):
  return [row["step"] for row in rows]


@pytest.mark.parametrize(
  "lines, kept, sentence",
  [
    ([ABOUT, *ROWS], [10, 20, 30, 40], ""),
    ([ABOUT, ROWS[0], ROWS[1][:9], *ROWS[2:]], [10, 30, 40], "line 3 left out, 3 rows kept"),
    ([ABOUT, ROWS[0], "[]", "3", '"step"', "null", "", *ROWS[1:]], [10, 20, 30, 40], "lines 3, 4, 5, 6, 7 left out"),
    ([ABOUT, ROWS[0], '{"step": "x"}', *ROWS[1:]], [10, 20, 30, 40], ""),
    ([ABOUT[:5], *ROWS], [10, 20, 30, 40], "line 1 left out, 4 rows kept"),
    ([ABOUT, ROWS[0], "\0" * 40, *ROWS[2:]], [10, 30, 40], "it is kept as metrics.jsonl.damaged"),
  ],
)
def test_a_damaged_line_costs_that_line_alone(lines, kept, sentence, tmp_path, caplog):
  path = tmp_path / "metrics.jsonl"
  path.write_text("\n".join(lines) + "\n")
  assert steps(metrics.read(tmp_path)) == kept
  assert steps(metrics.until(tmp_path, 30)) == [s for s in kept if s <= 30]
  metrics.report_damage(tmp_path)
  assert sentence in caplog.text
  assert bool(caplog.text) == bool(sentence)
  assert path.exists() != (tmp_path / "metrics.jsonl.damaged").exists()


def test_a_last_line_without_an_end_is_left_out_without_a_word(tmp_path, caplog):
  (tmp_path / "metrics.jsonl").write_text("\n".join([ABOUT, *ROWS])[:-3])
  assert steps(metrics.read(tmp_path)) == [10, 20, 30]
  metrics.report_damage(tmp_path)
  assert caplog.text == ""


def test_a_file_of_bytes_is_kept_under_another_name_each_time(tmp_path):
  for _ in range(2):
    (tmp_path / "metrics.jsonl").write_bytes(b"\xff\xfe\n" + ROWS[0].encode() + b"\n")
    assert steps(metrics.until(tmp_path, 40)) == [10]
    metrics.report_damage(tmp_path)
  assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.jsonl.damaged", "metrics.jsonl.damaged.2"]


def test_rows_that_are_lost_come_from_the_checkpoint(tmp_path):
  copy = tmp_path / "checkpoints" / "30" / "metrics.jsonl"
  copy.parent.mkdir(parents=True)
  copy.write_text("\n".join([ABOUT, *ROWS[:3]]) + "\n")
  assert steps(metrics.until(tmp_path, 30)) == [10, 20, 30]
  (tmp_path / "metrics.jsonl").write_text("\n".join([ABOUT, ROWS[1], ROWS[3]]) + "\n")
  assert metrics.until(tmp_path, 30) == [json.loads(row) for row in ROWS[:3]]
  assert metrics.until(tmp_path, 0) == []


def test_a_writer_leaves_the_rows_and_the_description(tmp_path):
  writer = metrics.MetricWriter(pathlib.Path(tmp_path), [{"step": 10}], {"seed": 0})
  writer.write(20, {"train/loss": 0.5})
  writer.close()
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  assert [json.loads(line) for line in lines] == [{"seed": 0}, {"step": 10}, {"step": 20, "train/loss": 0.5}]
