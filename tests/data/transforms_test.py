"""Transforms: their distributions, their Jacobians, and which draws are repeated."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from dgm_jax.core import errors
from dgm_jax.data import pipeline as transforms

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (300, 4, 3, 1)).astype(np.uint8)
TABLE = (RNG.standard_normal((2000, 4)) @ RNG.standard_normal((4, 4)) * [1, 10, 100, 0.1] + 5).astype(np.float32)


def batch(x, epoch=0, **more):
  n = len(x)
  return {"x": jnp.asarray(x), "index": jnp.arange(n), "epoch": jnp.full(n, epoch), **more}


def apply(names, x, key=0, epoch=0, part="train", **more):
  pipeline = transforms.make(names, {"x": x, **more})
  return getattr(pipeline, part)(jax.random.key(key), batch(x, epoch, **more))


@pytest.mark.parametrize("how", ["dynamic", "epoch", "static"])
def test_binarized_pixels_have_the_grey_level_as_their_mean(how):
  x = np.broadcast_to(np.arange(256, dtype=np.uint8), (4000, 256))
  draws = np.concatenate([apply((f"binarize:{how},seed={s}",), x, key=s)["x"] for s in range(5)])
  assert set(np.unique(draws)) == {0.0, 1.0}
  p = np.arange(256) / 255
  assert (abs(draws.mean(0) - p) <= 5 * np.sqrt(p * (1 - p) / len(draws))).all()  # exact at 0 and 1


def test_binarizations_are_fixed_for_as_long_as_documented():
  draw = lambda how, **kw: np.asarray(apply((f"binarize:{how}",), GREY, **kw)["x"])
  assert (draw("dynamic", key=0) != draw("dynamic", key=1)).any()
  np.testing.assert_array_equal(draw("epoch", key=0, epoch=3), draw("epoch", key=1, epoch=3))
  assert (draw("epoch", epoch=3) != draw("epoch", epoch=4)).any()
  np.testing.assert_array_equal(draw("static", key=0, epoch=3), draw("static", key=1, epoch=4))
  assert (draw("static") != draw("static,seed=1")).any()
  np.testing.assert_array_equal(draw("threshold"), GREY > 127)


@pytest.mark.parametrize("names", [
  ("binarize:static",), ("binarize:epoch",), ("mcar:0.3",), ("dequantize", "mnar"), ("dequantize:once",),
])  # fmt: skip
def test_draws_for_an_example_do_not_depend_on_its_batch(names):
  pipeline = transforms.make(names, {"x": GREY})
  whole = pipeline.train(jax.random.key(0), batch(GREY))
  rows = jnp.array([7, 250, 3])
  part = pipeline.train(jax.random.key(1), jax.tree.map(lambda a: a[rows], batch(GREY)))
  singly = jax.vmap(pipeline.evaluate)(
    jax.random.split(jax.random.key(2), 3), jax.tree.map(lambda a: a[rows], batch(GREY))
  )
  for name in ("mask",) if "mask" in whole else ("x",):
    np.testing.assert_array_equal(part[name], whole[name][rows])
    np.testing.assert_array_equal(singly[name], whole[name][rows])


def test_targets_are_standardized_by_the_training_split_and_can_be_recovered():
  y = (30 + 7 * RNG.standard_normal((300, 2)) * [1, 0]).astype(np.float32)  # the second is constant
  found = apply(("standardize_targets",), GREY, y=y)
  np.testing.assert_allclose(found["y"][:, 0], StandardScaler().fit_transform(y)[:, 0], atol=1e-4)
  np.testing.assert_allclose(found["y_loc"] + found["y_scale"] * found["y"], y, rtol=1e-6)
  assert (found["y_scale"][:, 1] == 1).all()
  np.testing.assert_array_equal(found["x"], GREY)
  whole = RNG.integers(3, 9, 300)
  found = apply(("standardize_targets",), GREY, y=whole)
  np.testing.assert_allclose(found["y"], (whole - whole.mean()) / whole.std(), atol=1e-5)
  with pytest.raises(errors.UserError, match="'standardize_targets' needs a numeric y"):
    apply(("standardize_targets",), GREY)


@pytest.mark.parametrize("names", [
  ("binarize:dynamic",), ("binarize:threshold",), ("scale",), ("dequantize",), ("dequantize", "standardize"),
])  # fmt: skip
def test_mean_is_the_mean_of_the_transformed_training_set(names):
  pipeline = transforms.make(names, {"x": GREY})
  draws = jnp.stack([pipeline.train(jax.random.key(i), batch(GREY))["x"].mean(0) for i in range(60)])
  error = np.sqrt(np.asarray(pipeline.train(jax.random.key(0), batch(GREY))["x"]).var(0) / 300 / 60)
  np.testing.assert_array_less(abs(draws.mean(0) - pipeline.statistics.mean), 5 * error + 1e-4)
  assert pipeline.statistics.mean.shape == (4, 3, 1)


@pytest.mark.parametrize("names", [
  ("dequantize",), ("dequantize", "logit:alpha=0.05"), ("dequantize", "logit", "standardize"), ("standardize",),
])  # fmt: skip
def test_log_det_is_the_log_determinant_of_the_jacobian(names):
  pipeline = transforms.make(names, {"x": GREY[:, :2, :, 0]})
  x = GREY[:, :2, :, 0].astype(np.float32)
  one = {"index": jnp.int32(0)}
  f = lambda v: pipeline.evaluate(jax.random.key(0), one | {"x": v.reshape(2, 3)})["x"].ravel()
  for i in range(3):
    found = pipeline.evaluate(jax.random.key(0), one | {"x": jnp.asarray(x[i])})["log_det"]
    _, expected = np.linalg.slogdet(np.asarray(jax.jacobian(f)(jnp.asarray(x[i]).ravel()), np.float64))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
  np.testing.assert_allclose(  # one per example of a batch
    pipeline.evaluate(jax.random.key(0), batch(x))["log_det"].shape, (300,)
  )


def test_dequantized_levels_are_uniform_in_their_bins():
  x = np.full((20_000, 1), 17, np.uint8)
  y = np.asarray(apply(("dequantize",), x)["x"]) * 256 - 17
  assert y.min() >= 0
  assert y.max() <= 1
  assert abs(y.mean() - 0.5) < 5 * np.sqrt(1 / 12 / 20_000)
  assert abs(y.var() - 1 / 12) < 0.003


def test_noise_is_fresh_at_every_use_or_drawn_once_for_each_example():
  x = np.full((20_000, 1), 17, np.uint8)
  draw = lambda how, **kw: np.asarray(apply((f"dequantize{how}",), x, **kw)["x"])
  assert (draw("", key=0) != draw("", key=1)).mean() > 0.99
  once = draw(":once", key=0, epoch=3)
  np.testing.assert_array_equal(once, draw(":once", key=1, epoch=4, part="evaluate"))
  assert (once != draw(":once,seed=1")).mean() > 0.99
  assert len(np.unique(once)) > 19_000  # not one draw for all
  noise = once * 256 - 17
  assert abs(noise.mean() - 0.5) < 5 * np.sqrt(1 / 12 / 20_000)
  assert abs(noise.var() - 1 / 12) < 0.003
  assert apply(("dequantize:32,once",), x)["log_det"][0] == -np.log(np.float32(32))
  flags = {names: transforms.make(names, {"x": x}) for names in (("dequantize",), ("dequantize:once",))}
  assert [(p.dequantizes, p.redraws) for p in flags.values()] == [(True, True), (True, False)]


def test_standardize_takes_the_statistics_of_the_training_split():
  pipeline = transforms.make(("standardize",), {"x": TABLE})
  other = TABLE[:50] * 2 + 1
  scaler = StandardScaler().fit(TABLE)
  np.testing.assert_allclose(
    pipeline.evaluate(jax.random.key(0), batch(other))["x"], scaler.transform(other), rtol=1e-4, atol=1e-5
  )


def test_standardize_leaves_missing_entries_out():
  mask = (RNG.random(TABLE.shape) < 0.7).astype(np.float32)
  found = apply(("standardize",), TABLE * mask, mask=mask)
  expected = (TABLE - np.nanmean(np.where(mask, TABLE, np.nan), 0)) / np.nanstd(np.where(mask, TABLE, np.nan), 0)
  np.testing.assert_allclose(found["x"], expected * mask, rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(
    found["log_det"], -(np.log(np.nanstd(np.where(mask, TABLE, np.nan), 0)) * mask).sum(1), rtol=1e-4
  )


def test_a_constant_feature_keeps_its_scale():
  x = np.stack([np.full(50, 3.3), np.arange(50.0)], 1).astype(np.float32)
  found = apply(("standardize",), x)
  np.testing.assert_allclose(found["x"][:, 0], 0, atol=1e-6)
  np.testing.assert_allclose(found["log_det"], -np.log(np.arange(50.0).std()), rtol=1e-5)
  tiny = RNG.normal(0, 1e-9, (500, 1)).astype(np.float32)  # small is not constant
  np.testing.assert_allclose(np.asarray(apply(("standardize",), tiny)["x"]).std(), 1, rtol=1e-3)


def test_flip_mirrors_half_of_the_training_images_and_no_others():
  pipeline = transforms.make(("flip",), {"x": GREY})
  x = np.asarray(pipeline.train(jax.random.key(0), batch(GREY))["x"])
  same, mirrored = (x == GREY).all((1, 2, 3)), (x == GREY[:, :, ::-1]).all((1, 2, 3))
  assert (same | mirrored).all()
  assert 110 < same.sum() < 190
  np.testing.assert_array_equal(pipeline.evaluate(jax.random.key(0), batch(GREY))["x"], GREY)


def test_pad_puts_zeros_around_images():
  found = np.asarray(apply(("scale", "pad:size=7"), GREY)["x"])
  assert found.shape == (300, 7, 7, 1)
  np.testing.assert_allclose(found[:, 1:5, 2:5], GREY / 255, rtol=1e-6)
  assert found.sum() == pytest.approx(GREY.sum() / 255, rel=1e-5)


@pytest.mark.parametrize("names", [("mcar:0.3",), ("mar:rate=0.3",), ("mnar:rate=0.3",)])
def test_hidden_entries(names):
  found = {k: np.asarray(v) for k, v in apply(names, TABLE).items()}
  hidden = found["hidden"]
  np.testing.assert_array_equal(found["mask"] + hidden, np.ones_like(TABLE))
  np.testing.assert_array_equal(found["x"], np.where(hidden, 0, TABLE))
  np.testing.assert_array_equal(found["complete"], TABLE)
  again = apply(names, TABLE, key=1, epoch=9)["mask"]
  np.testing.assert_array_equal(found["mask"], again)  # missing entries stay missing
  assert (apply((f"{names[0]},seed=1",), TABLE)["mask"] != again).any()
  rates = hidden.mean(0)
  if names[0].startswith("mar"):
    assert (rates == 0).sum() == 1  # 0.3 of four features
    rates = rates[rates > 0]
  np.testing.assert_allclose(rates, 0.3, atol=5 * np.sqrt(0.21 / 2000))


def test_mechanisms_depend_on_the_right_variables():
  hidden = {name: np.asarray(apply((name,), TABLE)["hidden"]) for name in ("mcar", "mar", "mnar")}
  z = (TABLE - TABLE.mean(0)) / TABLE.std(0)
  difference = lambda h, v: abs(v[h == 1].mean() - v[h == 0].mean())
  noise = 5 * np.sqrt(4 / 2000)
  for d in range(4):
    assert all(difference(hidden["mcar"][:, d], z[:, e]) < noise for e in range(4))
  seen = int(np.flatnonzero(hidden["mar"].sum(0) == 0)[0])
  for d in set(range(4)) - {seen}:
    assert difference(hidden["mar"][:, d], z[:, seen]) > 0.5
    same = abs(z[:, seen]) < 0.05  # given the observed feature, its own value does not matter
    slope = np.polyfit(z[same, d], hidden["mar"][same, d], 1)[0]
    assert abs(slope) < 5 * 0.5 / (np.sqrt(same.sum()) * z[same, d].std())
  for d in range(4):  # P(missing | z) = sigmoid(4 z + b)
    high, low = z[:, d] > 1.5, z[:, d] < -1.5
    assert hidden["mnar"][high, d].mean() > 0.98
    assert hidden["mnar"][low, d].mean() < 0.02
  hides_small = np.asarray(apply(("mnar:slope=-4.0",), TABLE)["hidden"])
  assert all(hides_small[z[:, d] < -1.5, d].mean() > 0.98 for d in range(4))


def test_values_above_the_mean_are_hidden_in_a_share_of_the_features():
  found = apply(("standardize", "above_mean:offset=0.5"), TABLE)
  z = (TABLE - TABLE.mean(0)) / TABLE.std(0)
  np.testing.assert_array_equal(np.asarray(found["hidden"])[:, :2], z[:, :2] > 0.5)
  np.testing.assert_array_equal(np.asarray(found["mask"])[:, 2:], 1)
  whole = apply(("above_mean:share=1.0",), GREY)
  mean = GREY.mean(0, dtype=np.float64).astype("f")
  np.testing.assert_array_equal(whole["mask"], mean >= GREY)


def test_missing_rows_of_the_top_half_depend_on_the_bottom_half():
  """Frequencies of the three patterns are binomial; a bright bottom half always hides the top quarter."""
  x = np.zeros((9000, 8, 3, 1), np.float32)
  x[:3000, 4:, 1] = 1  # the bottom half has a mean of 1/3
  x[3000:6000, 4:] = 1
  x[6000:, :4] = 1  # the top half has no effect
  pipeline = transforms.make(("mar_top",), {"x": x})
  rows = np.asarray(pipeline.evaluate(jax.random.key(0), batch(x))["mask"])
  assert (rows == rows[:, :, :1]).all()
  rows = rows[..., 0, 0]
  patterns = np.array([[1, 1, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1, 1]])
  found = (rows[:, None] == patterns).all(-1)
  np.testing.assert_array_equal(found.sum(1), 1)
  for part, h in zip(np.split(found, 3), (1 / 3 + 0.3, 1.0, 0.3), strict=True):
    p = np.array([(1 - h) ** 2, 2 * h * (1 - h), h**2])
    assert (abs(part.mean(0) - p) <= 5 * np.sqrt(p * (1 - p) / 3000)).all()


def test_entries_hidden_in_training_only_are_observed_in_evaluation():
  hides = ("mcar:rate=0.5,training",)
  np.testing.assert_array_equal(apply(hides, TABLE)["mask"], apply(("mcar:rate=0.5",), TABLE)["mask"])
  seen = apply(hides, TABLE, part="evaluate")
  assert "mask" not in seen
  np.testing.assert_array_equal(seen["x"], TABLE)


def test_hidden_entries_exclude_entries_that_were_missing_before():
  mask = (RNG.random(TABLE.shape) < 0.7).astype(np.float32)
  found = apply(("standardize", "mcar:0.5"), TABLE * mask, mask=mask)
  np.testing.assert_array_equal(found["mask"] + found["hidden"], mask)
  assert abs(np.asarray(found["hidden"]).mean() - 0.35) < 0.03
  np.testing.assert_array_equal(np.asarray(found["x"])[np.asarray(found["mask"]) == 0], 0)


@pytest.mark.parametrize("first", ["binarize:static", "binarize:epoch", "mnar:0.5"])
def test_draws_of_two_transforms_are_independent(first):
  x = np.full((4000, 2), 128, np.uint8)
  x[:, 1] = RNG.integers(0, 256, 4000)
  hidden = np.asarray(apply(("mcar:0.5",), x)["hidden"])[:, 0]
  found = apply((first,), x)
  other = np.asarray(found.get("hidden", found["x"]))[:, 0]
  assert abs(np.corrcoef(hidden, other)[0, 1]) < 5 / np.sqrt(4000)


def test_every_split_must_suit_the_transforms():
  train, test = {"x": TABLE * 0 + 0.5, "y": np.zeros(2000, np.int32)}, {"x": TABLE[:9] + 1, "y": np.full(9, 4)}
  with pytest.raises(errors.UserError, match="'binarize' takes grey levels"):
    transforms.make(("binarize",), train, [test])
  pipeline = transforms.make(("condition",), train, [test])
  assert pipeline.evaluate(jax.random.key(0), batch(**test))["context"].shape == (9, 5)
  np.testing.assert_array_equal(pipeline.statistics.mean, [0.5] * 4)  # of the training set only


def test_condition_gives_one_hot_labels():
  y = np.array([2, 0, 1, 2], np.int32)
  np.testing.assert_array_equal(apply(("condition",), GREY[:4], y=y)["context"], np.eye(3)[y])


@pytest.mark.parametrize("names,x,named", [
  (("binarise",), GREY, "Unknown transform 'binarise'. Did you mean 'binarize'"),
  (("binarize:dynamc",), GREY, "'how' 'dynamc'. Did you mean 'dynamic'"),
  (("binarize:sed=1",), GREY, "Unknown option of transform 'binarize' 'sed'"),
  (("binarize",), TABLE, r"'binarize' takes grey levels \(uint8\), bool, or numbers in \[0, 1\]; x is float32 in"),
  (("dequantize",), TABLE, r"takes integers 0 .. 255; x is float32"),
  (("dequantize:levels=2",), GREY, r"takes integers 0 .. 1; x is uint8 in \[0, 255\]"),
  (("logit",), GREY, "Put 'scale' or 'dequantize' first"),
  (("logit:alpha=0.6",), GREY, "alpha = 0.6; it must be"),
  (("dequantize", "logit:alpha=0.0"), GREY, "alpha = 0.0; it must be"),
  (("mnar:slope=nan",), TABLE, "slope = nan; it must be finite"),
  (("binarize:static,seed=-1",), GREY, "seed = -1; it must be in"),
  ((1,), GREY, "data.transforms holds 1; names are expected"),
  (("mar",), np.zeros((3, 5000), np.float32), "tables of 2 to 4096 features; x has 5000"),
  (("flip",), TABLE, r"takes images \[H, W, C\]; x has shape \[4\]"),
  (("pad:size=3",), GREY, "size = 3; the images are of 4 x 3 pixels already"),
  (("pad",), TABLE, r"takes images \[H, W, C\]; x has shape \[4\]"),
  (("condition",), GREY, "takes class labels; this data set has none"),
  (("mcar:rate=1.5",), TABLE, "rate = 1.5; it must be"),
  (("mar_top",), GREY, "'mar_top' is for images"),
  (("mar:observed=0.0",), TABLE, "observed = 0.0; it must be"),
  (("mcar", "standardize"), TABLE, "'standardize' must come before 'mcar'"),
])  # fmt: skip
def test_invalid_transforms_raise_one_sentence(names, x, named):
  with pytest.raises(errors.UserError, match=named):
    transforms.make(names, {"x": x})


def test_statistics_do_not_depend_on_the_chunks(monkeypatch):
  from dgm_jax.data import statistics

  make = functools.partial(transforms.make, ("standardize",))
  whole = make({"x": TABLE}).evaluate(jax.random.key(0), batch(TABLE[:9]))["x"]
  monkeypatch.setattr(statistics, "_CHUNK_BYTES", 700)
  np.testing.assert_allclose(make({"x": TABLE}).evaluate(jax.random.key(0), batch(TABLE[:9]))["x"], whole, rtol=1e-5)
