"""Who may import what: one table of the layers, and a few laws by package."""

import ast
import sys

import pytest
import tables

PACKAGE = tables.ROOT / "dgm_jax"
FILES = {str(p.relative_to(PACKAGE)): p for p in sorted(PACKAGE.rglob("*.py"))}
# package -> the packages it may import, besides itself; no table row names one that is above it
LAYERS = {
  "core": "",
  "networks": "core",
  "data": "core",
  "distributions": "core networks",
  "inference": "core networks",
  "models": "core networks distributions inference",
  "principles": "core networks inference",
  "evaluate": "core networks data distributions inference",
  "training": "core networks data distributions inference models principles evaluate",
  "sweeps": "core data evaluate training",
  "applications": "core networks data distributions inference models principles evaluate training",
  "api": "core networks data distributions inference models principles evaluate training",
  "main.py": "core evaluate training",
  "__init__.py": "api applications",  # the two names that are offered at the top, imported lazily
}
THIRD_PARTY = {"jax", "flax", "distrax"}  # what the mathematics is written in
PURE = {"networks", "distributions", "inference", "models"}
# who may use NumPy: the others compute on the device
ON_THE_HOST = ("data/", "core/batches.py", "evaluate/compare.py", "applications/imputation/")
JITS = ("core/evaluation.py", "training/", "evaluate/", "sweeps/planning/", "api/", "applications/", "main.py")
READS_CONFIGS = ("training/", "sweeps/", "api/", "main.py")
OPTIONAL = {"matplotlib", "ray", "optuna", "submitit", "anndata", "h5py", "pyarrow", "openpyxl", "jinja2"}


def imports(path):
  """Full names that a file imports: dgm_jax.core.rng for `from dgm_jax.core import rng`, too."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (a.name for a in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f"{node.module}.{a.name}" for a in node.names)


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


DONE = {
  "core",
  "networks",
  "distributions",
  "inference",
  "principles",
  "models",
  "training",
}  # the packages that have moved so far
MOVED = {file: path for file, path in FILES.items() if package(file) in DONE}


@pytest.mark.parametrize("file", MOVED)
def test_imports_go_down(file):
  found = {name if name in LAYERS else f"{name}.py" for name in ours(FILES[file])} - {package(file)}
  assert found <= set(LAYERS[package(file)].split())


def test_the_table_of_layers_has_no_circle():
  order = list(LAYERS)
  for row, allowed in LAYERS.items():
    if row != "__init__.py":
      assert all(order.index(name) < order.index(row) for name in allowed.split())
  # every file is in a package of the table, once all have moved


@pytest.mark.parametrize("file", [f for f in MOVED if package(f) in PURE])
def test_the_mathematics_needs_jax_alone(file):
  tops = {name.split(".")[0] for name in imports(FILES[file])}
  assert tops - {"dgm_jax"} - sys.stdlib_module_names <= THIRD_PARTY


@pytest.mark.parametrize("file", MOVED)
def test_numpy_stays_on_the_host(file):
  if not file.startswith(ON_THE_HOST) or file == "data/transforms.py":
    assert "numpy" not in top_level_imports(FILES[file])


@pytest.mark.parametrize("file", MOVED)
def test_programs_are_assembled_in_few_places(file):
  if not file.startswith(JITS):
    text = FILES[file].read_text()
    assert "jax.jit" not in text
    assert "import jit" not in text


@pytest.mark.parametrize("file", MOVED)
def test_configs_are_read_in_few_places(file):
  if not file.startswith(READS_CONFIGS):
    assert "ml_collections" not in {name.split(".")[0] for name in imports(FILES[file])}


@pytest.mark.parametrize("file", FILES)
def test_what_is_heavy_or_of_an_extra_is_imported_lazily(file):
  assert not top_level_imports(FILES[file]) & OPTIONAL


@pytest.mark.parametrize(
  "file", sorted((tables.ROOT / "experiments").rglob("*.py")), ids=lambda p: str(p.relative_to(tables.ROOT))
)
def test_experiments_leave_what_draws_and_renders_to_the_moment_it_is_needed(file):
  assert not top_level_imports(file) & OPTIONAL
  assert not any(name.startswith("dgm_jax.main") for name in imports(file))


def test_the_start_of_a_worker_needs_the_standard_library_alone():
  """It runs under python -I -S, before anything is installed in its path."""
  [child] = [path for file, path in FILES.items() if file.startswith("sweeps/") and path.stem == "child"]
  assert {name.split(".")[0] for name in imports(child)} <= sys.stdlib_module_names
