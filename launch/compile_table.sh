#!/usr/bin/env bash
# Compiles the train steps of the big models for slices of TPUs and adds their records to one file.
#
#   bash launch/compile_table.sh [JSON]     configs/results/ahead_of_time.json
#
# It needs no TPU, but libtpu (launch/test.sh installs it), and takes one core about 2 minutes for each of 36 programs. A
# program whose record is in the file is not compiled again, so the script may be stopped and started again.
# launch/compile.py prints the tables of one program.
set -euo pipefail
[[ "${1:-}" == --help || "${1:-}" == -h ]] && sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" && exit
cd "$(dirname "${BASH_SOURCE[0]}")/.."
json="${1:-configs/results/ahead_of_time.json}"
PYTHON="${PYTHON:-$([[ -x .venv/bin/python ]] && echo .venv/bin/python || echo python3)}"

compile() { # compile NAME ROWS CONFIG [--config.KEY=VALUE ...]: on every slice, under every strategy
  local name="$1" rows="$2" config="$3" slice strategy
  for slice in v5e:4x4:16 v5e:16x16:256 v5p:2x2x4:16; do
    local n_chips="${slice##*:}"
    for strategy in pmap fsdp tensor; do
      "$PYTHON" launch/compile.py --config "$config" --topology "${slice%:*}" --program train --json "$json" --append \
        --config.name "$name" --config.batch_size $((rows * n_chips)) --config.training.strategy "$strategy" \
        --config.training.model_parallel $([[ "$strategy" == tensor ]] && echo 2 || echo 1) "${@:4}"
    done
  done
}

compile 'latent base' 8 configs/latent_lm.py:size=base,codes=4096
compile 'GPT-2 small' 8 'configs/language_model.py:size=base,method=BPE[v=50304]' \
  --config.row_length 1024 --config.model.dropout 0
compile 'M2 403m' 8 'configs/m2.py:size=403m,method=EqualInfoAC[b=16,v=65k]'
compile 'M2 2b' 8 'configs/m2.py:size=2b,method=EqualInfoAC[b=16,v=65k]'
