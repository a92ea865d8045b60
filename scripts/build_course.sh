#!/usr/bin/env bash
# The notebooks of the course, in .cache/course: notebooks/ without outputs, with_outputs/ solved, pages/ for the site.
#   bash scripts/build_course.sh                    runs all, and fails where a text and its numbers differ
#   bash scripts/build_course.sh 01_coins           only this one
#   bash scripts/build_course.sh --record           also writes the numbers of this run to NN_topic.json and the texts
#   bash scripts/build_course.sh --no_outputs       notebooks/ alone: seconds
base_extras= DGM_EXTRAS=course source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" "$python" scripts/build_course.py "$@"
