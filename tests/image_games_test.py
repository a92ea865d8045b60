"""Configs of GANs of images: what a run would meet only after its training is met before it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import config_args, errors
from dgm_jax.data.splits import Splits
from dgm_jax.models.adversarial import biggan, dcgan
from dgm_jax.training import build, labels, sampling, train

CONFIGS = ("biggan_cifar10:test", "biggan_imagenet:test", "sngan_cifar10:test,classes", "dcgan_mnist:test,classes")


@pytest.mark.parametrize("name", CONFIGS)
def test_final_evaluations_fit_the_images_of_the_config(name):
  """Their features take the images as the model sees them, also padded ones."""
  config = config_args.load(name)
  train.check_options(config, build.build(config))


def test_cifar10_has_the_published_changes_of_the_images():
  """Mirrored in every row; DiffAugment without changes of colour.  Digits are not mirrored."""
  for arg in ("", "augment", "data=cifar10/full,augment"):
    config = config_args.load(f"biggan_cifar10:{arg}")
    assert tuple(config.data.transforms) == ("flip", "scale")
    assert config.objective.augment == ("translation,cutout" if "augment" in arg else "none")
  assert "flip" not in config_args.load("biggan_cifar10:test").data.transforms


@pytest.mark.parametrize("name", ["dcgan_mnist", "sngan_cifar10", "biggan_cifar10", "biggan_imagenet"])
def test_runs_end_with_walks_and_a_curve_of_truncation(name):
  """With the features of the other numbers; uniform noise has no truncation."""
  found = config_args.load(name).evaluate
  assert {"samples", "walks", "truncation"} <= set(found)
  assert found.truncation.features == found.samples.features
  assert "truncation" not in config_args.load("dcgan_mnist:data=stacked_mnist,net=srivastava2017").evaluate


def test_small_networks_of_stacked_digits_see_new_triples_at_every_step():
  of = lambda net: tuple(config_args.load(f"dcgan_mnist:data=stacked_mnist,net={net}").data.transforms)
  assert of("metz2017") == ("restack", "scale")
  assert of("srivastava2017") == of("dcgan") == ("scale",)


@pytest.mark.parametrize("name,sentence", [
  ("dcgan_mnist:data=stacked_mnist,net=metz2017,epochs=3", "epochs is not for net=metz2017"),
  ("dcgan_mnist:data=stacked_mnist,net=srivastava2017,epochs=3", "epochs is not for net=srivastava2017"),
  ("dcgan_mnist:share=2", "share is for net=metz2017, not dcgan"),
  ("dcgan_mnist:net=metz2017,share=0", "share = 0; it must be 1 or more"),
  ("biggan_imagenet:accumulate=0", "accumulate = 0; it must be 1 or more"),
])  # fmt: skip
def test_mistakes_in_arguments_get_one_sentence(name, sentence):
  with pytest.raises(errors.UserError, match=sentence) as raised:
    config_args.load(name)
  assert "Error" not in str(raised.value)


@pytest.mark.parametrize("size", [32, 64, 128, 256])
@pytest.mark.parametrize("deep", ["", ",deep"])
def test_published_sizes_have_attention_in_both_players(size, deep):
  config = config_args.load(f"biggan_imagenet:size={size}{deep}")
  model = biggan.Model(data_shape=(size, size, 3), data_classes=5, **config.model.args)
  model.check()
  heights = [height for height in model.attention if height]
  shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), method=_touch))
  for player in ("generator", "discriminator"):
    assert [k for k in shapes["params"][player] if k.startswith("attention")] == [f"attention{h}" for h in heights]


def _touch(model):
  y = jnp.zeros(2, jnp.int32)
  return model.discriminate(model.generate(jnp.zeros((2, model.num_noise)), y, True), y, True)


def test_moments_of_large_batches_are_pooled_over_large_batches():
  for arg, size in (("", 2048), ("accumulate=8", 256), ("quick", 32)):
    config = config_args.load(f"biggan_imagenet:{arg}")
    assert config.objective.standing_size == config.batch_size == size


def test_labels_that_a_model_does_not_use_are_said():
  parts = Splits(
    {"x": np.zeros((6, 4, 4, 1)), "y": np.array([0, 1, 2, 0, 1, 2])}, None, {"y": np.zeros(2, np.int64)}, {}
  )
  model = dcgan.Model(data_shape=(4, 4, 1), data_classes=3)
  assert labels.described(model, parts) == ["The labels y, of 3 classes, are not used: model.args.conditional=False."]
  assert labels.described(model.clone(data_classes=None), parts) == []
  assert labels.described(model.clone(conditional=True), parts)[0].startswith("3 classes, with training examples")


def test_a_class_may_be_an_integer_of_numpy():
  model = dcgan.Model(data_shape=(4, 4, 1), data_classes=3, conditional=True)
  sampling.check(model, "dcgan", {"y": np.int64(2)})
  with pytest.raises(errors.UserError, match="y = 3; the classes"):
    sampling.check(model, "dcgan", {"y": np.int64(3)})
