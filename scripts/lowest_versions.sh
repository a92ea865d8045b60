#!/usr/bin/env bash
# The smoke tests with exactly the lowest version of each dependency that setup.cfg allows, in .venv-lowest.
#   PYTHON=python3.11   the interpreter; the lowest supported one by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
base=${PYTHON:-python3.11}
if [ ! -x .venv-lowest/bin/python ]; then "$base" -m venv .venv-lowest; fi
python=$PWD/.venv-lowest/bin/python
"$python" - <<'PYTHON' >.venv-lowest/lowest.txt
import configparser
import re

setup = configparser.ConfigParser()
setup.read("setup.cfg")
lines = setup["options"]["install_requires"].splitlines()
for extra in ("data", "sweep", "track", "worlds", "car", "doom", "dev"):
  lines += setup["options.extras_require"][extra].splitlines()
for line in lines:
  found = re.match(r"([\w.-]+)(?:\[[\w,]+\])?\s*(?:>=|==)\s*([\w.]+)", line.partition("#")[0].strip())
  if found:
    print(f"{found[1]}=={found[2]}")
PYTHON
echo "Lowest versions: $(tr '\n' ' ' <.venv-lowest/lowest.txt)"
"$python" -m pip install --quiet --disable-pip-version-check --constraint .venv-lowest/lowest.txt --editable ".[dev]"
exec "$python" -m pytest --numprocesses=auto --dist=worksteal -m "smoke and not slow" "$@"
