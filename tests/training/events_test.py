"""When a run is evaluated, drawn and saved."""

import pytest
from ml_collections import ConfigDict

from dgm_jax.training.events import Events

pytestmark = pytest.mark.smoke


def events(num_steps, steps_per_epoch, **given):
  every = {"eval_every": 0, "figures_every": 0, "checkpoint_every": 0, "log_every": 10}
  return Events.of(ConfigDict(every | given), num_steps, steps_per_epoch, (every | given)["log_every"])


def test_given_numbers_are_taken():
  assert events(1000, 5, eval_every=20, figures_every=30, checkpoint_every=40) == (20, 30, 40)


@pytest.mark.parametrize("num_steps,steps_per_epoch,expected", [
  (4000, 10, (200, 800, 200)),  # 20, 5 and 20 times a run
  (1000, 40, (200, 200, 200)),  # at least five epochs apart
  (1010, 1, (60, 210, 60)),  # multiples of log_every, rounded up
])  # fmt: skip
def test_zero_spreads_events_over_the_run(num_steps, steps_per_epoch, expected):
  assert events(num_steps, steps_per_epoch) == expected


def test_a_step_with_any_event():
  three = Events(20, 30, 50)
  assert [step for step in range(10, 110, 10) if three.any_at(step)] == [20, 30, 40, 50, 60, 80, 90, 100]
