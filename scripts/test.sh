#!/usr/bin/env bash
# Runs the fast tests, or with --all also the slow ones.  Further arguments are passed to pytest.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
select=(-m "not slow")
if [ "${1:-}" = "--all" ]; then
  select=()
  shift
fi
exec "$python" -m pytest --numprocesses=auto ${select[@]+"${select[@]}"} "$@"
