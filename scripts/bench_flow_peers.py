"""Training steps of flows in other libraries, measured beside ours by `bench_flows.py --peer_python=PYTHON`.

  PYTHON scripts/bench_flow_peers.py LIBRARY DIM BATCH_SIZE     LIBRARY: flowjax, distrax or tfp

It needs jax, optax and the library, and nothing of this package.  The first line that it prints has the versions and
the flows it knows, {"versions": ..., "flows": [...]}; for each name of a flow on its input it then prints {"cpu_ms",
"ms"} of a step, over 50 steps of one compiled program.  All flows have 5 layers, networks of 64 x 2 and, if any, 8 bins
on [-3, 3].
"""

import functools
import importlib.metadata
import json
import sys
import time

import jax
import jax.numpy as jnp
import optax

LAYERS, HIDDEN, BINS, BOUND, STEPS = 5, 64, 8, 3.0, 50


def _dense(key, sizes, out_scale=0.0):
  """Weights and biases of a multilayer perceptron, the last layer zero."""
  keys = jax.random.split(key, len(sizes) - 1)
  scale = lambda i: out_scale if i == len(sizes) - 2 else sizes[i] ** -0.5
  return [
    (scale(i) * jax.random.normal(k, (sizes[i], sizes[i + 1])), jnp.zeros(sizes[i + 1])) for i, k in enumerate(keys)
  ]


def _mlp(layers, x, masks=None):
  for i, (w, b) in enumerate(layers):
    x = x @ (w if masks is None else w * masks[i]) + b
    x = jax.nn.relu(x) if i < len(layers) - 1 else x
  return x


def _masks(dim, outputs):
  """Those of a masked autoencoder with `outputs` numbers for each entry, [.., D outputs] entry by entry."""
  degrees = 1 + jnp.arange(HIDDEN) % max(1, dim - 1)
  entry = 1 + jnp.arange(dim)
  before = (degrees[:, None] < jnp.repeat(entry, outputs)[None]).astype(jnp.float32)
  up_to = lambda a, b: (a[:, None] <= b[None]).astype(jnp.float32)
  return [up_to(entry, degrees), up_to(degrees, degrees), before]


def flowjax(name, dim):
  """(parameters, (parameters, x) -> mean of log p)."""
  import equinox as eqx
  import paramax
  from flowjax import bijections, distributions, flows

  make = flows.coupling_flow if "coupling" in name else flows.masked_autoregressive_flow
  spline = bijections.RationalQuadraticSpline(knots=BINS - 1, interval=BOUND)
  transformer = spline if "spline" in name else bijections.Affine()
  made = make(
    jax.random.key(2), base_dist=distributions.Normal(jnp.zeros(dim)), transformer=transformer, flow_layers=LAYERS,
    nn_width=HIDDEN, nn_depth=2, invert=True,
  )  # fmt: skip
  is_fixed = lambda a: isinstance(a, paramax.NonTrainable)
  params, static = eqx.partition(made, eqx.is_inexact_array, is_leaf=is_fixed)
  return params, lambda params, x: paramax.unwrap(eqx.combine(params, static)).log_prob(x).mean()


def distrax(name, dim):
  """As `flowjax`: couplings alone, which compute parameters for all entries and mask them."""
  import distrax

  if "coupling" not in name:
    return None
  count = 3 * BINS + 1 if "spline" in name else 2
  sizes = (dim, HIDDEN, HIDDEN, count * dim)
  params = [_dense(k, sizes) for k in jax.random.split(jax.random.key(2), LAYERS)]

  def bijector(h):
    if "spline" in name:
      return distrax.RationalQuadraticSpline(h, -BOUND, BOUND, boundary_slopes="identity")
    return distrax.ScalarAffine(shift=h[..., 0], log_scale=jnp.tanh(h[..., 1]))

  def log_px(params, x):
    first, layers = jnp.arange(dim) < dim // 2, []
    for i, net in enumerate(params):
      conditioner = lambda x, net=net: _mlp(net, x).reshape(*x.shape[:-1], dim, count)
      mask = ~first if i % 2 else first
      layers.append(distrax.MaskedCoupling(mask=mask, conditioner=conditioner, bijector=bijector))
    base = distrax.MultivariateNormalDiag(jnp.zeros(dim), jnp.ones(dim))
    return distrax.Transformed(base, distrax.Inverse(distrax.Chain(layers))).log_prob(x).mean()

  return params, log_px


def _tfp_spline(h):
  from tensorflow_probability.substrates.jax import bijectors as tfb

  share = lambda a: 2 * BOUND * (1e-3 + (1 - 1e-3 * BINS) * jax.nn.softmax(a, -1))
  slopes = 1e-3 + jax.nn.softplus(h[..., 2 * BINS :])
  return tfb.RationalQuadraticSpline(share(h[..., :BINS]), share(h[..., BINS : 2 * BINS]), slopes, range_min=-BOUND)


def tfp(name, dim):
  """As `flowjax`; networks are pure functions, for those of the library need Keras."""
  from tensorflow_probability.substrates.jax import bijectors as tfb
  from tensorflow_probability.substrates.jax import distributions as tfd

  spline, coupling, kept = "spline" in name, "coupling" in name, dim // 2
  count = 3 * BINS - 1 if spline else 2
  sizes = (kept, HIDDEN, HIDDEN, count * (dim - kept)) if coupling else (dim, HIDDEN, HIDDEN, count * dim)
  params = [_dense(k, sizes) for k in jax.random.split(jax.random.key(2), LAYERS)]
  masks = None if coupling else _masks(dim, count)

  def of_layer(net):
    of = lambda x: _mlp(net, x, masks).reshape(*x.shape[:-1], -1, count)
    affine = lambda x: (of(x)[..., 0], of(x)[..., 1])
    if coupling:
      part = {"bijector_fn": lambda x, n, **_: _tfp_spline(of(x))} if spline else {}
      return tfb.RealNVP(num_masked=kept, **(part or {"shift_and_log_scale_fn": lambda x, n, **_: affine(x)}))
    part = {"bijector_fn": lambda x, **_: _tfp_spline(of(x))} if spline else {"shift_and_log_scale_fn": affine}
    return tfb.MaskedAutoregressiveFlow(**part)

  def log_px(params, x):
    layers, reverse = [], tfb.Permute(list(range(dim))[::-1])
    for net in params:
      layers += [of_layer(net), reverse]
    base = tfd.MultivariateNormalDiag(jnp.zeros(dim), jnp.ones(dim))
    # the direction from x to z is that in one pass
    made = tfb.Chain(layers) if coupling else tfb.Invert(tfb.Chain([tfb.Invert(b) for b in layers]))
    return tfd.TransformedDistribution(base, made).log_prob(x).mean()

  return params, log_px


LIBRARIES = {"flowjax": flowjax, "distrax": distrax, "tfp": tfp}
PACKAGES = {
  "flowjax": ("flowjax", "equinox"),
  "distrax": ("distrax",),
  "tfp": ("tfp-nightly", "tensorflow-probability"),
}
FLOWS = ("affine coupling", "MAF", "spline coupling", "spline autoregressive")


def versions(library):
  """Of the packages that are installed, {name: version}."""
  found = {}
  for name in (*PACKAGES[library], "jax", "jaxlib", "optax"):
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found


def make(library, name, dim, batch_size):
  """A compiled function of STEPS training steps, or None if the library has no such flow."""
  made = LIBRARIES[library](name, dim)
  if made is None:
    return None
  params, log_px = made
  data, tx = jax.random.normal(jax.random.key(0), (STEPS, batch_size, dim)), optax.adam(1e-3)

  def step(carry, x):
    params, state = carry
    updates, state = tx.update(jax.grad(lambda p: -log_px(p, x))(params), state, params)
    return (optax.apply_updates(params, updates), state), None

  carry = params, tx.init(params)
  run = jax.jit(lambda carry: jax.lax.scan(step, carry, data)[0])
  return functools.partial(run, carry)


def main():
  """Answers names of flows with times."""
  library, dim, batch_size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
  runs = {}
  for name in FLOWS:
    try:
      run = make(library, name, dim, batch_size)
      if run is not None:
        jax.block_until_ready(run())
        runs[name] = run
    except Exception as e:  # of the library, on this version of JAX: the others are measured all the same
      print(f"{library}: {name} does not run: {type(e).__name__}: {str(e).splitlines()[0][:100]}", file=sys.stderr)
  print(json.dumps({"versions": versions(library), "flows": list(runs)}), flush=True)
  for line in sys.stdin:
    start = time.process_time(), time.perf_counter()
    jax.block_until_ready(runs[line.strip()]())
    ends = time.process_time(), time.perf_counter()
    cpu, wall = (1e3 * (b - a) / STEPS for a, b in zip(start, ends, strict=True))
    print(json.dumps({"cpu_ms": cpu, "ms": wall}), flush=True)


if __name__ == "__main__":
  main()
