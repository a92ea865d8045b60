#!/usr/bin/env bash
# Runs the tests that are fast; --all runs the slow ones too.  Further arguments go to pytest.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
select=(-m "not slow")
if [ "${1:-}" = "--all" ]; then
  select=()
  shift
fi
exec "$python" -m pytest --numprocesses=auto ${select[@]+"${select[@]}"} "$@"
