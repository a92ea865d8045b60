"""A VAE of sequences of tokens: sentences (Bowman et al., 2016), molecules, expressions."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors, rng
from dgm_jax.distributions import grammars, posteriors, priors
from dgm_jax.models.base import require_at_least
from dgm_jax.models.vae.sequence_draws import SequenceDraws
from dgm_jax.models.vae.token_decoder import Words
from dgm_jax.networks import sequence_decoders, tokens
from dgm_jax.networks.attention import dropout
from dgm_jax.networks.batch_norms import BatchNorm
from dgm_jax.networks.sequence_encoders import KERAS, SequenceEncoder

LOSSES = ("log_prob", "published")
_NORMAL = ("diagonal", "diagonal_shared")


class Model(SequenceDraws):
  """p(x, z) = p(z) prod_t p(x_t | x_<t, z),   q(z|x) of an encoder of the whole sequence; z of L dimensions.

  A sequence of text ends with <end>, whose probability counts, and batch["length"] [B] is the number of its tokens with
  <end>; behind it is <pad>, which has probability 0.  Of data without lengths all T entries count.

  With a grammar, tokens are rules, of which only those are possible that replace the leftmost non-terminal: see
  distributions/grammars.py.  Behind a complete derivation is <pad>, with probability 1.

  Where batches of training have a key for each example, word dropout makes an input x_t of the decoder <unk> with
  probability `word_dropout`, so that z has to say what the words do not (Bowman et al., 2016), and `dropout` applies to
  the inputs' vectors and to the decoder's outputs.  Evaluation has neither.

  Attributes:
    data_shape: (T,); T is the greatest length.
    num_tokens: V; the data give it.
    token_counts: counts of the tokens in the training set [V], with whose log frequencies the logits start; the data
      give them.
    latent_dim: L.
    encoder, encoder_args: a name of sequence_encoders.ENCODERS, and its options.
    decoder, decoder_args: a name of sequence_decoders.DECODERS, and its options.
    inputless: whether x_t is independent of the other tokens given z (Bowman et al., 2016, table 2).
    embedding_dim: width of the tokens' vectors; encoder and decoder have their own.
    tied: whether the map to the logits is the table of the decoder's vectors (Press & Wolf, 2017).
    word_dropout, dropout: see above.
    posterior, posterior_args: q, a name of posteriors.POSTERIORS, and its options.
    prior, prior_args: p(z), a name of priors.PRIORS, and its options.
    pad, unk, end: ids of the special tokens; -1 for none.
    grammar: the text of a grammar whose rules the tokens are, with pad = 0 and no other special tokens; the data give
      it.  A dropped rule's vector is 0.
    loss: of the tokens in training: "log_prob"; or "published", the binary cross-entropy of each token's V classes,
      averaged over these, in place of -log p(x|z) (Kusner et al., 2017), which gives no bound on log p(x).
    num_targets: numbers y [B, num_targets] that the model has beside x, p(x, y|z) = p(x|z) N(y; f(z), diag(s^2)), with
      f of one hidden layer (Gomez-Bombarelli et al., 2018); log-likelihoods are of x and y where a batch has y.
    batch_norm: whether z is normalised before the decoder, and the convolutions of the encoder "conv" (Kusner et al.,
      2017), by the moments of the batch in training and by moving averages of these elsewhere.
    noise: draws of z in training have so many standard deviations of q: .01 in the code of Kusner et al. (2017).
  """

  inference_parameters: ClassVar[tuple[str, ...]] = ("encoder", "qz_x")  # the rest are those of p(x, z)

  data_shape: Sequence[int]
  num_tokens: int | None = None
  token_counts: Sequence[int] | None = None
  latent_dim: int = 32
  encoder: str = "lstm"
  encoder_args: Mapping[str, Any] = FrozenDict()
  decoder: str = "lstm"
  decoder_args: Mapping[str, Any] = FrozenDict()
  inputless: bool = False
  embedding_dim: int = 128
  tied: bool = False
  word_dropout: float = 0.0
  dropout: float = 0.0
  posterior: str = "diagonal"
  posterior_args: Mapping[str, Any] = FrozenDict()
  prior: str = "standard_normal"
  prior_args: Mapping[str, Any] = FrozenDict()
  pad: int = 0
  unk: int = 1
  end: int = 2
  grammar: str | None = None
  loss: str = "log_prob"
  noise: float = 1.0
  num_targets: int = 0
  batch_norm: bool = False

  def setup(self):
    require_at_least(1, latent_dim=self.latent_dim, embedding_dim=self.embedding_dim)
    errors.require(self.num_tokens is not None, "the data have no vocabulary; a model of sequences takes tokens")
    errors.require(0 <= self.word_dropout <= 1, f"word_dropout = {self.word_dropout}; it must be in [0, 1]")
    errors.require(0 <= self.dropout < 1, f"dropout = {self.dropout}; it must be in [0, 1)")
    errors.require(not self.remat, "remat = True: this model does not recompute its activations, leave it at False")
    errors.require(self.prior != "vamp", "prior 'vamp' needs numeric x for its pseudo-inputs; these are tokens")
    errors.require(
      not self.inputless or not (self.word_dropout or self.tied),
      "inputless = True: a decoder without inputs has neither word_dropout nor vectors that are tied to the outputs",
    )
    errors.choose("loss of sequences", self.loss, LOSSES)
    errors.require(
      0 < self.noise <= 1 and (self.noise == 1 or self.posterior in _NORMAL),
      f"noise = {self.noise}; it must be in (0, 1], and 1 but for posteriors {' and '.join(_NORMAL)}",
    )
    self.compiled = None if self.grammar is None else self._compiled()
    dtype = self.compute["dtype"]
    self.qz_x = posteriors.make(self.posterior, self.latent_dim, **self.posterior_args)
    self.pz = priors.make(self.prior, self.latent_dim, (), (-1.0, 1.0), **self.prior_args)
    shape = (self.num_tokens, self.embedding_dim)
    normed = {"batch_norm": True} if self.batch_norm and self.encoder == "conv" else {}
    self.encoder_net = SequenceEncoder(
      *shape, self.qz_x.num_outputs, self.encoder, {**self.encoder_args, **normed}, dtype, name="encoder"
    )
    if self.batch_norm:
      self.norm_of_z = BatchNorm(*KERAS)
    network = sequence_decoders.make(self.decoder, self.length, self.inputless, dtype, self.decoder_args)
    errors.require(
      not self.tied or network.width == self.embedding_dim,
      f"tied = True needs embedding_dim = {self.embedding_dim} as the width of the decoder, not {network.width}",
    )
    counts = None if self.token_counts is None else jnp.asarray(self.token_counts, jnp.float32) + 0.5
    frequencies = None if counts is None else jnp.log(counts / counts.sum())
    fixed = (-1 if self.grammar else self.pad, self.tied, self.inputless, network, dtype)
    if self.num_targets:
      self.of_targets = nn.Sequential([nn.Dense(self.embedding_dim), nn.tanh, nn.Dense(self.num_targets)])
      self.log_deviations = self.param("log_deviations", nn.initializers.zeros, (self.num_targets,))
    self.words = Words(*shape, frequencies, *fixed, name="decoder")

  @nn.nowrap
  def _compiled(self) -> grammars.Compiled:
    """The grammar as arrays, checked against the tokens."""
    found = grammars.compiled(self.grammar or "")
    v = found.left.shape[0]
    errors.require(v == self.num_tokens, f"the data have {self.num_tokens} tokens; the grammar has {v}, with <pad>")
    errors.require(self.pad == grammars.PAD, f"pad = {self.pad}; the padding of a grammar is {grammars.PAD}")
    return found

  @property
  def length(self) -> int:
    """T."""
    return prod(self.data_shape)

  @property
  def last(self) -> int:
    """The token behind which there is only <pad>; -1 for none."""
    return -1 if self.grammar else self.end

  @property
  def support(self) -> tuple[float, float]:
    """The smallest and the largest token."""
    return 0, (self.num_tokens or 1) - 1

  @nn.nowrap
  def _read(self, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array | None]:
    """(x int32 [B, T], length [B] or None)."""
    errors.require("mask" not in batch, "A VAE of sequences does not support missing entries.")
    x = batch["x"].reshape(batch["x"].shape[0], -1).astype(jnp.int32)
    return x, batch.get("length")

  def infer(self, batch: dict[str, jax.Array]) -> distrax.Distribution:
    """q(z|x), batch [B], event [L]; in training with the share `noise` of its standard deviations."""
    q = self._encoded(batch)
    if self.noise == 1 or "key" not in batch:
      return q
    return distrax.Independent(distrax.Normal(q.mean(), self.noise * jnp.sqrt(q.variance())), 1)

  def _encoded(self, batch: dict[str, jax.Array]) -> distrax.Distribution:
    return self.qz_x(self.encoder_net(*self._read(batch), "key" in batch))

  def _normed(self, z: jax.Array, train: bool) -> jax.Array:
    return self.norm_of_z(z, train) if self.batch_norm else z

  def _seen(self, x: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """x as the decoder reads it, with word dropout if the batch has keys."""
    if not self.word_dropout or "key" not in batch:
      return x
    drop = lambda key: jax.random.bernoulli(rng.stream(key, "words"), self.word_dropout, x.shape[1:])
    return jnp.where(jax.vmap(drop)(batch["key"]), -1 if self.grammar else self.unk, x)

  def _dropped(self, h: jax.Array | None, batch: dict[str, jax.Array], name: str) -> jax.Array | None:
    if h is None or not self.dropout or "key" not in batch:
      return h
    return jax.vmap(lambda h, key: dropout(h, self.dropout, rng.stream(key, name)))(h, batch["key"])

  def log_prob_each(self, batch: dict[str, jax.Array], z: jax.Array) -> jax.Array:
    """log p(x_t | x_<t, z) of each token, nats, [B, T]; 0 behind the end.  In training, minus what `loss` says.

    Of a grammar, x must be derivations: the rules that are possible in place of x_t are those of its own non-terminal.
    """
    x, length = self._read(batch)
    inputs = self._dropped(self.words.inputs(self._seen(x, batch)), batch, "inputs")
    h = self._dropped(self.words.all_steps(inputs, self._normed(z, "key" in batch), x.shape[1]), batch, "outputs")
    allowed = None if self.compiled is None else self.compiled.of_rule
    published = self.loss == "published" and "key" in batch
    of = tokens.binary_log_probs if published else tokens.log_probs
    log_p = of(h, *self.words.output(), x, self.compute["dtype"], allowed=allowed)
    return log_p if length is None else jnp.where(jnp.arange(x.shape[1]) < length[:, None], log_p, 0.0)

  def log_joint(self, batch: dict[str, jax.Array], z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(log p(x|z), log p(z)), [B] each, nats."""
    log_p = jnp.sum(self.log_prob_each(batch, z), -1)
    if self.num_targets and "y" in batch:
      p = distrax.Normal(self.of_targets(z), jnp.exp(self.log_deviations))
      log_p += jnp.sum(p.log_prob(batch["y"].reshape(z.shape[0], -1).astype(jnp.float32)), -1)
    return log_p, self._prior().log_prob(z)

  def targets(self, z: jax.Array) -> jax.Array:
    """E[y|z], [B, num_targets]."""
    errors.require(self.num_targets > 0, "the model has no targets: num_targets = 0")
    return self.of_targets(z)

  def _prior(self) -> distrax.Distribution:
    return self.pz(None)

  def kl(self, batch: dict[str, jax.Array]) -> jax.Array:
    """KL(q(z_l|x) || N(0, 1)), [B, L], of a diagonal q: (mean^2 + variance - 1 - log variance) / 2."""
    errors.require(
      self.posterior in ("diagonal", "diagonal_shared") and self.prior == "standard_normal",
      f"the KL of posterior {self.posterior!r} to prior {self.prior!r} has no closed form per unit: "
      "objective.kl = 'analytic' needs 'diagonal' or 'diagonal_shared', and 'standard_normal'",
    )
    q = self._encoded(batch)
    return 0.5 * (jnp.square(q.mean()) + q.variance() - 1 - jnp.log(q.variance()))

  def update(self, variables: Any, key: jax.Array, batch: dict[str, jax.Array]) -> Any:
    """The variables, with moving moments.  With this method, batches of training have the keys of word dropout."""
    if not self.batch_norm:
      return variables
    one_pass = lambda model: model.log_joint(batch, model.infer(batch).sample(seed=key))
    _, moved = self.apply(variables, method=one_pass, mutable=["batch_stats"])
    return {**variables, **moved}

  def __call__(self, batch: dict[str, jax.Array]):
    """Uses every parameter, for `init`."""
    z = self.infer(batch).sample(seed=jax.random.key(0))
    return self.log_joint(batch, z), self.targets(z) if self.num_targets else None
