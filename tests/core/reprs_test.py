"""What a notebook prints of the objects that users hold is at most ten lines."""

import jax
import numpy as np
import pytest

from dgm_jax.api.trained_model import LatentModel
from dgm_jax.configs import iwae_mnist
from dgm_jax.core import progress
from dgm_jax.data.splits import Splits
from dgm_jax.training import build
from dgm_jax.training.experiment import make_init

pytestmark = pytest.mark.smoke


def test_reprs_have_shapes_instead_of_values():
  rng = np.random.default_rng(0)
  images = lambda n: {"x": rng.integers(0, 256, (n, 28, 28, 1), dtype=np.uint8), "y": np.zeros(n, np.int32)}
  splits = Splits(images(4000), None, images(500), {"vocabulary": tuple(map(str, range(9999)))})
  assert repr(splits) == (
    "Splits\n  train: 4,000 examples of x uint8[28, 28, 1], y int32\n"
    "  test: 500 examples of x uint8[28, 28, 1], y int32\n  about: vocabulary"
  )
  config = iwae_mnist.get_config("test")
  parts = build._number(splits)
  experiment = build.build(config, (parts, build.pipelines.make(config.data.transforms, parts.train, [parts.test])))
  assert repr(experiment.system) == "System(init, train_step, eval_step, sample, pictures)"
  state = jax.eval_shape(make_init(experiment, 0))
  assert "51,808 parameters" in repr(state)
  loaded = LatentModel(experiment, state.replace(step=3), config)
  for shown in (experiment, state, experiment.system, splits, loaded):
    assert len(repr(shown).splitlines()) <= 10 and len(repr(shown)) < 1000
  assert repr(loaded).startswith("LatentModel(vae of mnist5k, step 3")


def test_a_bar_is_drawn_every_second_where_somebody_looks_and_says_rate_and_time_left(monkeypatch, capsys):
  drawn = {}
  for watched in (True, False):
    monkeypatch.setattr(progress, "is_watched", lambda watched=watched: watched)
    clock = [0.0]
    with progress.progress_bar(1000, description="vae") as bar:
      monkeypatch.setattr(bar, "_time", lambda: clock[0])
      bar.start_t = bar.last_print_t = 0.0
      times = []
      monkeypatch.setattr(bar, "refresh", lambda *a, **k: times.append(clock[0]) or True)
      for _ in range(500):
        clock[0] += 0.25
        bar.set_postfix_str("loss 3.14", refresh=False)
        bar.update(1)
      text = str(bar)
    drawn[watched] = np.diff(times)
    assert "500/1000" in text and "4.00 steps/s" in text and "loss 3.14" in text and "<02:05" in text
  np.testing.assert_allclose(drawn[True], 1.0)
  np.testing.assert_allclose(drawn[False], 30.0)
