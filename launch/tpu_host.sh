#!/usr/bin/env bash
# The part of launch/tpu_vm.sh that runs on each host of a TPU slice, in the folder that was copied there. A
# command runs in a session of its own, so that a lost connection does not end it; its log, process id and exit
# status lie in ~/latent_jax_run.
#
#   bash launch/tpu_host.sh unpack REVISION   replace ~/latent_jax by ~/latent_jax.tar.gz, unless a command runs there
#   bash launch/tpu_host.sh install           install Python, the project, jax[tpu] and the reader of gs://
#   bash launch/tpu_host.sh start COMMAND     start the command, unless it runs already
#   bash launch/tpu_host.sh follow LINES      show the log from its last LINES (+1: from its start) until the end
#   bash launch/tpu_host.sh status            print "running COMMAND", "ended STATUS", or "none"
#   bash launch/tpu_host.sh stop              send SIGTERM, on which a run saves, and wait until the command has ended
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

RUN="$HOME/latent_jax_run"
STOP_SECONDS=300
START_SECONDS=10
POLL_SECONDS="${LATENT_JAX_POLL_SECONDS:-1}" # tests ask more often
BOOT=/proc/sys/kernel/random/boot_id

say() { printf '%s: %s\n' "$(hostname)" "$*"; }

is_running() { # checks the boot id too, because after a restart another process may have the same number
  [[ -f "$RUN/pid" && ! -f "$RUN/status" && "$(<"$RUN/boot")" == "$(<"$BOOT")" ]] &&
    kill -0 "$(<"$RUN/pid")" 2>/dev/null
}

unpack() {
  if is_running; then
    say "a command runs here, and its tree stays: $(<"$RUN/command")" >&2
    say "stop it first (launch/tpu_vm.sh stop)" >&2
    return 1
  fi
  mkdir -p "$HOME/latent_jax"
  cd "$HOME/latent_jax"
  # Remove files of an earlier tree; keep the environment and local runs.
  find . -mindepth 1 -maxdepth 1 ! -name .venv ! -name runs -exec rm -rf {} +
  tar -xzf ../latent_jax.tar.gz
  echo "$1" >.revision
}

install() {
  if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    # The images of TPU VMs have Python 3.10; uv installs a newer one beside the system's.
    python3 -m pip install -q --user uv
    "$HOME/.local/bin/uv" python install -q 3.12
    LATENT_JAX_PYTHON="$("$HOME/.local/bin/uv" python find 3.12)"
    export LATENT_JAX_PYTHON
  fi
  source launch/setup.sh
  "$PYTHON" -m pip install -qq --disable-pip-version-check -e ".[tpu,gs]"
}

start() {
  mkdir -p "$RUN"
  local command
  command="$(printf '%q ' "$@")"
  if is_running; then
    [[ "$command" == "$(<"$RUN/command")" ]] && say "runs already" && return
    say "another command runs here: $(<"$RUN/command")" >&2
    say "stop it first (launch/tpu_vm.sh stop)" >&2
    return 1
  fi
  rm -f "$RUN/pid" "$RUN/status"
  printf '%s\n' "$command" >"$RUN/command"
  setsid bash launch/tpu_host.sh supervise "$@" </dev/null >"$RUN/log" 2>&1 &
  for ((SECONDS = 0; SECONDS < START_SECONDS; )); do
    [[ -f "$RUN/pid" ]] && say "started" && return
    sleep 0.02
  done
  say "the command did not start: $(<"$RUN/log")" >&2
  return 1
}

supervise() {
  trap : TERM # a machine that is preempted sends it to all processes, and this one must outlive the command
  export JAX_DISTRIBUTED=1 PATH="$PWD/.venv/bin:$PATH" LATENT_JAX_REVISION="$(<.revision)"
  "$@" &
  local child=$! code=0
  cat "$BOOT" >"$RUN/boot"
  echo "$child" >"$RUN/pid"
  while kill -0 "$child" 2>/dev/null; do wait "$child" || true; done
  wait "$child" || code=$?
  echo "$code" >"$RUN/status"
}

follow() {
  [[ -f "$RUN/log" ]] || return 0
  if is_running; then
    tail -n "$1" -f -s "$POLL_SECONDS" --pid="$(<"$RUN/pid")" "$RUN/log"
  else
    tail -n "$1" "$RUN/log"
  fi
}

status() {
  if is_running; then
    echo "running $(<"$RUN/command")"
  else
    # The supervisor writes the status a moment after the command has ended; after a restart of the machine it never does.
    for ((i = 0; i < 100; i++)); do
      [[ -f "$RUN/pid" && ! -f "$RUN/status" && "$(<"$RUN/boot")" == "$(<"$BOOT")" ]] || break
      sleep 0.02
    done
    if [[ -f "$RUN/status" ]]; then echo "ended $(<"$RUN/status")"; else echo "none"; fi
  fi
}

stop() {
  is_running || return 0
  kill -TERM "$(<"$RUN/pid")"
  for ((SECONDS = 0; SECONDS < STOP_SECONDS; )); do
    is_running || { say "stopped" && return; }
    sleep "$POLL_SECONDS"
  done
  say "still runs after $STOP_SECONDS s" >&2
  return 1
}

case "${1:-}" in
unpack | install | start | supervise | follow | status | stop) "$@" ;;
*)
  sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  [[ "${1:-}" == --help || "${1:-}" == -h ]] && exit 0
  exit 2
  ;;
esac
