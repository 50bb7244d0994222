#!/usr/bin/env bash
# Checks and measures the project on this machine's GPU, in a quarter of an hour or less, without a package index or a
# network.
#
#   bash launch/check_accelerator.sh speed [OUT]            5 minutes: training beside PyTorch; whether kernels compute
#                                                           the right numbers; the seconds to the first step; the steps
#                                                           of M1, M2 and the latent model; generation. Steps that no
#                                                           time is left for are named
#   bash launch/check_accelerator.sh m1 OUT TEXT...         7 minutes: M1 in the paper's size, its compiled code, and how
#                                                           fast it encodes
#   bash launch/check_accelerator.sh latent OUT TEXT...     10 minutes: the latent language model with conv1d and ssm, and
#                                                           BPE beside it
#
# TEXT are files such as text/enwiki_*.jsonl.xz; speed reads the documentation that Python carries. Every step has a time
# limit of its own, and writes its results to OUT (runs/accelerator) as soon as they are known: small JSON records, logs,
# M1's weights. A step that fails or runs out of time is named, and the next one begins. Run again into another OUT.
#
# PYTHON is the interpreter, by default .venv/bin/python if it exists, else python3. MODEL_SIZE and STEPS shrink
# everything for a rehearsal, and SLOWER multiplies all time limits, for a slower machine:
#   MODEL_SIZE=nano STEPS=2 SLOWER=10 JAX_PLATFORMS=cpu bash launch/check_accelerator.sh speed /tmp/rehearsal
set -euo pipefail
script="$(realpath "${BASH_SOURCE[0]}")"

usage() { sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$script"; }

fail() {
  printf 'error: %s\n' "$1" >&2
  exit 2
}

part="${1:-}"
out="$(realpath -m "${2:-$(dirname "$script")/../runs/accelerator}")"
text=()
for file in "${@:3}"; do text+=("$(realpath -m "$file")"); done
cd "$(dirname "$script")/.."
case "$part" in
speed) limit=300 ;;
m1) limit=420 ;;
latent) limit=600 ;;
*)
  usage
  [[ "$part" == --help || "$part" == -h ]] && exit 0
  exit 2
  ;;
esac
if [[ "$part" != speed && ${#text[@]} == 0 ]]; then
  fail "$part needs text: bash launch/check_accelerator.sh $part OUT text/*.jsonl.xz"
fi

slower="${SLOWER:-1}"
[[ "$slower" =~ ^[1-9][0-9]*$ ]] || fail "SLOWER=$slower multiplies times: give a whole number of at least 1"
[[ "${STEPS:-1}" =~ ^[1-9][0-9]*$ ]] || fail "STEPS=$STEPS: give a whole number of at least 1"
limit=$((limit * slower))
PYTHON="${PYTHON:-$([[ -x .venv/bin/python ]] && echo .venv/bin/python || echo python3)}"
command -v "$PYTHON" >/dev/null || fail "PYTHON=$PYTHON is no program: give the path of an interpreter"
for file in "${text[@]}"; do
  [[ -r "$file" ]] || fail "there is no text $file that can be read"
done
mkdir -p "$out" 2>/dev/null && [[ -w "$out" ]] || fail "records cannot be written to $out: name another folder"
# The steps share their compiled programs.
export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$out/programs}"
export PYTHONUNBUFFERED=1
# Seconds between SIGTERM, on which a command saves, and SIGKILL: while it compiles, it does not react to SIGTERM.
grace=10
failed=0

say() { printf '==> %3d s  %s\n' "$SECONDS" "$*"; }

step() { # step NAME SECONDS COMMAND...: runs it within its time, and within that of the part
  local name="$1" seconds=$(($2 * slower)) left=$((limit - grace - SECONDS)) status=0 why
  ((seconds <= left)) || seconds=$left
  if ((seconds < 5)); then
    say "$name: left out, the $limit s are over"
    failed=1
    return
  fi
  say "$name (at most $seconds s)"
  timeout --kill-after="$grace" "$seconds" "${@:3}" >"$out/$name.log" 2>&1 || status=$?
  if ((status == 0)); then
    tail -n 12 "$out/$name.log"
    return
  fi
  why="failed with status $status"
  ((status != 124 && status != 137)) || why="not done within $seconds s"
  say "$name: $why, see $out/$name.log"
  tail -n 3 "$out/$name.log"
  failed=1
}

files() { # the texts as a tuple for --config.data.files
  printf '('
  printf "'%s'," "${text[@]}"
  printf ')'
}

speed() {
  local size="${MODEL_SIZE:-base}" n="${STEPS:-10}" small="${MODEL_SIZE:+100k}" m1="${MODEL_SIZE:-3m}"
  # One after the other: XLA times kernels while it compiles, and another program on the GPU would distort its choice.
  local peer=(train "--n_steps=$n" --steps_per_turn=5)
  local generate=(generate --lanes=1,8,64,512 --n_steps=2)
  if [[ -n "${MODEL_SIZE:-}" ]]; then
    peer+=(--row_length=64 --batch_size=2)
    generate=(generate --lanes=1,2 --n_steps=1 --n_new=32)
  else
    peer+=(--vocab_size=50304 --row_length=1024 --batch_size=32 --n_layers=12 --d_model=768 --n_heads=12)
  fi
  local configs=(
    "configs/m1.py:size=$m1"
    "configs/m2.py:method=EqualInfoAC[b=16,v=65k],size=${small:-25m}"
    "configs/m2.py:method=Bytes,size=${small:-25m}"
    "configs/latent_lm.py:size=$size,codes=4096"
  )
  local words=(step "--n_steps=$n" --json "$out/accelerator_steps.json" --append) config name

  step peer 100 "$PYTHON" launch/benchmark.py "${peer[@]}" --json "$out/accelerator_peer.json" \
    --profile 3 --profile_dir "$out/profile_peer"
  step agreement 60 "$PYTHON" launch/benchmark.py agreement --json "$out/accelerator_agreement.json"
  step first_step 75 "$PYTHON" launch/train.py --config "configs/m1.py:size=$m1" --workdir "$out/first_step" \
    --config.data.num_workers=8 --config.budget.bytes=0 --config.budget.steps=20 \
    --config.optimizer.warmup_steps=1 --config.training.eval_every=0
  for config in "${configs[@]}"; do
    name="$(tr -c 'A-Za-z0-9\n' '_' <<<"${config#configs/}")"
    step "step_$name" 120 "$PYTHON" launch/benchmark.py "${words[@]}" --config "$config" \
      --profile 3 --profile_dir "$out/profile_$name"
  done
  step generate 60 "$PYTHON" launch/benchmark.py "${generate[@]}" --json "$out/accelerator_generation.json"
}

m1() {
  local run="$out/m1" m1="${MODEL_SIZE:-3m}" steps="${STEPS:-16000}" data=("--config.data.source=files")
  local lanes="${MODEL_SIZE:+2,4}"
  local every=$((steps / 8 + 1)) # evaluate and save at the same steps, so that a run that is cut short has a best checkpoint
  data+=("--config.data.files=$(files)")
  step train_m1 260 "$PYTHON" launch/train.py --config "configs/m1.py:size=$m1,optimizer=adamw" --workdir "$run" \
    "${data[@]}" --config.data.num_workers=8 --config.budget.bytes=0 "--config.budget.steps=$steps" \
    --config.optimizer.warmup_steps=$((steps / 20 + 1)) --config.training.eval_every="$every" \
    --config.training.save_every="$every"
  step export_m1 30 "$PYTHON" launch/prepare.py m1 --workdir "$run" --out "$out/m1.msgpack"
  step compile_code 60 "$PYTHON" launch/prepare.py compile --m1 "$out/m1.msgpack" --out "$out/code"
  step encode 60 "$PYTHON" launch/benchmark.py m1 --data "$(IFS=,; echo "${text[*]}")" --max_bytes=4000000 \
    --m1 "$out/m1.msgpack" "--lanes=${lanes:-64,1024}" --seconds=5 --json "$out/accelerator_m1.json"
}

latent() {
  local size="${MODEL_SIZE:-small}" data=("--config.data.source=files") runs=() name config
  data+=("--config.data.files=$(files)" --config.data.num_workers=8
    --config.evaluation_bytes=500000 --config.training.eval_every=250 --config.training.save_every=0)
  if [[ -n "${STEPS:-}" ]]; then
    data+=(--config.budget.bytes=0 "--config.budget.steps=$STEPS" --config.optimizer.warmup_steps=1)
  else
    data+=(--config.budget.bytes=1.2e8)
  fi
  local -A configs=(
    [conv1d]="configs/latent_lm.py:size=$size,compressor=conv1d,c=2,codes=4096,beta=0.1"
    [ssm]="configs/latent_lm.py:size=$size,compressor=ssm,c=2,codes=4096,beta=0.1"
    [bpe]="configs/language_model.py:method=BPE[v=4096],size=$size"
  )
  for name in conv1d bpe ssm; do
    config="${configs[$name]}"
    step "latent_$name" 180 "$PYTHON" launch/train.py --config "$config" --workdir "$out/$name" "${data[@]}"
    if grep -qs '"validation"' "$out/$name/metrics.jsonl"; then runs+=("$out/$name"); fi
  done
  step report 40 "$PYTHON" launch/report.py "${runs[@]}" --results "$out/accelerator_latent.json"
}

"$part"
say "done; records in $out"
exit "$failed"
