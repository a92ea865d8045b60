#!/usr/bin/env bash
# Checks and measures dgm_jax on the accelerator of this machine, without a network; one JSON file is the result.
#
#   bash scripts/accelerator_check.sh                 all parts
#   bash scripts/accelerator_check.sh --quick         a small part of each, also on a CPU
#   bash scripts/accelerator_check.sh --help          the parts and further options
#
#   PYTHON=python3.12   the interpreter, which has jax for the device (default: the first that has)
#   WHEELS=folder       wheels of what else is missing; they go to a temporary folder, and never replace the jax there is
#   MINUTES=5           of the paper's recipe
#   MANUAL_DIR=folder   the four published files of MNIST; without them the recipe runs on mnist5k
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

python=
for candidate in ${PYTHON:-python3.12 python3.13 python3.11 python3 python}; do
  if "$candidate" -c "import jax, sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "error: no Python from 3.11 on that imports jax is here; name it, e.g. PYTHON=/opt/venv/bin/python." >&2
  exit 2
fi

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
export PYTHONDONTWRITEBYTECODE=1
if [ -n "${WHEELS:-}" ]; then
  # an environment of its own that sees the packages of the interpreter, which may itself be of an environment
  "$python" -m venv --without-pip "$temp/venv"
  site=$("$temp/venv/bin/python" -c 'import site; print(site.getsitepackages()[0])')
  "$python" -c 'import sys; print(*[p for p in sys.path if p.endswith("-packages")], sep="\n")' >"$site/outside.pth"
  python=$temp/venv/bin/python
fi
# no exec: the trap has to run
"$python" "$root/scripts/accelerator_check.py" --temp="$temp" --wheels="${WHEELS:-}" --minutes="${MINUTES:-5}" \
  --manual_dir="${MANUAL_DIR:-}" "$@"
