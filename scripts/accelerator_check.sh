#!/usr/bin/env bash
# Checks and measures dgm_jax on the accelerator of this machine, without network access; writes one JSON file.
#
#   bash scripts/accelerator_check.sh                 all parts
#   bash scripts/accelerator_check.sh --quick         a small part of each; works on a CPU, too
#   bash scripts/accelerator_check.sh --help          the parts and further options
#
#   PYTHON=python3.12   an interpreter with jax installed for the device (default: the first one found)
#   WHEELS=folder       wheels of missing packages, installed into a temporary folder; the installed jax is kept
#   MINUTES=5           duration of the paper's recipe
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
  echo "error: found no Python 3.11 or later that imports jax; set it, e.g. PYTHON=/opt/venv/bin/python." >&2
  exit 2
fi

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
export PYTHONDONTWRITEBYTECODE=1
if [ -n "${WHEELS:-}" ]; then
  # a separate environment that sees the packages of the interpreter, even if that belongs to an environment itself
  "$python" -m venv --without-pip "$temp/venv"
  site=$("$temp/venv/bin/python" -c 'import site; print(site.getsitepackages()[0])')
  "$python" -c 'import sys; print(*[p for p in sys.path if p.endswith("-packages")], sep="\n")' >"$site/outside.pth"
  python=$temp/venv/bin/python
fi
# no exec, so that the trap runs
"$python" "$root/scripts/accelerator_check.py" --temp="$temp" --wheels="${WHEELS:-}" --minutes="${MINUTES:-5}" \
  --manual_dir="${MANUAL_DIR:-}" "$@"
