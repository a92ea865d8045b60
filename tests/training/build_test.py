"""From a config to an experiment: a user's mistake gets a sentence, a bug its traceback."""

import pytest
from ml_collections import ConfigDict

from dgm_jax.configs import iwae_mnist
from dgm_jax.core import errors
from dgm_jax.evaluate import chosen
from dgm_jax.models.autoregressive import made
from dgm_jax.models.vae import vae
from dgm_jax.principles.latent import latent
from dgm_jax.training import build, checks, experiment


def config(**values):
  made = iwae_mnist.get_config("test,k=5")
  args = {name.removeprefix("model.args."): v for name, v in values.items() if name.startswith("model.args.")}
  with made.unlocked():
    made.update_from_flattened_dict({name: v for name, v in values.items() if not name.startswith("model.args.")})
    made.model.args = ConfigDict(made.model.args.to_dict() | args)  # of any type: a config written by hand
  return made


@pytest.mark.parametrize("values,sentence", [
  ({"model.args.latent_dim": "a"}, r"latent_dim = 'a' of model 'vae' must be of type int"),
  ({"model.args.hidden": 5}, r"hidden = 5 of model 'vae' must be of type Sequence\[int\]"),
  ({"model.args.likelihood_args": {"scale": 1.0}}, r"Unknown option of likelihood 'bernoulli' 'scale'"),
  ({"model.args.posterior": "low_rank", "model.args.posterior_args": {"rank": 0.5}}, "rank = 0.5 of posterior"),
  ({"model.args.net": "conv", "model.args.net_args": {"channels": 3}}, "channels = 3 of a convolutional net"),
  ({"objective.gradient": "dreg", "model.args.posterior": "planar"}, "planar flow has no closed-form inverse"),
  ({"principle": "mcem"}, r"'mcem', the value of config\.principle, is now called 'monte_carlo_em'"),
])  # fmt: skip
def test_mistakes_get_a_sentence(values, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    build.build(config(**values))


@pytest.mark.parametrize("broken,error", [
  ((vae.Model, "log_joint"), IndexError("planted")),
  ((vae.Model, "infer"), TypeError("planted")),
  ((latent, "log_terms"), ValueError("planted")),
])  # fmt: skip
def test_a_bug_is_not_reported_as_the_users_mistake(broken, error, monkeypatch):
  def fail(*args, **kwargs):
    raise error

  monkeypatch.setattr(*broken, fail)
  with pytest.raises(type(error), match="planted"):
    build.build(config())


def test_options_of_an_evaluation_may_hold_a_mapping():
  made = iwae_mnist.get_config("test,k=5")
  with made.unlocked():
    made.evaluate = {"gaps": {"num_examples": 4, "log_px_options": {"num_temperatures": 3, "num_chains": 2}}}
  assert build.build(made).num_steps == 40


def test_an_evaluation_may_need_a_field_that_the_data_give():
  """`normalisation` needs data_shape, which is no attribute of the class."""
  checks.check_evaluation(chosen.find("normalisation", {}), made.Model)
  with pytest.raises(errors.UserError, match=r"evaluate\.normalisation needs a model with log_prob"):
    checks.check_evaluation(chosen.find("normalisation", {}), vae.Model)


def test_init_gets_as_many_examples_as_the_model_asks_for_from_all_over_the_training_set(monkeypatch):
  made = build.build(config())
  two = experiment.init_examples(made)
  assert two["index"].tolist() == [0, 1]
  monkeypatch.setattr(vae.Model, "num_examples_for_init", 5, raising=False)
  assert experiment.init_examples(made)["index"].tolist() == [0, 999, 1999, 2999, 3999]
