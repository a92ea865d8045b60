"""scVI: quadrature, KL, gradients of every bound, torch's batch normalisation, scvi-tools' own weights and numbers."""

import functools
import os
import pathlib
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax.core import errors
from dgm_jax.inference import estimators, log_terms
from dgm_jax.models.vae import scvi
from dgm_jax.networks import normed_layers
from dgm_jax.principles.latent import latent

G, B, L = 7, 40, 2
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
BATCH = {
  "x": RNG.poisson(RNG.gamma(1.0, 3.0, (B, G))) + np.eye(G, dtype=int)[RNG.integers(0, G, B)],
  "batch": RNG.integers(0, 2, B),
}
MOMENTS = ((3.0, 3.3), (0.2, 0.3))
SCVI_TOOLS = pathlib.Path(__file__).with_name("scvi_tools.npz")


def model(library="latent", **options):
  given = {"latent_dim": L, "hidden": 8, "dropout": 0.3, "num_batches": 2, "library_moments": MOMENTS}
  return scvi.Model((G,), library=library, **(given | options))


@functools.cache
def variables(library="latent", **options):
  made = model(library, **options)
  found = jax.jit(made.init)(KEY, BATCH)
  moved = jax.tree.map(lambda a: a + 0.2 * jax.random.normal(KEY, a.shape), found["params"])
  moved["encoder"]["heads"] = _wide(moved["encoder"]["heads"], 0.0, 0.3)
  if library == "latent":
    moved["library_encoder"]["heads"] = _wide(moved["library_encoder"]["heads"], 3.1, -0.7)
  return found | {"params": moved}


def _wide(heads, mean, log_variance):
  """q(z|x) about as wide as p(z), so that importance weights have small variances."""
  size = heads["bias"].shape[0] // 2
  return {"kernel": 0.3 * heads["kernel"], "bias": jnp.repeat(jnp.array([mean, log_variance]), size)}


def training(batch=None):
  batch = batch or BATCH
  return batch | {"key": jax.random.split(KEY, len(batch["x"]))}


def by_quadrature(made, params, batch, points=161):
  """log p(x) [B] on a grid of z within 6 deviations, and of log l within 6 deviations of each cell's prior."""
  bound = made.bind(params)
  axis = jnp.linspace(-6, 6, points)
  plane = jnp.stack(jnp.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
  cell = 2 * jnp.log(axis[1] - axis[0])
  if made.library != "latent":
    of_point = lambda z: sum(bound.log_joint(batch, jnp.broadcast_to(z, (len(batch["x"]), 2))))
    return jax.nn.logsumexp(jax.lax.map(of_point, plane, batch_size=200), 0) + cell
  mean, variance = (jnp.asarray(m)[batch["batch"]] for m in made.library_moments)
  steps = jnp.linspace(-6, 6, 81)

  def of_point(z):
    def at(t):
      z_l = jnp.concatenate([jnp.broadcast_to(z, (len(batch["x"]), 2)), (mean + t * jnp.sqrt(variance))[:, None]], 1)
      return sum(bound.log_joint(batch, z_l))

    return jax.nn.logsumexp(jax.vmap(at)(steps), 0) + jnp.log((steps[1] - steps[0]) * jnp.sqrt(variance))

  return jax.nn.logsumexp(jax.lax.map(of_point, plane, batch_size=100), 0) + cell


@pytest.mark.parametrize("library", ["observed", "latent"])
def test_importance_weights_agree_with_quadrature(library):
  """The mean of the weights is p(x), for z in the plane and, with a latent library, three dimensions.

  ELBO <= IWAE_5 <= IWAE_50 by Jensen's inequality in the same samples, and all <= log p(x) within 4 standard errors.
  """
  some = {k: v[:4] for k, v in BATCH.items()}
  made, params = model(library), variables(library)
  points = 161 if library == "observed" else 61
  exact = jax.jit(lambda: by_quadrature(made, params, some, points))()
  terms = jax.jit(lambda: log_terms.log_terms(made, params, KEY, some, 20_000, 2000))()
  weights = np.exp(np.asarray(terms.w - exact, np.float64))
  assert (abs(weights.mean(0) - 1) < 4 * weights.std(0) / np.sqrt(len(weights))).all()
  bounds = [estimators.elbo(terms.w)]
  for k in (5, 50):
    of_groups = jax.vmap(estimators.iwae)(terms.w.reshape(-1, k, 4))
    bounds.append(of_groups.mean(0))
    assert (bounds[-1] <= exact + 4 * of_groups.std(0) / np.sqrt(len(of_groups))).all()
  assert (bounds[0] < exact).all() and (bounds[0] < bounds[1]).all() and (bounds[1] < bounds[2]).all()
  kl = made.apply(params, some, method="kl").sum(1)
  difference = np.asarray(terms.qz_x - terms.pz, np.float64)
  assert (abs(difference.mean(0) - kl) < 4 * difference.std(0) / np.sqrt(len(difference))).all()


def test_bound_with_latent_library_takes_log_l_as_a_latent_variable():
  """log p(x|z, l) depends on the last unit of z as on the logarithm of the library, and on nothing of the total."""
  made, params = model("latent"), variables("latent")
  z = jax.random.normal(KEY, (B, L + 1)) + jnp.array([0.0, 0.0, 3.0])
  mean = made.apply(params, BATCH, z, method="px_z").mean()
  moved = made.apply(params, BATCH, z + jnp.array([0.0, 0.0, 1.0]), method="px_z").mean()
  np.testing.assert_allclose(moved, np.e * mean, rtol=1e-4)
  poisson = model("observed", likelihood="poisson")
  mean = poisson.apply(variables("observed", likelihood="poisson"), BATCH, z[:, :2], method="px_z").mean()
  np.testing.assert_allclose(mean.sum(1), BATCH["x"].sum(1), rtol=1e-5)


def test_the_warm_up_weighs_the_kl_of_z_alone():
  made, params = model("latent"), variables("latent")
  kl = made.apply(params, BATCH, method="kl").mean(0)
  losses = []
  for beta in (0.0, 1.0):
    system = latent.make(model("latent", dropout=0.0), optax.sgd(0.0), kl="analytic", beta=beta)
    state = jax.jit(system.init)(KEY, BATCH, {})
    state = state.replace(params=params["params"], variables={"averages": params["averages"]})
    losses.append(float(jax.jit(system.train_step)(state, KEY, BATCH)[1]["loss"]))
  trained = model("latent", dropout=0.0).apply(params, training(), method="kl").mean(0)
  np.testing.assert_allclose(losses[1] - losses[0], trained[:L].sum(), rtol=1e-3)
  assert kl.shape == (L + 1,) and made.warmed == (True, True, False)
  with pytest.raises(errors.UserError, match=r"needs kl = 'analytic'"):
    latent.make(made, optax.sgd(0.0), beta=0.5)


def test_running_averages_follow_torchs_rule():
  """After three batches: average <- 0.99 average + 0.01 moment, with the variance divided by B - 1."""
  made = normed_layers.BatchNorm(3)
  found = made.init(KEY, np.zeros((4, 3), "f"), True)
  mean, variance = np.zeros(3), np.ones(3)
  for i in range(3):
    h = np.random.default_rng(i).normal(i, 2, (5, 3)).astype("f")
    y, new = made.apply(found, h, True, mutable=["averages"])
    found = found | new
    mean, variance = 0.99 * mean + 0.01 * h.mean(0), 0.99 * variance + 0.01 * h.var(0, ddof=1)
    np.testing.assert_allclose(y, (h - h.mean(0)) / np.sqrt(h.var(0) + 1e-3), rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(found["averages"]["mean"], mean, rtol=1e-5)
  np.testing.assert_allclose(found["averages"]["variance"], variance, rtol=1e-5)


def test_a_training_step_updates_averages_and_evaluation_does_not_drop():
  made, params = model("latent"), variables("latent")
  new = jax.jit(lambda: made.update(params, KEY, training()))()
  before, after = (v["averages"]["encoder"]["layers"]["norm_0"]["mean"] for v in (params, new))
  assert abs(after - before).min() > 0
  jax.tree.map(np.testing.assert_array_equal, new["params"], params["params"])
  of = lambda batch: np.asarray(made.apply(params, batch, method="infer").mean())
  without = model("latent", dropout=0.0).apply(params, BATCH, method="infer").mean()
  np.testing.assert_array_equal(of(BATCH), without)
  half = {k: v[:20] for k, v in BATCH.items()}
  np.testing.assert_allclose(of(half), of(BATCH)[:20], rtol=1e-5, atol=1e-6)  # a cell does not depend on the others
  twice = {k: np.repeat(v[:1], 400, 0) for k, v in training().items() if k != "key"}
  drawn = made.apply(params, twice | {"key": jax.random.split(KEY, 400)}, method="infer").mean()
  assert drawn.std(0).min() > 1e-3


def test_moments_of_a_batch_are_those_of_each_sample():
  """With K samples in training, log p(x|z_k) is that of a training batch with the draws z_k alone."""
  made, params = model("observed"), variables("observed")
  terms = log_terms.log_terms(made, params, KEY, training(), 3)
  q = made.bind(params).infer(training())
  for k, key in enumerate(jax.random.split(KEY, 3)):
    z, _ = q.sample_and_log_prob(seed=key)
    alone = made.apply(params, training(), z, method="log_joint")[0]
    np.testing.assert_allclose(terms.px_z[k], alone, rtol=1e-4)


@pytest.mark.parametrize("options", [
  {"dispersion": "gene_batch"},
  {"dispersion": "gene_cell", "likelihood": scvi.NEGATIVE_BINOMIAL, "encode_covariates": True},
  {"linear": True, "likelihood": scvi.POISSON, "latent": "logistic_normal"},
  {"library": "size_factor", "categories": (3,), "num_continuous": 1, "dispersion": "gene_label", "num_labels": 2},
])  # fmt: skip
def test_parameters_of_every_kind_have_gradients(options):
  batch = BATCH | {"size_factor": BATCH["x"].sum(1) / 20.0, "y": np.arange(B) % 2}
  batch |= {"categories": RNG.integers(0, 3, (B, 1)), "continuous": RNG.normal(size=(B, 1))}
  made = model(**({"library": "observed"} | options))
  params = jax.jit(made.init)(KEY, batch)
  batch = training(batch)

  def loss(p):
    everything = params | {"params": p}
    z = made.apply(everything, batch, method="infer").sample(seed=KEY)
    return made.apply(everything, batch, z, method="log_joint")[0].mean()

  gradients = jax.jit(jax.grad(loss))(params["params"])
  for path, g in jax.tree_util.tree_leaves_with_path(gradients):
    assert jnp.isfinite(g).all() and abs(g).max() > 0, jax.tree_util.keystr(path)


def test_reordering_genes_changes_nothing():
  order = RNG.permutation(G)
  made, params = model("observed"), variables("observed")
  p = jax.tree.map(lambda a: a, params)
  p["params"]["encoder"]["layers"]["dense_0"]["kernel"] = p["params"]["encoder"]["layers"]["dense_0"]["kernel"][order]
  for head in ("scale_head", "other_heads"):
    for name in ("kernel", "bias"):
      p["params"][head][name] = p["params"][head][name][..., order]
  p["params"]["log_dispersion"] = p["params"]["log_dispersion"][:, order]
  z = made.apply(params, BATCH, method="infer").mean()
  moved = BATCH | {"x": BATCH["x"][:, order]}
  np.testing.assert_allclose(made.apply(p, moved, method="infer").mean(), z, rtol=1e-4, atol=1e-5)
  old, new = (made.apply(v, b, z, method="log_joint")[0] for v, b in ((params, BATCH), (p, moved)))
  np.testing.assert_allclose(new, old, rtol=1e-5)


# --- scvi-tools: weights that it trained, and what it computes with them in double precision


def converted(weights, kind):
  """(model, variables) of scvi-tools' state_dict; biases before a normalisation move its mean."""
  likelihood, library, dispersion = kind.split()
  names = {"zinb": scvi.ZERO_INFLATED, "nb": scvi.NEGATIVE_BINOMIAL, "poisson": scvi.POISSON}
  w = {k.removeprefix(f"{kind}/weights/"): weights[k] for k in weights if k.startswith(f"{kind}/weights/")}

  def layer(prefix):
    linear, norm = f"{prefix}.fc_layers.Layer 0.0", f"{prefix}.fc_layers.Layer 0.1"
    kernel = w[f"{linear}.weight"].T
    mean = w[f"{norm}.running_mean"] - w[f"{linear}.bias"]
    dense = {"kernel": kernel}
    params = {"dense_0": dense, "norm_0": {"scale": w[f"{norm}.weight"], "shift": w[f"{norm}.bias"]}}
    return params, {"norm_0": {"mean": mean, "variance": w[f"{norm}.running_var"]}}

  def encoder(prefix):
    params, averages = layer(f"{prefix}.encoder")
    heads = [f"{prefix}.{name}_encoder" for name in ("mean", "var")]
    kernel = np.concatenate([w[f"{h}.weight"].T for h in heads], 1)
    bias = np.concatenate([w[f"{h}.bias"] for h in heads])
    return {"layers": params, "heads": {"kernel": kernel, "bias": bias}}, {"layers": averages}

  params, averages = {}, {}
  params["encoder"], averages["encoder"] = encoder("z_encoder")
  if library == "latent":
    params["library_encoder"], averages["library_encoder"] = encoder("l_encoder")
  params["decoder"], averages["decoder"] = layer("decoder.px_decoder")
  dense = params["decoder"]["dense_0"]
  latent_dim = w["z_encoder.mean_encoder.bias"].shape[0]
  dense["kernel"], dense["covariates"] = dense["kernel"][:latent_dim], dense["kernel"][latent_dim:]
  head = lambda name: {"kernel": w[f"{name}.weight"].T, "bias": w[f"{name}.bias"]}
  params["scale_head"] = head("decoder.px_scale_decoder.0")
  if likelihood == "zinb":
    params["other_heads"] = head("decoder.px_dropout_decoder")
  if likelihood != "poisson":
    r = w["px_r"]
    params["log_dispersion"] = r.T if r.ndim == 2 else r[None]
  moments = MOMENTS
  if library == "latent":
    moments = tuple(tuple(np.ravel(w[f"library_log_{m}"]).tolist()) for m in ("means", "vars"))
  made = scvi.Model(
    (weights["x"].shape[1],), latent_dim=latent_dim, hidden=w["z_encoder.mean_encoder.weight"].shape[1],
    likelihood=names[likelihood], dispersion=dispersion.replace("-", "_"), library=library, num_batches=2,
    library_moments=moments,
  )  # fmt: skip
  return made, jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), {"params": params, "averages": averages})


def kinds(weights):
  return sorted({k.split("/")[0] for k in weights if "/" in k})


def assert_equal_to(weights):
  """log p(x|z) at q's mean, KL(z), KL(library) and q of every cell: relative 1e-4."""
  batch = {"x": weights["x"], "batch": weights["batch"]}
  assert len(kinds(weights)) >= 8
  for kind in kinds(weights):
    made, params = converted(weights, kind)
    q = made.apply(params, batch, method="infer")
    expected = lambda name, kind=kind: weights[f"{kind}/{name}"]
    mean = np.asarray(q.mean())
    np.testing.assert_allclose(mean[:, :2], expected("mean"), rtol=1e-4, atol=2e-5, err_msg=kind)
    np.testing.assert_allclose(q.variance()[:, :2], expected("variance"), rtol=1e-4, err_msg=kind)
    log_px, _ = made.apply(params, batch, jnp.asarray(mean), method="log_joint")
    np.testing.assert_allclose(log_px, expected("log_px"), rtol=1e-4, err_msg=kind)
    kl = np.asarray(made.apply(params, batch, method="kl"))
    np.testing.assert_allclose(kl[:, :2].sum(1), expected("kl_z"), rtol=1e-4, atol=1e-5, err_msg=kind)
    if "latent" in kind:
      np.testing.assert_allclose(kl[:, 2], expected("kl_library"), rtol=1e-4, atol=1e-5, err_msg=kind)


def test_weights_of_scvi_tools_give_its_numbers():
  assert_equal_to(dict(np.load(SCVI_TOOLS)))


def test_importance_sampling_agrees_with_scvi_tools():
  """Its estimates of log p(x) with 1000 samples, eight times: both are means of weights, in standard errors."""
  weights = dict(np.load(SCVI_TOOLS))
  kind = "zinb observed gene"
  made, params = converted(weights, kind)
  batch = {"x": weights["x"], "batch": weights["batch"]}
  log_w = jax.jit(lambda: log_terms.log_terms(made, params, KEY, batch, 8_000, 1000).w)()
  theirs = np.asarray(weights[f"{kind}/marginal"], np.float64)
  ours = np.asarray(estimators.iwae(log_w), np.float64)
  ratio = np.exp(np.asarray(log_w, np.float64) - ours)
  error = np.sqrt(ratio.var(0) / len(ratio) + np.exp(theirs - ours).var(0, ddof=1) / len(theirs))
  assert (abs(np.exp(theirs - ours).mean(0) - 1) < 4.5 * error + 1e-4).mean() > 0.98


@pytest.mark.slow
@pytest.mark.skipif("DGM_SCVI_PYTHON" not in os.environ, reason="DGM_SCVI_PYTHON names no Python with scvi-tools")
def test_scvi_tools_trained_anew_gives_equal_numbers(tmp_path):
  script = pathlib.Path(__file__).parents[3] / "scripts" / "scvi_peer_weights.py"
  out = tmp_path / "weights.npz"
  subprocess.run([os.environ["DGM_SCVI_PYTHON"], str(script), str(out)], check=True, env={"PATH": os.environ["PATH"]})
  assert_equal_to(dict(np.load(out)))


def test_loadings_are_the_derivatives_of_the_log_frequencies():
  """log rho_g = score_g - log sum exp scores: differences of genes change by those of the loadings, in every unit."""
  made, params = model("observed", linear=True), variables("observed", linear=True)
  spread = jax.tree.map(lambda a: a * jnp.linspace(0.3, 4, a.size).reshape(a.shape), params["averages"])
  bound = made.bind(params | {"averages": spread})
  loadings = np.asarray(bound.loadings())
  log_rho = jax.jit(lambda z: bound.decode(BATCH, z).log_rho)
  centred = lambda a: np.asarray(a - a.mean(-1, keepdims=True))
  z = jax.random.normal(KEY, (B, L))
  for unit in range(L):
    step = 0.5 * jnp.eye(L)[unit]
    found = centred(log_rho(z + step) - log_rho(z - step))
    np.testing.assert_allclose(found, np.tile(centred(loadings[:, unit]), (B, 1)), rtol=1e-3, atol=1e-4)


def test_unlabelled_cells_have_a_dispersion_of_their_own():
  made = model("observed", dispersion="gene_label", num_labels=2)
  batch = BATCH | {"y": np.arange(B) % 3 - 1}
  params = jax.jit(made.init)(KEY, batch)
  of = jax.jit(lambda b: made.bind(params).decode(b, jnp.zeros((B, L))).log_dispersion)
  rows = np.asarray(params["params"]["log_dispersion"])
  np.testing.assert_array_equal(of(batch), rows[[2, 0, 1]][np.arange(B) % 3])
  np.testing.assert_array_equal(of(BATCH), np.tile(rows[2], (B, 1)))  # cells without y are unlabelled


def test_with_size_factors_the_mean_starts_at_that_of_the_data():
  """rho = softplus(scores) need not sum to 1, and size factors are near 1."""
  mean = tuple(np.linspace(0.01, 40, G).tolist())
  for library, expected in (("size_factor", np.array(mean)), ("observed", np.array(mean) / sum(mean))):
    made = scvi.Model((G,), mean, latent_dim=L, hidden=8, library=library)
    bias = made._frequencies(KEY, (G,))
    found = jax.nn.softplus(bias) if library == "size_factor" else jnp.exp(bias)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
