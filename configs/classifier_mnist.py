"""Classification of digits: Blundell et al., "Weight Uncertainty in Neural Networks" (ICML 2015).

Paper: https://arxiv.org/abs/1505.05424, table 1, MNIST, two hidden layers of 400 ReLU units, test error: SGD 1.83 %,
dropout 1.51 %, Bayes by backprop 1.82 % with a normal prior and 1.36 % with a mixture of two (800 units: 1.84, 1.33,
1.99, 1.34 %).  It prints no NLL.

  python -m dgm_jax.main --config=configs/classifier_mnist.py:method=bayes --workdir=runs/bayes
  python -m dgm_jax sweep --config=configs/classifier_mnist.py:quick --root=runs/ensemble
  python -m dgm_jax ensemble runs/ensemble/runs/seed=0 runs/ensemble/runs/seed=1   # a deep ensemble of two

Arguments (after the colon, separated by commas):
  net=mlp|conv    conv: three convolutions of 5 x 5 with stride 2, of 16, 32 and 32 channels, and 100 units
  method=NAME     map      maximum likelihood with weight decay 1e-4
                  dropout  MC dropout: half of the inputs of the hidden and output layers are dropped, of x, too
                  bayes    Bayes by backprop with the mixture prior, scales 1 and e^-6, of equal weight
  width=N         units of each hidden layer of net=mlp, 400 if not given
  data=NAME       mnist if not given, or fashion_mnist, mnist5k; any set of images with labels; array: your own images
                  in folders by class, or table whose column --config.data.target=NAME is the class; standardised.  More
                  than 10 classes need --config.model.args.likelihood_args.num_classes=N
  quick           3,000 steps of batch 100 on mnist5k
  test            seconds: a few steps of a small network on mnist5k

test/auroc_rotated is the probability that a digit turned by 90 degrees has the greater predictive entropy;
--config.evaluate.predictive.shifted=fashion_mnist adds a comparison with another set.

Sweep (python -m dgm_jax sweep): five members of an ensemble.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  methods = ("map", "dropout", "bayes")
  a = parse(arg, net=("mlp", "conv"), method=methods, width=400, data="mnist", quick=False, test=False)
  hidden, net_args = (a.width, a.width), {"activation": "relu"}
  if a.net == "conv":
    channels = (4, 8) if a.test else (16, 32, 32)
    hidden, net_args = (100,), net_args | {"channels": channels, "kernel_size": 5, "stride": 2}
  args = {"hidden": (16,) if a.test else hidden, "net": a.net, "net_args": net_args, "weights": "point"}
  args |= {"likelihood": "categorical", "likelihood_args": {"num_classes": 10}}
  args["dropout"] = 0.5 if a.method == "dropout" else 0.0
  if a.method == "bayes":
    args |= {"weights": "normal", "prior_scales": (1.0, 0.0025), "prior_share": 0.5, "initial_scale": 0.02}
  name = base.data_name(a)
  data = data_section(name, transforms=base.real(name))
  config = base.supervised(data, args, draws=1 if a.method == "map" else 50)
  config.evaluate.predictive.rotation = 0.0 if name == "array" else 90.0
  config.optim.weight_decay = 1e-4 if a.method == "map" else 0.0
  if a.test:
    base.shrink(config, batch_size=20)
  else:
    config.num_epochs, config.log_every = 100, 200
    if a.quick:
      config.num_steps = 3000
  return config.lock()


def sweep() -> list[dict]:
  """Five members of a deep ensemble, lanes of one program."""
  return product({"seed": range(5)})
