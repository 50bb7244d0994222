#!/usr/bin/env bash
# Checks style (ruff) and runs the tests, after the same set-up as quickstart.sh.
#
#   bash launch/test.sh                                all tests that are not marked slow
#   bash launch/test.sh tests/layers -k causal         arguments are passed to pytest
set -euo pipefail
[[ "${1:-}" == --help || "${1:-}" == -h ]] && sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" && exit
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/setup.sh

read -r folder libtpu < <("$PYTHON" -m latent_jax.costs.libtpu)
if [[ ! -d "$folder" ]]; then
  say "the compiler of TPUs: $libtpu (213 MB)"
  "$PYTHON" -m pip install -qq --disable-pip-version-check --no-deps --target "$folder" "$libtpu" ||
    say "there is no $libtpu for this machine: the tests that compile for TPUs are skipped"
fi

say "ruff: lint and format"
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .

say "pytest"
"$PYTHON" -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal "$@"
say "all checks passed after ${SECONDS} s"
