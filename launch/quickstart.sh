#!/usr/bin/env bash
# Trains a small latent language model and a BPE language model on English that every Python carries, and
# compares them. Needs Python 3.11+ and a package index; no GPU, no data.
#
#   bash launch/quickstart.sh                                train, or go on where it was stopped
#   bash launch/quickstart.sh --config.KEY=VALUE ...         the same with other settings (see launch/train.py --help)
set -euo pipefail
[[ "${1:-}" == --help || "${1:-}" == -h ]] && sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" && exit
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/setup.sh

workdir=runs/quickstart
say "training configs/quickstart.py in $workdir"
"$PYTHON" launch/train.py --config configs/quickstart.py --workdir "$workdir" "$@"

say "finished after ${SECONDS} s"
