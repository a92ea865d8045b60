"""Tables of systems and configs that general tests run over: a new system or config is one row."""

import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from dgm_jax.core import config_args
from dgm_jax.core.system import System, averaging
from dgm_jax.models.adversarial import bigan, colouriser, dcgan, gan, residual_gan
from dgm_jax.models.autoregressive import lstm, made, nade, orderless, pixelcnn, transformer
from dgm_jax.models.diffusion import continuous_flow, diffusion, flow_matching, variational_diffusion
from dgm_jax.models.flows import flow, image_flow, residual_flow
from dgm_jax.models.linear import factor_analysis
from dgm_jax.models.mixtures import (
  bernoulli_mixture,
  bernoulli_product,
  factor_analyser_mixture,
  gaussian_mixture,
  kmeans,
  student_t_mixture,
)
from dgm_jax.models.sequences import hidden_markov_model, mdn_rnn
from dgm_jax.models.supervised import predictor
from dgm_jax.models.topics import latent_dirichlet_allocation, neural_topics, nmf
from dgm_jax.models.vae import (
  autoencoder,
  conditional_vae,
  dlgm,
  ladder_vae,
  scanvi,
  scvi,
  semi_supervised_vae,
  sequence_vae,
  sigmoid_belief_net,
  vae,
  vq_vae,
)
from dgm_jax.principles import adversarial, em, maximum_likelihood, monte_carlo_em, own_bound, supervised
from dgm_jax.principles.latent import latent
from dgm_jax.training import programs

ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = config_args.in_folder(ROOT / "configs")
# arguments of each config in addition to `test`, for general tests that need a whole run
CONFIG_ARGUMENTS = {
  "aevb_mnist": ["", "method=wake_sleep,nz=2"],
  "dlgm_mnist": ["", "posterior=diagonal,nz=2"],
  "ladder_vae_mnist": [""],
  "sbn_mnist": ["", "gradient=rws,k=5"],
  "vae_mnist": ["", "layers=2"],
  "iwae_mnist": ["", "layers=2,reading=code"],
  "planar_vae_mnist": ["flow=2"],
  "linear_vae_mnist": ["d=8"],
  "gaussian_vae_frey": [""],
  "conv_vae_mnist": ["", "net=residual,k=5"],
  "flow_vae_mnist": ["q=diagonal", "q=iaf", "q=sylvester,prior=spline"],
  "course_mnist": [],
  "bernoulli_mixture_mnist": ["", "online,c=5"],
  "hmm_text": [""],
  "transformer_text": ["", "positions=rotary"],
  "lstm_text": ["", "cell=gru,layers=2"],
  "sentence_vae_text": [
    "",
    "method=aggressive",
    "method=lm",
    "inputless,method=plain",
    "net=transformer,method=cyclical",
  ],
  "grammar_vae_equations": ["", "by=character,loss=elbo,decoder=autoregressive"],
  "selfies_vae_moses": [""],
  "molecule_vae": ["tokens=rule"],
  "kmeans_mnist": [""],
  "ppca_mnist": ["d=5", "d=5,by=gradient"],
  "lda_text": ["", "method=nmf"],
  "prodlda_text": ["", "method=nvlda"],
  "scvi_simulated": ["", "library=observed,k=3,likelihood=nb"],
  "scvi_cells": ["", "model=scanvi,likelihood=nb"],
  "mixture_uci": ["", "family=factor_analysers,c=3"],
  "made_mnist": ["masks=3"],
  "made_binary": [""],
  "made_uci": [""],
  "nade_mnist": [""],
  "orderless_mnist": [""],
  "maf_mnist": ["", "base=mog,condition"],
  "realnvp_mnist": ["norm=act"],
  "flow_uci": ["kind=autoregressive"],
  "densities_fashion": ["model=realnvp", "model=pixelcnn"],
  "glow_cifar10": ["", "net=realnvp"],
  "flow_plane": ["net=flows", "energy=U2,net=sylvester"],
  "pixelcnn_mnist": ["", "grey,net=gated", "net=row_lstm"],
  "pixelcnn_cifar10": [""],
  "vq_vae_mnist": ["", "prior=made"],
  "pixel_vae_mnist": ["net=made", "net=pixelcnn"],
  "diffusion_mnist": ["", "objective=simple,schedule=cosine", "net=unet,classes,sampler=ddim,prediction=v"],
  "densities_mnist": ["model=ffjord", "model=made_mog"],
  "flow_matching_mnist": ["", "net=mlp,classes,guidance=2"],
  "flow_matching_plane": ["", "coupling=optimal_transport"],
  "ffjord_plane": ["", "regularise,gradient=adjoint"],
  "vdm_mnist": ["", "net=mlp,schedule=linear,steps=4"],
  "m2_mnist": [""],
  "cvae_mnist": ["", "prior=conditional,k=5"],
  "miwae_mnist": ["hide=mar_top"],
  "miwae_uci": ["iota=constant"],
  "uci_regression": ["", "method=bayes"],
  "cubic_toy": ["method=mse", "method=dropout"],
  "classifier_mnist": ["", "net=conv,method=dropout", "method=bayes"],
  "not_miwae_uci": ["", "process=linear,decoder=linear,iota=constant"],
  "gan_grid": ["", "net=lin2018,pack=2"],
  "goodfellow_mnist": [""],
  "bigan_mnist": [""],
  "samples_mnist": ["", "model=dcgan", "model=diffusion"],
  "colouriser": ["", "stage=both,loss=bins"],
  "dcgan_mnist": ["classes", "data=stacked_mnist,net=metz2017,pack=2"],
  "sngan_cifar10": ["classes"],
  "biggan_cifar10": ["augment"],
  "biggan_imagenet": [""],
  "world_v": [""],
  "world_m": ["", "reward"],
}

SHAPE = (4, 6, 1)


def xla_flags(devices: int) -> str:
  """XLA_FLAGS of a process with `devices` CPU devices that compiles in the same way as this one."""
  return f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}".strip()


def toy(n: int, seed: int = 0) -> dict[str, np.ndarray]:
  """Five binary patterns with flipped bits: enough structure to learn in a hundred steps."""
  rng = np.random.default_rng(seed)
  patterns = np.random.default_rng(7).random((5, *SHAPE)) > 0.5
  y = rng.integers(0, 5, n)
  x = patterns[y] ^ (rng.random((n, *SHAPE)) < 0.05)
  labels = np.where(np.arange(n) % 4, -1, y)  # three of four are unlabelled
  found = {"x": x.astype(np.float32), "y": labels.astype(np.int32), "context": np.eye(5, dtype=np.float32)[y]}
  return found | {"index": np.arange(n, dtype=np.int32)}


TRAIN, TEST = toy(512), toy(101, seed=1)  # 101: the last batch is incomplete


def _vae(**options: Any) -> System:
  return latent.make(vae.Model(SHAPE, latent_dim=4, hidden=(32,)), optax.adam(3e-3), eval_samples=8, **options)


def _vae_of(**components: Any) -> System:
  """A VAE with another likelihood, posterior or prior."""
  return latent.make(vae.Model(SHAPE, latent_dim=4, hidden=(32,), **components), optax.adam(3e-3), eval_samples=8)


def _dlgm(**options: Any) -> System:
  model = dlgm.Model(SHAPE, latent_dims=(6, 3), hidden=((32,), (16,)))
  return latent.make(model, optax.adam(3e-3), eval_samples=8, eval_chunk=4, **options)


def _conditional() -> System:
  model = conditional_vae.Model(SHAPE, num_classes=5, latent_dim=4, hidden=(32,), prior="conditional")
  return latent.make(model, optax.adam(3e-3), eval_samples=8)


def _ladder(**options: Any) -> System:
  model = ladder_vae.Model(SHAPE, latent_dims=(6, 3), hidden=((32,), (16,)))
  return latent.make(model, optax.adam(3e-3), eval_samples=8, **options)


def _mcem() -> System:
  model = vae.Model(SHAPE, latent_dim=4, hidden=(32,))
  return monte_carlo_em.make(model, optax.adam(3e-3), num_examples=512, num_leapfrog=4, eval_samples=8)


def _belief_net(**options: Any) -> System:
  model = sigmoid_belief_net.Model(SHAPE, latent_dims=(12, 6))
  return latent.make(model, optax.adam(1e-2), eval_samples=8, bound="iwae", num_samples=5, **options)


def _sequence(**options: Any) -> System:
  """A VAE of sequences, which treats the pixels as two tokens, without an end."""
  model = sequence_vae.Model(
    SHAPE, num_tokens=2, latent_dim=4, embedding_dim=4, encoder_args={"hidden": (16,)}, decoder_args={"hidden": (16,)},
    pad=-1, unk=-1, end=-1, word_dropout=0.3, posterior="student_t",
  )  # fmt: skip
  held_out = lambda: jax.tree.map(jnp.asarray, TEST)
  return latent.make(model, optax.adam(1e-2), eval_samples=8, num_examples=512, held_out=held_out, **options)


def _grammar() -> System:
  """A VAE of derivations: a toy pattern is a list of its pixels, of which the last is the end of the list."""
  model = sequence_vae.Model(
    SHAPE, num_tokens=4, latent_dim=4, embedding_dim=4, encoder="gru", encoder_args={"hidden": (16,)}, decoder="gru",
    decoder_args={"hidden": (16,)}, grammar="S -> '0' S | '1' S | 'end'", word_dropout=0.3,
    posterior="student_t",
  )  # fmt: skip
  last = np.arange(int(np.prod(SHAPE))).reshape(SHAPE) == np.prod(SHAPE) - 1
  return _on(
    latent.make(model, optax.adam(1e-2), eval_samples=8),
    lambda batch: batch | {"x": jnp.where(last, 3, 1 + batch["x"].astype(jnp.int32))},
  )


def _em(module: Any, **options: Any) -> System:
  args = {factor_analysis: {}, hidden_markov_model: {"num_states": 5}}.get(module, {"num_components": 5})
  model = module.Model(SHAPE, data_mean=tuple(TRAIN["x"].mean(0).ravel().tolist()), **args)
  return em.make(model, None, num_examples=512, block=40, **options)


def _topics(module: Any, **options: Any) -> System:
  """EM of a topic model, which treats the toy patterns as counts."""
  model = module.Model(SHAPE, data_mean=tuple(TRAIN["x"].mean(0).ravel().tolist()), num_topics=5)
  return em.make(model, None, num_examples=512, block=40, **options)


def _neural_topics(decoder: str) -> System:
  model = neural_topics.Model(SHAPE, num_topics=5, decoder=decoder, hidden=(16, 16), dropout=0.1)
  return latent.make(model, optax.adam(1e-2), eval_samples=8, kl="analytic")


def _cells() -> System:
  """scVI of the toy patterns, which it treats as counts, with a latent library."""
  model = scvi.Model(SHAPE, latent_dim=4, hidden=16, library="latent", library_moments=((2.4,), (0.05,)))
  return latent.make(model, optax.adam(1e-2), eval_samples=8, kl="analytic", beta_steps=20)


def _own_bound(model: nn.Module) -> System:
  return own_bound.make(model, optax.adam(3e-3))


def _exact(model: nn.Module) -> System:
  return maximum_likelihood.make(model, optax.adam(1e-2))


def _predictor(**options: Any) -> System:
  """A classifier of the toy patterns, here with labels for all of them."""
  model = predictor.Model(SHAPE, likelihood="categorical", likelihood_args={"num_classes": 5}, hidden=(32,), **options)
  system = supervised.make(model, optax.adam(2e-3), num_examples=512)
  of_all = lambda batch: batch | {"y": batch["context"].argmax(-1)}
  return system._replace(
    init=lambda key, batch, hparams: system.init(key, of_all(batch), hparams),
    train_step=lambda state, key, batch: system.train_step(state, key, of_all(batch)),
    eval_step=lambda state, key, batch: system.eval_step(state, key, of_all(batch)),
  )


def _gan(rate: float = 2e-3, nets: dict | None = None, ema: float = 0.0, eps: float = 1e-8, **options: Any) -> System:
  """Two players on the toy patterns."""
  args = {"generator_args": {"hidden": (32,)}, "discriminator_args": {"hidden": (32,)}} | (nets or {})
  model = gan.Model(data_shape=SHAPE, latent_dim=8, data_mean=tuple(TRAIN["x"].mean(0).ravel().tolist()), **args)
  system = adversarial.make(model, optax.adam(rate, 0.5, eps=eps), **options)
  return averaging(system, ema, part="generator") if ema else system


def _bigan() -> System:
  args = {"hidden": (32,), "norm": "batch"}
  model = bigan.Model(
    data_shape=SHAPE, latent_dim=8, generator_args=args, encoder_args=args, discriminator_args={"hidden": (32,)}
  )
  return adversarial.make(model, optax.adam(2e-3, 0.5), order="simultaneous")


def _on(system: System, of_all: Callable) -> System:
  """The system on what `of_all` makes of the toy patterns."""
  return system._replace(
    init=lambda key, batch, hparams: system.init(key, of_all(batch), hparams),
    train_step=lambda state, key, batch: system.train_step(state, key, of_all(batch)),
    eval_step=lambda state, key, batch: system.eval_step(state, key, of_all(batch)),
    pictures=lambda state, key, batch: system.pictures(state, key, of_all(batch)),
  )


def _colouriser() -> System:
  """The toy patterns as the lightness of photographs, whose colours follow from them."""
  model = colouriser.Model(data_shape=(*SHAPE[:2], 2), channels=(4, 8), discriminator_channels=(4,))
  system = adversarial.make(
    model, optax.adam(2e-3, 0.5), conditions_on="context", auxiliary_weight=10.0, train="generator"
  )
  ab = lambda x: np.float32(0.4) * (2 * x - 1) * np.array([1, -1], np.float32)
  return _on(system, lambda batch: {"x": ab(batch["x"]), "context": 2 * batch["x"] - 1})


def _memory() -> System:
  """M of a world model; the rows of a toy pattern are four steps of six latents, and what follows from them."""
  model = mdn_rnn.Model((4, 17), latent_dim=6, action_dim=1, hidden=16, num_components=2, done=True, reward=True)

  def of_all(batch):
    x = jnp.asarray(batch["x"])[..., 0]
    first = jnp.zeros(x.shape[:2]).at[:, 0].set(1.0)
    action, done, one = x[:, ::-1, :1], first[:, ::-1], jnp.ones(x.shape[:2])
    columns = [x, jnp.full_like(x, -6.0), action, *(a[..., None] for a in (x.mean(-1), done, first, one))]
    return {"x": jnp.concatenate(columns, -1)}

  system = _on(own_bound.make(model, optax.adam(1e-2)), of_all)
  latents = lambda x: x[..., :6, None]
  return system._replace(
    sample=lambda state, key, n: latents(system.sample(state, key, n)),
    pictures=lambda state, key, batch: jax.tree.map(latents, system.pictures(state, key, batch)),
  )


def _image_game(model: nn.Module, rate: float = 2e-3, ema: float = 0.0, **options: Any) -> System:
  """Two players with convolutional networks on the toy patterns."""
  system = adversarial.make(model, optax.adam(rate, 0.5, eps=1e-4), **options)
  system = averaging(system, ema, part="generator") if ema else system
  with_labels = lambda batch: batch | {"y": batch["context"].argmax(-1)}
  return _on(system, with_labels) if model.conditional else system


def _residual(times: int = 1, **args: Any) -> nn.Module:
  """For images that are `times` as high and wide as the toy patterns."""
  return residual_gan.Model(
    data_shape=(times * SHAPE[0], times * SHAPE[1], 1), data_classes=5, conditional=True, latent_dim=8, doublings=times,
    halvings=1, generator_channels=8, discriminator_channels=8, **args,
  )  # fmt: skip


def _doubled(system: System) -> System:
  """On toy patterns twice as high and wide, so that attention at height 4 is in both players; its draws are halved."""
  small = lambda x: x.reshape(*x.shape[:-3], SHAPE[0], 2, SHAPE[1], 2, 1).mean((-2, -4))
  system = _on(system, lambda batch: batch | {"x": jnp.repeat(jnp.repeat(batch["x"], 2, 1), 2, 2)})
  return system._replace(
    sample=lambda state, key, n, **more: small(system.sample(state, key, n, **more)),
    pictures=lambda state, key, batch: jax.tree.map(small, system.pictures(state, key, batch)),
  )


_DCGAN = {"generator_args": {"channels": (16,)}, "discriminator_args": {"channels": (16,)}}
_ADA = {"augment": "translation,cutout", "ada_target": 0.6, "ada_span": 5000.0}
_BIGGAN = {"shared_dim": 4, "hierarchical": True, "attention": (4,), "spectral_generator": True}
_MAXOUT = {"discriminator_net": "maxout", "discriminator_args": {"hidden": (16,), "pieces": 3, "dropout": 0.2}}
_SPECTRAL = {"discriminator_args": {"hidden": (32,), "norm": "spectral"}}
_CRITIC = {"loss": "wasserstein", "penalty": "gradient_penalty", "weight": 1.0, "num_discriminator": 2}
SYSTEMS = {
  "vae": lambda: _vae(),
  "iwae": lambda: _vae(bound="iwae", num_samples=5),
  "iwae_dreg": lambda: _vae(bound="iwae", num_samples=5, gradient="dreg"),
  "vae_analytic": lambda: _vae(kl="analytic", free_bits=0.1, beta_steps=20),
  "dlgm": lambda: _dlgm(bound="iwae", num_samples=5),
  "ladder_vae": lambda: _ladder(bound="iwae", num_samples=5),
  "mcem": lambda: _mcem(),
  "sigmoid_belief_net": lambda: _belief_net(gradient="vimco"),
  "sigmoid_belief_net_relaxed": lambda: _belief_net(gradient="gumbel_softmax"),
  "vae_planar_mixture": lambda: _vae_of(
    posterior="planar", prior="mixture", likelihood="categorical", likelihood_args={"num_classes": 2}
  ),
  "vae_conv": lambda: _vae_of(net="conv", net_args={"channels": (4, 8)}),
  "vae_autoregressive": lambda: _vae_of(
    likelihood="autoregressive", likelihood_args={"net": "made", "width": 4, "args": {"hidden": (16,)}}
  ),
  "vae_residual": lambda: _vae_of(net="residual", net_args={"channels": (4, 8), "blocks": 1}),
  "conditional_vae": lambda: _conditional(),
  "sequence_vae": lambda: _sequence(),
  "sequence_vae_aggressive": lambda: _sequence(aggressive=2, aggressive_window=1),
  "grammar_vae": lambda: _grammar(),
  "vq_vae": lambda: _own_bound(vq_vae.Model(SHAPE, num_positions=3, num_codes=6, code_dim=2, hidden=(32,))),
  "diffusion": lambda: _own_bound(diffusion.Model(SHAPE, num_steps=20, hidden=(64,), num_levels=2)),
  "flow_matching": lambda: _own_bound(flow_matching.Model(SHAPE, hidden=(64,), draw_steps=5, bounds=(0.0, 1.0))),
  "continuous_flow": lambda: _exact(
    continuous_flow.Model(SHAPE, hidden=(16,), time_dim=8, train_steps=2, solver_steps=2, draw_steps=2)
  ),
  "variational_diffusion": lambda: _own_bound(
    variational_diffusion.Model(SHAPE, hidden=(64,), num_levels=2, draw_steps=5, eval_times=4, schedule="learned")
  ),
  "semi_supervised_vae": lambda: _own_bound(
    semi_supervised_vae.Model(SHAPE, num_classes=5, latent_dim=3, hidden=(32,))
  ),
  "bernoulli_product": lambda: maximum_likelihood.make(bernoulli_product.Model(SHAPE), optax.adam(1e-2)),
  "orderless": lambda: _exact(orderless.Model(SHAPE, hidden=(32,), orders=2)),
  "made": lambda: _exact(made.Model(SHAPE, hidden=(32,), num_masks=2, ordering="random")),
  "nade": lambda: _exact(nade.Model(SHAPE, num_hidden=16)),
  "flow_coupling": lambda: _exact(flow.Model(SHAPE, "coupling", 2, {"hidden": (16,)}, permutation="lu", norm="act")),
  "flow_autoregressive": lambda: _exact(flow.Model(SHAPE, "autoregressive", 2, {"hidden": (16,)}, norm="batch")),
  "residual_flow": lambda: _exact(residual_flow.Model(SHAPE, num_layers=1, layer_args={"hidden": (16,)})),
  "image_flow": lambda: _exact(image_flow.Model(SHAPE, num_levels=1, num_steps=1, hidden=4)),
  "transformer": lambda: _exact(
    transformer.Model(SHAPE, num_layers=2, width=16, num_heads=2, likelihood="bernoulli", dropout=0.1)
  ),
  "lstm": lambda: _exact(lstm.Model(SHAPE, hidden=(16,), embedding_dim=8, likelihood="bernoulli")),
  "pixelcnn": lambda: _exact(pixelcnn.Model(SHAPE, features=8, blocks=2, first_kernel_size=5)),
  "pixelcnn_gated": lambda: _exact(pixelcnn.Model(SHAPE, net="gated", features=6, blocks=2, num_classes=5)),
  "pixelcnn_plusplus": lambda: _exact(
    pixelcnn.Model(SHAPE, net="plusplus", features=6, blocks=1, scales=2, dropout=0.2)
  ),
  "pixelcnn_row_lstm": lambda: _exact(pixelcnn.Model(SHAPE, net="row_lstm", features=8, blocks=1, first_kernel_size=5)),
  "autoencoder": lambda: _own_bound(autoencoder.Model(SHAPE, hidden=(32,))),
  "classifier_dropout": lambda: _predictor(dropout=0.1),
  "classifier_bayesian": lambda: _predictor(weights="normal", prior_scales=(1.0, 0.1), initial_scale=0.05),
  "bernoulli_mixture": lambda: _em(bernoulli_mixture),
  "bernoulli_mixture_online": lambda: _em(bernoulli_mixture, update="online", delay=5.0),
  "gaussian_mixture": lambda: _em(gaussian_mixture),
  "student_t_mixture": lambda: _em(student_t_mixture),
  "factor_analyser_mixture": lambda: _em(factor_analyser_mixture),
  "factor_analysis": lambda: _em(factor_analysis),
  "hidden_markov_model": lambda: _em(hidden_markov_model),  # the rows of an image are its steps
  "kmeans": lambda: _em(kmeans),
  "lda": lambda: _topics(latent_dirichlet_allocation),
  "lda_online": lambda: _topics(latent_dirichlet_allocation, update="online", decay=0.7, delay=4.0, scale=0.3),
  "nmf": lambda: _topics(nmf),
  "scvi": lambda: _cells(),
  "scanvi": lambda: _own_bound(scanvi.Model(SHAPE, latent_dim=3, hidden=16, num_labels=5, alpha=5.0)),
  "mdn_rnn": lambda: _memory(),
  "prodlda": lambda: _neural_topics("product"),
  "nvlda": lambda: _neural_topics("mixture"),
  "gan": lambda: _gan(),
  "gan_maxout": lambda: _gan(rate=5e-3, nets=_MAXOUT, order="simultaneous"),
  # the loss does not depend on the critic's last bias: its gradient is rounding, which Adam would divide by itself
  "wgan_gp": lambda: _gan(eps=1e-4, **_CRITIC),
  "gan_r1": lambda: _gan(ema=0.9, penalty="r1", weight=0.1, every=2),
  "gan_packed": lambda: _gan(nets=_SPECTRAL, pack=2, loss="hinge", accumulate=2),
  "bigan": lambda: _bigan(),
  "colouriser": lambda: _colouriser(),
  "dcgan": lambda: _image_game(dcgan.Model(data_shape=SHAPE, latent_dim=8, **_DCGAN), order="shared_noise", **_ADA),
  "sngan": lambda: _image_game(_residual(), loss="hinge", num_discriminator=2),
  "biggan": lambda: _doubled(
    _image_game(_residual(2, **_BIGGAN), loss="hinge", accumulate=2, ema=0.9),
  ),
}
# of two players, whose losses need not fall
GAMES = ("gan", "gan_maxout", "wgan_gp", "gan_r1", "gan_packed", "bigan", "dcgan", "sngan", "biggan")
_LOCATED = ("gaussian_mixture", "student_t_mixture", "factor_analyser_mixture", "hidden_markov_model")
_REAL = (*_LOCATED, "factor_analysis", "kmeans")
_COUNTS = ("lda", "lda_online", "nmf")
REAL = (
  *_REAL,
  *_COUNTS,
  *GAMES,
  "grammar_vae",
  "prodlda",
  "nvlda",
  "scvi",
  "scanvi",
  "mdn_rnn",
  "flow_coupling",
  "flow_autoregressive",
  "residual_flow",
  "image_flow",
  "flow_matching",
  "continuous_flow",
)  # draws not binary
EM = ("bernoulli_mixture", "bernoulli_mixture_online", *_REAL, *_COUNTS)
# systems with enough specific tests: general tests of them run only with --all
SLOW = {
  "bernoulli_mixture_online", "biggan", "continuous_flow", "student_t_mixture", "factor_analyser_mixture",
  "factor_analysis", "hidden_markov_model", "image_flow", "residual_flow",
  "iwae_dreg", "kmeans", "lda", "lda_online", "nmf", "nvlda", "pixelcnn_gated", "pixelcnn_plusplus",
  "pixelcnn_row_lstm", "scanvi", "sequence_vae_aggressive", "sigmoid_belief_net_relaxed", "sngan",
  "vae_planar_mixture", "vae_residual",
  "bigan", "classifier_bayesian", "gan_maxout", "gan_packed", "grammar_vae", "lstm", "mcem", "nade", "orderless",
  "pixelcnn", "vae_analytic", "vae_autoregressive", "variational_diffusion",
}  # fmt: skip


@functools.cache
def system(name: str) -> System:
  """The system of a row, the same object every time: what is compiled for it is shared by all laws."""
  return SYSTEMS[name]()


@functools.cache
def _compiled_init(name: str) -> Callable:
  return jax.jit(system(name).init)


def initial(name: str, seed: int = 0) -> Any:
  """The state of a row's system at step 0 on the toy data."""
  return _compiled_init(name)(jax.random.key(seed), TRAIN, {})


@functools.cache
def steps(name: str, length: int) -> Callable:
  """(state, key, arrays) -> (state, {metric: [length]}), compiled: so many steps of a row's system in batches of 64."""
  return jax.jit(programs.make_train_chunk(system(name), identity, 64, length))


def identity(key: jax.Array, batch: dict) -> dict:
  """A transform that leaves the batch unchanged."""
  del key
  return batch


def init(system: System, seed: int = 0) -> Any:
  """The initial state on the toy data, from a compiled `init`."""
  return jax.jit(system.init)(jax.random.key(seed), TRAIN, {})


def assert_close_by_leaf(a, b, tolerance):
  """Compares leaves by relative norm: rounding errors, amplified by Adam, are not small in every element."""
  for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True):
    error = np.linalg.norm(np.asarray(x - y, np.float64)) / max(np.linalg.norm(np.asarray(x, np.float64)), 1e-6)
    assert error < tolerance, f"{jax.tree_util.keystr(path)} differs by {error:.1e}"
