# Sourced by the other scripts: creates the virtual environment if needed, keeps it up to date, and sets $python.
#   PYTHON=python3.12        the interpreter (default: python3, or else the newest installed one of 3.11 to 3.13)
#   DGM_EXTRAS=tpu           further extras of setup.cfg, comma-separated; `cuda` is added if there is an NVIDIA GPU
# A script that does without the developers' packages sets `base_extras=` first; an environment that has more serves it too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

_version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
_supported() { case "$(_version "$1" || true)" in 3.11 | 3.12 | 3.13) ;; *) return 1 ;; esac; }

_choose_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
    if _supported "$candidate"; then
      echo "$candidate"
      return
    fi
    # pyenv's shims work only for activated versions
    if command -v pyenv >/dev/null && candidate=$(pyenv whence "$candidate" 2>/dev/null | tail -n 1) &&
      candidate="$(pyenv root)/versions/$candidate/bin/python" && _supported "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  echo "error: ${PYTHON:-python3} is not a working Python 3.11, 3.12 or 3.13; set one, e.g. PYTHON=python3.12." >&2
  return 1
}

venv=.venv
if [ -x .venv/bin/python ] && ! { _supported .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; }; then
  echo "error: .venv is not a working environment of Python 3.11 to 3.13; remove it to have it recreated." >&2
  exit 1
fi
if [ ! -x .venv/bin/python ] || [ -n "${PYTHON:-}" ]; then
  base=$(_choose_python)
  version=$(_version "$base")
  if [ -x .venv/bin/python ] && [ "$(_version .venv/bin/python)" != "$version" ]; then
    venv=.venv-$version # .venv has another Python version and is kept
  fi
  if [ ! -x "$venv/bin/python" ]; then
    echo "Creating $venv with Python $version ..."
    if ! "$base" -m venv "$venv" >/dev/null 2>&1; then # some systems ship Python without venv
      rm -rf "$venv"
      "$base" -m pip install --quiet --target "$venv.tools" virtualenv
      PYTHONPATH="$venv.tools" "$base" -m virtualenv --quiet "$venv"
      rm -rf "$venv.tools"
    fi
  fi
fi
python=$PWD/$venv/bin/python

extras=${base_extras-dev}
if command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU; then extras=$extras,cuda; fi
if [ -n "${DGM_EXTRAS:-}" ]; then extras=$extras,$DGM_EXTRAS; fi
extras=${extras#,}
metadata=$(cat setup.cfg pyproject.toml | cksum)

# Whether the environment was installed from this metadata with these extras, or with more.
_is_installed() {
  local stamp extra
  stamp=$(cat "$venv/.installed" 2>/dev/null || true)
  [ "${stamp#* }" = "$metadata" ] || return 1
  for extra in ${extras//,/ }; do
    case ",${stamp%% *}," in *",$extra,"*) ;; *) return 1 ;; esac
  done
}

if ! _is_installed; then
  package=.${extras:+[$extras]}
  echo "Installing dgm_jax${package#.} into $venv (once, a minute or two) ..."
  if ! "$python" -m pip install --disable-pip-version-check --editable "$package" >"$venv/install.log" 2>&1; then
    tail -n 30 "$venv/install.log" >&2
    echo "error: the installation failed; the full log is $venv/install.log." >&2
    exit 1
  fi
  echo "$extras $metadata" >"$venv/.installed"
fi
