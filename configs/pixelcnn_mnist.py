"""PixelCNN on MNIST: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks" (ICML 2016).

Paper: https://arxiv.org/abs/1601.06759; test NLL in nats on binarized_mnist (Larochelle's fixed draw), table 4:
PixelCNN 81.30, row LSTM 80.54; a diagonal BiLSTM, which is not here, 79.20.  Gated: https://arxiv.org/abs/1606.05328;
PixelCNN++: https://arxiv.org/abs/1701.05517.

  python -m dgm_jax.main --config=configs/pixelcnn_mnist.py --workdir=runs/pixelcnn
  python -m dgm_jax.main --config=configs/pixelcnn_mnist.py:net=gated,blocks=10 --workdir=runs/gated
  python -m dgm_jax.main --config=configs/pixelcnn_mnist.py:grey,net=plusplus,blocks=2 --workdir=runs/grey
  python -m dgm_jax.main --config=configs/pixelcnn_mnist.py:net=row_lstm --workdir=runs/row_lstm
  python -m dgm_jax sample --workdir=runs/pixelcnn --temperature=0.9

Arguments (after the colon, separated by commas):
  net=plain       PixelCNN; gated: Gated PixelCNN; plusplus: PixelCNN++; row_lstm: PixelRNN with row LSTMs
  features=H      of a layer, 32 if not given; plain and row_lstm have half as many inside of a block
  blocks=B        residual blocks (plain, row_lstm), gated layers, or blocks of each of three scales (plusplus); 15 if
                  not given, 7 of row_lstm
  grey            all 256 grey levels, by mixtures of five discretised logistics, instead of binary images
  data=NAME       binarized_mnist if not given, mnist for grey; other images, or `array` of your own
  quick           minutes: 600 steps of 5 blocks with 16 features on mnist5k
  test            seconds: a few steps of a small network on mnist5k

Sweeps (python -m dgm_jax sweep): learning rates, lanes of one program; --name=nets, the four networks.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  nets, data = ("plain", "gated", "plusplus", "row_lstm"), "binarized_mnist"
  a = parse(arg, net=nets, features=32, blocks=15, grey=False, data=data, quick=False, test=False)
  if a.grey and "data" not in a.given:
    a.data = "mnist"
  if a.net == "row_lstm" and "blocks" not in a.given:
    a.blocks = 7
  config, name = base.maximum_likelihood(a), base.data_name(a)
  config.data = data_section(name, () if a.grey else base.binarize(name, "static"))
  small = {"features": 4, "blocks": 1} if a.test else {"features": 16, "blocks": 5} if a.quick else {}
  args = {"net": a.net, "features": a.features, "blocks": a.blocks} | small
  args |= {"kernel_size": 3, "first_kernel_size": 7, "scales": 3, "dropout": 0.0}
  args["likelihood"] = "logistic_levels" if a.grey else "bernoulli"
  args["likelihood_args"] = {"num_components": 5, "num_levels": 256} if a.grey else {}
  config.model = {"name": "pixelcnn", "args": args}
  config.optim.update(name="adam", lr=1e-3, schedule="cosine")
  config.evaluate.exact_likelihood.batch_size = config.eval_batch_size = 100
  if not a.test:
    config.evaluate.normalisation = {"chunk": 256}
  if a.quick:
    config.num_steps = 600
  elif not a.test:
    config.batch_size, config.num_epochs, config.log_every = 50, 20, 100
  return config.lock()


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3]})


def sweep_nets() -> list[dict]:
  """The networks: 15 layers, and fewer of those that do more."""
  few = [{"arg.net": "plusplus", "arg.blocks": 2}, {"arg.net": "row_lstm", "arg.blocks": 7}]
  return product({"arg.net": ["plain", "gated"], "arg.blocks": [15]}) + few
