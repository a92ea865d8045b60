#!/usr/bin/env bash
# The documentation site, of all pages and docstrings, in .cache/docs/site/index.html; any warning is an error.
# The course has outputs there if scripts/build_course.sh has run before.
#   bash scripts/build_docs.sh serve   builds again at every change, on http://localhost:8000
DGM_EXTRAS=docs source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
"$python" scripts/docs/collect.py .cache/docs/pages
"$python" -m mkdocs "${1:-build}" --strict --config-file scripts/docs/mkdocs.yml
