#!/usr/bin/env bash
# Runs the fast tests; --all runs the slow ones too, --smoke a few of every package (about three minutes).  Further
# arguments go to pytest.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
select=(-m "not slow")
case "${1:-}" in
  --all) select=() && shift ;;
  --smoke) select=(-m "smoke and not slow") && shift ;;
esac
# worksteal gives each process the tests of whole files, which share compiled programs and fixtures
exec "$python" -m pytest --numprocesses=auto --dist=worksteal ${select[@]+"${select[@]}"} "$@"
