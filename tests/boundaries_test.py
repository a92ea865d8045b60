"""Which package may import which: one table of layers, and further rules for single packages."""

import ast
import functools
import sys

import pytest

from helpers import tables

pytestmark = pytest.mark.smoke

PACKAGE = tables.ROOT / "dgm_jax"
FORMER_COMMANDS = {"compare.py", "ensemble.py", "impute.py"}  # they only print the present name of the command
FILES = {str(p.relative_to(PACKAGE)): p for p in sorted(PACKAGE.rglob("*.py"))}
FILES = {file: path for file, path in FILES.items() if file not in FORMER_COMMANDS}
# package: the packages that it may import besides itself, all of them in rows above
LAYERS = {
  "core": "",
  "networks": "core",
  "data": "core",
  "distributions": "core networks",
  "inference": "core",
  "models": "core networks distributions inference",  # inference: differential equations, normal paths
  "principles": "core networks inference",
  "evaluate": "core networks data distributions inference",  # networks: those of features of samples
  "training": "core networks data models principles evaluate",
  "sweeps": "core data training",
  "applications": "core data distributions inference models principles evaluate training",
  "api": "core data distributions inference evaluate training sweeps",
  "main.py": "core training",
  "__main__.py": "core",  # and the version; the commands themselves are imported when they are called
  "__init__.py": "core api applications",  # for the names of the top level, imported lazily
}
PURE = {"networks", "distributions", "inference", "models"}  # the mathematical packages, and what they may import:
MATHEMATICS = {
  "jax",
  "flax",
  "distrax",
  "optax",
  "collections",
  "functools",
  "inspect",
  "itertools",
  "math",
  "re",
  "typing",
}
OF_CORE = {"colour_spaces", "errors", "grammars", "options", "platforms", "references", "rng"}
# files that may use NumPy; the others compute on the device
ON_THE_HOST = (
  "data/",
  "core/batches.py",
  "core/files.py",
  "evaluate/colour",
  "evaluate/compare.py",
  "evaluate/molecular/",  # RDKit
  "evaluate/molecules.py",
  "evaluate/compare_samples.py",
  "evaluate/samples.py",  # float64 and LAPACK, and so the next two
  "evaluate/sample_features/",
  "evaluate/sample_metrics/",
  "applications/imputation/",
  "applications/colour/",
  "applications/compression/",
  "applications/molecules/",
  "applications/sentences/",
  "applications/single_cell/",
  "applications/world_models/",
  "evaluate/cells/",  # scikit-learn
  "api/",
  "training/folds.py",  # stacks the rows of folds before they go to the device
)
NOT_ON_THE_HOST = {"data/transform.py", "data/transforms.py", "data/value_transforms.py"}
NOT_ON_THE_HOST |= {"applications/imputation/fit.py", "applications/imputation/intervals.py"}
PAINTERS = ["applications/single_cell/painting.py", "core/figures.py", "evaluate/latent_figures.py", "sweeps/plots.py"]
JITS = ("core/evaluation.py", "training/", "evaluate/", "sweeps/planning/", "api/", "applications/", "main.py")
READS_CONFIGS = ("training/", "sweeps/", "api/", "main.py")
OPTIONAL = {"matplotlib", "ray", "optuna", "submitit", "anndata", "h5py", "pyarrow", "openpyxl", "jinja2"}
OPTIONAL |= {"tensorboardX", "wandb", "mlflow", "constriction", "diffrax", "rdkit", "selfies"}
OPTIONAL |= {"cma", "gymnasium", "pygame", "vizdoom", "Box2D"}


@functools.cache
def imports(path):
  """Full names that a file imports: dgm_jax.core.rng for `from dgm_jax.core import rng`, too."""
  names = []
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names += (a.name for a in node.names)
    elif isinstance(node, ast.ImportFrom):
      names += (f"{node.module}.{a.name}" for a in node.names)
  return names


def top_level_imports(path):
  """First parts of the names that a file imports when it is itself imported."""
  found = set()
  for node in ast.parse(path.read_text()).body:
    if isinstance(node, ast.Import):
      found |= {a.name.split(".")[0] for a in node.names}
    elif isinstance(node, ast.ImportFrom):
      found.add(node.module.split(".")[0])
  return found


def package(file):
  """The row of LAYERS that a file belongs to."""
  return file.split("/")[0]


def ours(path):
  """The packages of dgm_jax that a file imports."""
  parts = [name.split(".") for name in imports(path) if name.split(".")[0] == "dgm_jax"]
  return {part[1] for part in parts if len(part) > 1}


def offenders(is_wrong, among=FILES):
  """The files that violate a rule, so that a failing test names them."""
  return [file for file in among if is_wrong(file)]


def test_imports_follow_the_layers():
  def above(file):
    found = {name if name in LAYERS else f"{name}.py" for name in ours(FILES[file])} - {package(file)}
    return found - set(LAYERS[package(file)].split())

  assert {file: names for file in FILES if (names := above(file))} == {}


def test_the_table_of_layers_has_no_cycle():
  order = list(LAYERS)
  for row, allowed in LAYERS.items():
    if row != "__init__.py":
      assert all(order.index(name) < order.index(row) for name in allowed.split())
  assert {package(file) for file in FILES} == set(LAYERS)


def test_no_two_modules_import_each_other():
  """Not even through other modules; imports inside functions count, too."""
  names = {f"dgm_jax.{f.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__"): p for f, p in FILES.items()}
  arrows = {
    name: {m for i in imports(path) for m in (i, i.rpartition(".")[0]) if m in names and m != name}
    for name, path in names.items()
  }
  del arrows["dgm_jax"]  # the names of the top level are imported lazily
  done, path = set(), []

  def visit(name):
    assert name not in path, " -> ".join([*path[path.index(name) :], name])
    if name in done or name not in arrows:
      return
    path.append(name)
    for other in sorted(arrows[name]):
      visit(other)
    done.add(path.pop())

  for name in arrows:
    visit(name)


def test_mathematical_packages_need_jax_alone():
  def foreign(file):
    return {name.split(".")[0] for name in imports(FILES[file])} - {"dgm_jax"} - MATHEMATICS

  def services(file):
    parts = [name.split(".") for name in imports(FILES[file]) if name.startswith("dgm_jax.core.")]
    return {part[2] for part in parts} - OF_CORE

  pure = [f for f in FILES if package(f) in PURE]
  assert offenders(foreign, pure) == []
  assert offenders(services, pure) == []


def test_numpy_stays_on_the_host():
  others = [f for f in FILES if not f.startswith(ON_THE_HOST) or f in NOT_ON_THE_HOST]
  assert offenders(lambda file: any(name.split(".")[0] == "numpy" for name in imports(FILES[file])), others) == []


def test_few_files_draw():
  assert offenders(lambda file: any(name.startswith("matplotlib") for name in imports(FILES[file]))) == PAINTERS


def test_programs_are_compiled_in_few_places():
  def compiles(file):
    text = FILES[file].read_text()
    return "jax.jit" in text or "import jit" in text

  assert offenders(compiles, [f for f in FILES if not f.startswith(JITS)]) == []


def test_configs_are_read_in_few_places():
  reads = lambda file: "ml_collections" in {name.split(".")[0] for name in imports(FILES[file])}
  assert offenders(reads, [f for f in FILES if not f.startswith(READS_CONFIGS)]) == []


def test_heavy_and_optional_libraries_are_imported_lazily():
  experiments = {str(p.relative_to(tables.ROOT)): p for p in (tables.ROOT / "experiments").rglob("*.py")}
  both = FILES | experiments
  assert offenders(lambda file: top_level_imports(both[file]) & OPTIONAL, both) == []
  assert offenders(lambda file: any(n.startswith("dgm_jax.main") for n in imports(both[file])), both) == []


def test_a_worker_starts_with_only_the_standard_library():
  """It starts under python -I -S, before installed packages are on its path."""
  child = FILES["sweeps/launchers/child.py"]
  assert {name.split(".")[0] for name in imports(child)} <= sys.stdlib_module_names
