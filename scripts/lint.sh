#!/usr/bin/env bash
# ruff, the types of the public packages, and that generated pages are up to date.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
bin=$(dirname "$python")
"$bin/ruff" check .
"$bin/ruff" format --check .
"$bin/basedpyright" --pythonpath "$python" --project scripts/pyright.json
JAX_PLATFORMS=cpu "$python" scripts/update_readme.py --check
