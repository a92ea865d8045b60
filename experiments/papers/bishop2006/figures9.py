"""EM for mixtures, step by step: two normals on Old Faithful, and three products of Bernoullis on binary digits."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from dgm_jax import data
from dgm_jax.core import figure_style as style
from dgm_jax.core import figures
from dgm_jax.experiments.harness import computed, tables
from dgm_jax.models.mixtures import bernoulli_mixture, gaussian_mixture
from dgm_jax.principles import em

STEPS = 20
_DRAWN = (0, 1, 2, 5, 20)
_STARTS = [[-1.5, 1.0], [1.5, -1.0]]  # initial means of the standardised data
_RED, _BLUE = np.array([0.835, 0.369, 0.0]), np.array([0.0, 0.447, 0.698])


class Digits(NamedTuple):
  """Setting of figure 9.10: the digits, images of each, components, and starts and steps of EM."""

  digits: tuple[int, ...] = (2, 3, 4)
  each: int = 200
  components: int = 3
  starts: int = 10
  steps: int = 50


def _trained(model: Any, x: jax.Array, key: jax.Array, steps: int, params: Any = None) -> dict[str, jax.Array]:
  """The path of full-batch EM: {"log_px" [steps + 1], parameters [steps + 1, ...]}, before each step."""
  system, batch = em.make(model, None, num_examples=len(x)), {"x": x}
  state = system.init(key, batch, {})
  params = model.start(key, state.params, batch) if params is None else params
  begun = {"em": state.variables["em"] | {"started": jnp.ones((), bool)}}
  state = state.replace(params=params, variables=begun)

  def step(state, _):
    new, metrics = system.train_step(state, key, batch)
    return new, {"log_px": metrics["log_px"], **state.params}

  return jax.lax.scan(step, state, length=steps + 1)[1]


def old_faithful() -> dict[str, np.ndarray]:
  """Standardised "x" [N, 2], and for each step "log_px" [T], "means", "roots", "log_weights", p(c|x) [T, N, 2]."""
  rows = data.load("old_faithful", everything=True).train["x"].astype(np.float64)
  loc, scale = rows.mean(0), rows.std(0)
  x = jnp.asarray((rows - loc) / scale, jnp.float32)
  model = gaussian_mixture.Model((2,), num_components=2)
  eye = jnp.broadcast_to(jnp.eye(2), (2, 2, 2))
  params = {"log_weights": jnp.full(2, -jnp.log(2.0)), "means": jnp.asarray(_STARTS), "roots": eye}

  @jax.jit
  def run():
    found = _trained(model, x, jax.random.key(0), STEPS, params)
    at = {name: found[name] for name in params}
    given = jax.vmap(lambda params: model.bind({"params": params}).responsibilities({"x": x}))(at)
    return found | {"responsibilities": given}

  return jax.device_get(run()) | {"x": np.asarray(x), "loc": loc, "scale": scale}


def _images(setting: Digits) -> tuple[np.ndarray, np.ndarray]:
  """(binary x [N, 28, 28, 1], the digit of each): the first training images of mnist5k, above 1/2 or not."""
  train = data.load("mnist5k").train
  chosen = np.concatenate([np.flatnonzero(train["y"] == d)[: setting.each] for d in setting.digits])
  return (train["x"][chosen] > 127).astype(np.float32), train["y"][chosen]


def digits(setting: Digits) -> dict[str, np.ndarray]:
  """The best of several starts: "means" [C, 28, 28, 1], p(c|x) [N, C], "log_px" [T]; "single" is for one component.

  "ends" [S] are the final log p(x) of all starts.
  """
  x, y = _images(setting)

  @functools.partial(jax.jit, static_argnums=0)
  def run(components, keys):
    model = bernoulli_mixture.Model(x.shape[1:], num_components=components, seeding="random")
    found = jax.vmap(lambda key: _trained(model, jnp.asarray(x), key, setting.steps))(keys)
    best = jax.tree.map(lambda a: a[jnp.argmax(found["log_px"][:, -1])], found)
    bound = model.bind({"params": {name: best[name][-1] for name in ("log_weights", "logits")}})
    means = jax.nn.sigmoid(best["logits"][-1]).reshape(-1, *x.shape[1:])
    return means, bound.responsibilities({"x": x}), best["log_px"], found["log_px"][:, -1]

  keys = jax.random.split(jax.random.key(0), setting.starts)
  means, given, log_px, ends = jax.device_get(run(setting.components, keys))
  single, _, single_px, _ = jax.device_get(run(1, keys[:1]))
  found = {"means": means, "responsibilities": given, "log_px": log_px, "ends": ends}
  return found | {"single": single, "single_log_px": single_px[-1], "x": x, "y": y}


def compute(folder: pathlib.Path, name: str, make: Callable[[], dict], config: dict[str, Any]) -> None:
  """Computes and writes a run's folder."""
  computed.write(folder, config, 0, STEPS, {name: make}, what="steps")


def matched(given: np.ndarray, y: np.ndarray) -> tuple[float, dict[str, str]]:
  """(the share of images whose most probable component is matched to their digit, {component: digit}).

  The matching of components to digits maximises this share; surplus components are left unmatched.
  """
  names, own = np.unique(y), given.argmax(1)
  counts = np.array([[np.sum((own == c) & (y == d)) for d in names] for c in range(given.shape[1])])
  rows, columns = scipy.optimize.linear_sum_assignment(-counts)
  pairs = {str(c): str(names[d]) for c, d in zip(rows, columns, strict=True)}
  return float(counts[rows, columns].sum() / len(y)), pairs


def _draw_steps(found: dict[str, np.ndarray], path: pathlib.Path) -> None:
  """A panel for each step in _DRAWN: rows coloured by responsibility, and ellipses of one standard deviation."""
  columns = min(3, len(_DRAWN))
  lines, turn = -(-len(_DRAWN) // columns), np.linspace(0, 2 * np.pi, 100)
  picture = figures.new(style.PAGE, 2.4 * lines)
  circle = np.stack([np.cos(turn), np.sin(turn)])
  for i, step in enumerate(_DRAWN):
    axis = picture.add_subplot(lines, columns, i + 1, title=f"step {step}" if step else "start", aspect="equal")
    first = found["responsibilities"][step][:, :1]
    axis.scatter(*found["x"].T, c=first * _BLUE + (1 - first) * _RED, s=4, alpha=0.4)
    for mean, root, colour in zip(found["means"][step], found["roots"][step], (_BLUE, _RED), strict=True):
      axis.plot(*(mean[:, None] + root @ circle), color=colour, linewidth=1.3)
      axis.plot(*mean, "x", color=colour)
    axis.set(xlabel="eruption (sd)", ylabel="waiting (sd)" if i % columns == 0 else "")
    axis.set(xlim=(-2.3, 2.3), ylim=(-2.3, 2.3), xticks=[-2, 0, 2], yticks=[-2, 0, 2])
  figures.save(path, picture)


def steps_report(folder: pathlib.Path) -> dict[str, Any]:
  """log p(x) after the steps in _DRAWN, the final components, and the picture."""
  found = computed.read(folder, "old_faithful")
  if found is None:
    return {"numbers": {"steps": {}}, "tables": [], "figures": [], "sentences": []}
  log_px, weights = found["log_px"].astype(float), np.exp(found["log_weights"][-1].astype(float))
  ends = found["means"][-1] * found["scale"] + found["loc"]
  numbers = {"log_px": {str(step): log_px[step] for step in _DRAWN}, "least_rise": float(np.diff(log_px).min())}
  numbers["components"] = [
    {"weight": w, "eruption": m[0], "waiting": m[1]} for w, m in zip(weights.tolist(), ends.tolist(), strict=True)
  ]
  rows = [[tables.cell(str(step)), tables.cell(f"{log_px[step]:.4f}", ["computed"])] for step in _DRAWN]
  note = "Log-density of standardised rows, in nats per row."
  _draw_steps(found, folder / "steps.png")
  caption = "Ellipses: one standard deviation of each normal. Rows are coloured by their responsibilities."
  line = tables.series("log p(x)", list(enumerate(log_px)), ["computed"])
  curve = tables.figure("Log-likelihood", "steps of EM", "nats per row", [line]) | {"file": "log_px.png"}
  parts = "; ".join(
    f"{100 * c['weight']:.0f} % with eruptions of {c['eruption']:.2f} and waits of {c['waiting']:.1f} minutes"
    for c in numbers["components"]
  )
  rises = "rises at every step" if numbers["least_rise"] > -1e-5 else "falls at a step, which indicates an error"
  return {
    "numbers": {"steps": numbers},
    "tables": [tables.table("Log-likelihood of Old Faithful by EM", ["steps", "log p(x)"], rows, note)],
    "figures": [tables.picture("Steps of EM", "steps.png", caption), curve],
    "sentences": [f"log p(x) {rises}. After {STEPS} steps: {parts}."],
  }


def digits_report(folder: pathlib.Path) -> dict[str, Any]:
  """How well components match digits, the mixture against one product of Bernoullis, and the picture."""
  found = computed.read(folder, "digits")
  if found is None:
    return {"numbers": {"digits": {}}, "tables": [], "figures": [], "sentences": []}
  share, names = matched(found["responsibilities"], found["y"])
  numbers = {"agree": share, "log_px": float(found["log_px"][-1]), "single": float(found["single_log_px"])}
  numbers |= {"starts": len(found["ends"]), "components": len(found["means"]), "images": len(found["y"])}
  numbers |= {"digits": sorted(names.values()), "least_rise": float(np.diff(found["log_px"]).min())}
  texts = ((f"{len(found['means'])} components", "log_px", f"{share:.3f}"), ("one component", "single", ""))
  rows = [
    [tables.cell(name), tables.cell(f"{numbers[key]:.2f}", ["computed"]), tables.cell(agree, ["computed"])]
    for name, key, agree in texts
  ]
  shown = [found["x"][:: len(found["x"]) // 6][:6], found["means"], found["single"]]
  blank = lambda a: np.concatenate([a, np.ones((6 - len(a), *a.shape[1:]), a.dtype)])
  grid = figures.image_grid(np.concatenate([blank(a[:6]) for a in shown]), 6)
  figures.save_image(folder / "digits.png", grid)
  caption = "Top: some of the images; middle: the components' means; bottom: the mean of a single component."
  columns = ["mixture", "log p(x), training", "images in their digit's component"]
  digit_names = ", ".join(numbers["digits"])
  return {
    "numbers": {"digits": numbers},
    "tables": [tables.table("Mixture of Bernoullis on binary digits", columns, rows, "Nats per image.")],
    "figures": [tables.picture("Means of the components", "digits.png", caption)],
    "sentences": [
      f"{100 * share:.0f} % of the images of {digit_names} are in the component of their digit, which EM never saw; "
      f"log p(x) is {numbers['log_px'] - numbers['single']:.1f} nats above that of one product of Bernoullis."
    ],
  }
