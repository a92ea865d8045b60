"""Who may import what, by the imports that the files have."""

import ast
import sys

import pytest
import tables

PACKAGE = tables.ROOT / "dgm_jax"
FILES = {str(p.relative_to(PACKAGE)): p for p in sorted(PACKAGE.rglob("*.py"))}
BRICKS = {
  "convolutions.py",
  "covariances.py",
  "distributions.py",
  "emissions.py",
  "estimators.py",
  "factor_analysers.py",
  "families.py",
  "hidden_markov.py",
  "likelihoods.py",
  "located_mixtures.py",
  "missing_process.py",
  "mixtures.py",
  "nets.py",
  "objectives.py",
  "posterior_flows.py",
  "posteriors.py",
  "precision.py",
  "priors.py",
  "scores.py",
  "set_encoder.py",
  "target_families.py",
  "topic_models.py",
  "weight_posteriors.py",
}
BRICK_IMPORTS = {"jax", "flax", "distrax", "functools", "itertools", "math", "re", "typing", "collections"}
PAINTERS = ("figures.py", "latent_figures.py", "sweeps/plots.py")
ASSEMBLERS = (
  "train.py",
  "trained.py",
  "lanes.py",
  "devices.py",
  "feed.py",
  "programs.py",
  "main.py",
  "api.py",
  "debug.py",
  "evaluate/",
  "imputation/cells.py",
  "imputation/fitted.py",
  "imputation/training.py",
  "sweeps/timing.py",
)
CONFIG_READERS = {"api.py", "debug.py", "main.py", "train.py", "trained.py", "build.py", "optim.py"}
CONFIG_READERS |= {"lanes.py", "run.py"}
CONFIG_READERS |= {"sweeps/lanes.py", "sweeps/trace.py", "sweeps/worker.py"}
HOST = {"baselines.py", "compare.py", "figures.py", "impute.py"}  # work on arrays of the host, with NumPy
HOST |= {f"imputation/{name}.py" for name in ("cells", "columns", "comparison", "fitted", "report", "transformer")}
OPTIONAL = {"ray", "optuna", "submitit"}  # of the extra [sweep]


def imports(path):
  """Full names that a file imports: dgm_jax.nets for `from dgm_jax import nets`, too."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (a.name for a in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f"{node.module}.{a.name}" for a in node.names)


@pytest.mark.parametrize("file", FILES)
def test_imports_stay_within_the_boundaries(file):
  names = set(imports(FILES[file]))
  tops = {n.split(".")[0] for n in names}
  if file in BRICKS or (file.startswith("models/") and file != "models/__init__.py"):
    assert tops - {"dgm_jax"} <= BRICK_IMPORTS
    ours = {".".join(n.split(".")[:2]) for n in names if n.startswith("dgm_jax")}
    assert ours <= {f"dgm_jax.{b.removesuffix('.py')}" for b in BRICKS | {"bijectors.py"}}
  if file.startswith("principles/"):
    assert not any(n.startswith("dgm_jax.models") for n in names)
  assert not any(n.startswith("dgm_jax.main") for n in names)
  if not file.startswith("data/") or file == "data/transforms.py":
    assert "numpy" not in tops or file in HOST
  if file not in PAINTERS:
    assert "matplotlib" not in tops
  if file not in CONFIG_READERS:
    assert "ml_collections" not in tops


@pytest.mark.parametrize("file", FILES)
def test_programs_are_assembled_in_few_places(file):
  if not file.startswith(ASSEMBLERS):
    text = FILES[file].read_text()
    assert "jax.jit" not in text
    assert "import jit" not in text


@pytest.mark.parametrize("file", [f for f in FILES if f.startswith("sweeps/")])
def test_what_an_extra_installs_is_imported_lazily(file):
  for node in ast.parse(FILES[file].read_text()).body:
    if isinstance(node, ast.Import | ast.ImportFrom):
      assert (getattr(node, "module", None) or node.names[0].name).split(".")[0] not in OPTIONAL


@pytest.mark.parametrize("file", PAINTERS)
def test_matplotlib_is_imported_lazily(file):
  for node in ast.parse(FILES[file].read_text()).body:
    if isinstance(node, ast.Import | ast.ImportFrom):
      assert "matplotlib" not in (getattr(node, "module", None) or node.names[0].name)


@pytest.mark.parametrize("file", [f for f in FILES if f.startswith("sweeps/")])
def test_what_launches_elsewhere_is_imported_lazily(file):
  """The extra [sweep] is not needed for this machine's own processes."""
  for node in ast.parse(FILES[file].read_text()).body:
    if isinstance(node, ast.Import | ast.ImportFrom):
      names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
      assert not {name.split(".")[0] for name in names} & {"ray", "submitit"}


@pytest.mark.parametrize("file", sorted((tables.ROOT / "experiments").glob("*.py")), ids=lambda path: path.name)
def test_experiments_leave_what_draws_and_renders_to_the_moment_it_is_needed(file):
  for node in ast.parse(file.read_text()).body:
    if isinstance(node, ast.Import | ast.ImportFrom):
      names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
      assert not {name.split(".")[0] for name in names} & {"matplotlib", "jinja2"}
  assert not any(name.startswith("dgm_jax.main") for name in imports(file))


def test_the_start_of_a_worker_needs_the_standard_library_alone():
  """It runs under python -I -S, before anything is installed in its path."""
  assert {name.split(".")[0] for name in imports(FILES["sweeps/child.py"])} <= sys.stdlib_module_names
