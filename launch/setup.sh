# Sourced by the other scripts of this folder, never run by itself: finds Python 3.11 or newer, keeps .venv up
# to date with requirements.txt, and sets
#
#   PYTHON    the interpreter of .venv
#   say       a function that prints one line of progress
#
# The caller must be in the root of the repository. .venv/installed-from records what was installed, so a
# run that finds nothing new does nothing and needs no network.

say() { printf '==> %s\n' "$*"; }

fail() {
  printf 'error: %s\n' "$1" >&2
  (($# == 1)) || printf '       %s\n' "${@:2}" >&2
  exit 1
}

version_of() { # version_of PYTHON: prints "3.12.1", or nothing where this is no working Python
  "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null || true
}

is_new_enough() { # is_new_enough VERSION
  local major minor
  IFS=. read -r major minor _ <<<"$1"
  [[ -n "$minor" ]] && ((major > 3 || (major == 3 && minor >= 11)))
}

find_python() { # prints the first working Python 3.11+; lists what it found instead when there is none
  local candidate version found=""
  for candidate in ${LATENT_JAX_PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
    version="$(version_of "$candidate")"
    [[ -n "$version" ]] || continue
    if is_new_enough "$version"; then
      printf '%s\n' "$candidate"
      return
    fi
    found+="${found:+, }$candidate is $version"
  done
  fail "this project needs Python 3.11 or newer; found: ${found:-no working Python}." \
    "Get one from https://www.python.org/downloads, with 'apt install python3.12 python3.12-venv'," \
    "'brew install python@3.12' or 'conda create -n latent python=3.12', and run this script again." \
    "A Python outside of PATH is named like this: LATENT_JAX_PYTHON=/opt/python/bin/python3 bash $0"
}

wanted() { # everything that decides what is installed; also the path, because a moved .venv points to the old one
  printf '# %s\n' "$PWD"
  cat requirements.txt pyproject.toml
}

PYTHON=.venv/bin/python
INSTALLED_FROM=.venv/installed-from

if [[ -f "$INSTALLED_FROM" ]] && is_new_enough "$(version_of "$PYTHON")" &&
  wanted | cmp -s - "$INSTALLED_FROM"; then
  say "set-up: .venv is up to date (Python $(version_of "$PYTHON"))"
else
  # An assignment of its own, because `local` or `say` with $(...) would hide a failure inside it.
  base_python="$(find_python)"
  rm -f "$INSTALLED_FROM" # an installation that is cut off is started again by the next run
  if ! is_new_enough "$(version_of "$PYTHON")" || ! "$PYTHON" -m pip --version >/dev/null 2>&1; then
    say "set-up: making .venv with $base_python (Python $(version_of "$base_python"))"
    "$base_python" -m venv --clear .venv || fail \
      "$base_python could not make a virtual environment in $PWD/.venv (see above)." \
      "On Debian and Ubuntu the module is a package of its own: apt install python3-venv"
  fi
  say "set-up: installing requirements.txt into .venv (1 to 3 minutes, only when it changed)"
  "$PYTHON" -m pip install -qq --disable-pip-version-check -r requirements.txt || fail \
    "pip could not install requirements.txt (see above); nothing is marked as installed." \
    "Check the network or the package index (PIP_INDEX_URL) and the disk, and run this script again."
  wanted >"$INSTALLED_FROM"
  say "set-up: done in ${SECONDS} s"
fi
