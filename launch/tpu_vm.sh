#!/usr/bin/env bash
# Trains on a Cloud TPU: one VM or a slice of many hosts, made, set up, watched and deleted from here.
#
#   bash launch/tpu_vm.sh run --name lat --type v5litepod-16 --zone us-east5-a --project P --spot \
#       -- --config configs/latent_lm.py:size=small --workdir gs://BUCKET/runs/lat
#
# makes the slice "lat" (or attaches to it), copies the committed tree to every host, installs it, starts
# `python launch/train.py` with these flags on all hosts and shows the log until the end. When the slice is
# preempted, it is made anew and the same command is started again: a run resumes from its last checkpoint. Ctrl-C
# does not end the run; the same line shows its log again. A slice of several hosts needs a --workdir in a bucket.
#
# Commands
#   run       all of the above; ends with the exit status of the command
#   create    make the slice and wait until it is ready; changes nothing if it exists
#   install   copy the committed tree (HEAD) to all hosts and install it with launch/setup.sh; refused while a
#             command runs there
#   start     start the command after -- on all hosts; it goes on when this terminal is closed
#   logs      show the log of one host (--worker, by default 0) until the end
#   status    show the state of the slice and, if it is READY, of the command on every host
#   stop      send SIGTERM to the command on all hosts: it saves and ends
#   fetch     copy --from (a folder on the first host, or gs://...) into the local folder --to
#   delete    delete the slice, and its request if it was --queued
#
# Options of all commands
#   --name NAME              of the slice (required)
#   --zone ZONE              such as us-east5-a (required)
#   --project PROJECT        by default the one gcloud is set to
#   --dry_run                print every call of gcloud and of git archive, and do none of them, as if the slice were
#                            absent and every call succeeded
#
# Options of some commands
#   --type TYPE              (run, create) v4-8, v5litepod-16, v5p-32, v6e-64, ...
#   --spot                   (run, create) cheaper, and may be preempted at any time
#   --queued                 (run, create, delete) ask for a queued resource, which waits until there is capacity
#   --runtime_version V      (run, create) the image; by default the one for the type
#   --service_account A      (run, create) account whose rights the hosts get, such as to write the bucket
#   --network N              (run, create)
#   --subnetwork N           (run, create)
#   --max_restarts N         (run, create) how often a slice that is gone is made again (100)
#   --env KEY=VALUE          (run, start) environment variable for the command; may be repeated
#   --worker N               (run, logs) number of the host whose log is shown
#   --delete                 (run) delete the slice once the command has succeeded
#   --from PATH              (fetch) a folder on the first host, or gs://...
#   --to FOLDER              (fetch) a local folder
#
# The command of run and start follows --. If it begins with "--", it is flags of `python launch/train.py`.
# Needs the gcloud CLI, logged in (gcloud auth login), with the TPU API on and quota for the type; and bash 4.4 or
# newer, which macOS does not have (brew install bash).
set -euo pipefail
# Checked here, because an older bash could not parse the lines below.
if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
  printf 'error: this is bash %s, and launch/tpu_vm.sh needs 4.4 or newer: brew install bash\n' "$BASH_VERSION" >&2
  exit 2
fi
here="$PWD"
cd "$(dirname "${BASH_SOURCE[0]}")/.."

POLL_SECONDS="${LATENT_JAX_POLL_SECONDS:-20}" # tests ask more often
PREEMPTION_POLLS=6                            # until a slice whose hosts go away is no longer READY
ANSWER_TRIES=15                               # a new host takes no connection for a while

say() { printf '==> %s\n' "$*" >&2; }

fail() {
  printf 'error: %s\n' "$1" >&2
  (($# == 1)) || printf '       %s\n' "${@:2}" >&2
  exit 2
}

help() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

# ---- the command line

VERBS="run create install start logs status stop fetch delete"
name="" zone="" type="" project="" runtime_version="" service_account="" network="" subnetwork=""
spot=0 queued=0 dry_run=0 delete_after=0 worker=0 from="" to="" max_restarts=100 restarts=0
environment=() command=() given=()

parse() {
  local option value
  while (($#)); do
    option="$1"
    shift
    given+=("${option%%=*}")
    case "$option" in
    --) command=("$@") && break ;;
    --spot) spot=1 && continue ;;
    --queued) queued=1 && continue ;;
    --dry_run) dry_run=1 && continue ;;
    --delete) delete_after=1 && continue ;;
    --*=*) value="${option#*=}" option="${option%%=*}" ;;
    --*)
      # What begins with "--" is the next option: a value that is missing must not swallow --dry_run.
      (($#)) && [[ "$1" != --* ]] || fail "$option needs a value; see bash launch/tpu_vm.sh --help"
      value="$1"
      shift
      ;;
    *) fail "unexpected '$option': the command of the run stands after --" ;;
    esac
    case "$option" in
    --name) name="$value" ;;
    --zone) zone="$value" ;;
    --type) type="$value" ;;
    --project) project="$value" ;;
    --runtime_version) runtime_version="$value" ;;
    --service_account) service_account="$value" ;;
    --network) network="$value" ;;
    --subnetwork) subnetwork="$value" ;;
    --env) environment+=("$value") ;;
    --worker) worker="$value" ;;
    --from) from="$value" ;;
    --to) to="$value" ;;
    --max_restarts) max_restarts="$value" ;;
    *) fail "unknown option $option; see bash launch/tpu_vm.sh --help" ;;
    esac
  done
  if ((${#command[@]})) && [[ "${command[0]}" == --* ]]; then
    command=(python launch/train.py "${command[@]}")
  fi
  if ((${#environment[@]} && ${#command[@]})); then command=(env "${environment[@]}" "${command[@]}"); fi
}

verbs_of() { # verbs_of OPTION: which commands use it
  case "$1" in
  --type | --spot | --runtime_version | --service_account | --network | --subnetwork | --max_restarts) echo run create ;;
  --queued) echo run create delete ;;
  --env | --) echo run start ;;
  --worker) echo run logs ;;
  --delete) echo run ;;
  --from | --to) echo fetch ;;
  *) echo "$VERBS" ;;
  esac
}

check() { # check ACTION
  local option verbs
  for option in "${given[@]}"; do
    verbs="$(verbs_of "$option")"
    [[ " $verbs " == *" $1 "* ]] || fail "$1 does not use $option: it is for ${verbs// /, }"
  done
  [[ "$name" =~ ^[a-z]([-a-z0-9]*[a-z0-9])?$ ]] || fail \
    "--name is '${name}': name the slice with small letters, digits and '-', such as --name lat"
  [[ -n "$zone" ]] || fail "--zone is missing: in which zone is $name, such as --zone us-east5-a"
  case "$1" in
  run | create)
    if [[ -z "$runtime_version" ]]; then
      runtime_version="$(runtime_of "$type")" || fail \
        "${type:+unknown }--type ${type:-is missing}: give v2-*, v3-*, v4-*, v5litepod-*, v5p-* or v6e-*, such as v5litepod-16" \
        "Another one needs --runtime_version too. TPU7x is not served by this API (gcloud compute tpus)."
    fi
    ;;&
  run | start)
    ((${#command[@]})) || fail "what shall run? Give the command after --, such as" \
      "-- --config configs/latent_lm.py --workdir gs://BUCKET/runs/lat"
    local pair
    for pair in ${environment[@]+"${environment[@]}"}; do
      [[ "$pair" =~ ^[A-Za-z_][A-Za-z0-9_]*= ]] || fail "--env is '$pair': write KEY=VALUE"
    done
    ;;&
  run)
    local workdir
    workdir="$(workdir_of "${command[@]}")"
    if has_several_hosts "$type" && [[ "${command[*]}" =~ (^|[ /])train\.py( |$) && "$workdir" != gs://* ]]; then
      fail "$type has several hosts, which share no disk, and --workdir is ${workdir:-not given}: give it in a bucket" \
        "such as --workdir gs://BUCKET/runs/$name"
    fi
    ;;
  fetch) [[ -n "$from" && -n "$to" ]] || fail "fetch needs --from (a folder on the host, or gs://...) and --to" ;;
  esac
  [[ "$worker" =~ ^[0-9]+$ ]] || fail "--worker is '$worker': give the number of a host, 0 is the first"
  if [[ -n "$type" ]] && ! has_several_hosts "$type" && ((10#$worker > 0)); then
    fail "--worker is $worker, and $type has one host: leave it out"
  fi
  [[ "$max_restarts" =~ ^[0-9]+$ ]] || fail "--max_restarts is '$max_restarts': give a whole number, such as 100"
  ((dry_run)) || type -P gcloud >/dev/null || fail \
    "gcloud is not installed: see https://cloud.google.com/sdk/docs/install, or look with --dry_run"
}

runtime_of() { # runtime_of TYPE, see https://cloud.google.com/tpu/docs/runtimes
  [[ "$1" =~ ^(v2|v3|v4|v5litepod|v5p|v6e)-[1-9][0-9]*$ ]] || return 1
  case "$1" in
  v5litepod-*) echo v2-alpha-tpuv5-lite ;;
  v5p-*) echo v2-alpha-tpuv5 ;;
  v6e-*) echo v2-alpha-tpuv6e ;;
  *) echo tpu-ubuntu2204-base ;;
  esac
}

# The number in a type: for v2, v3, v4 and v5p it counts cores, and a host has 4 chips of 2 cores; for v5litepod and v6e
# it counts chips, and up to 8 are on one host. So for every type, more than 8 means several hosts.
# The tables of https://cloud.google.com/tpu/docs/v5e (and /v4, /v5p, /v6e) say how many hosts a type has.
has_several_hosts() { # has_several_hosts TYPE
  runtime_of "$1" >/dev/null && ((10#${1##*-} > 8))
}

workdir_of() { # workdir_of COMMAND: the value of its last --workdir, as absl reads it; nothing without one
  local value=""
  while (($#)); do
    case "$1" in
    --workdir=* | -workdir=*) value="${1#*=}" ;;
    --workdir | -workdir) value="${2:-}" ;;
    esac
    shift
  done
  printf '%s' "$value"
}

# ---- gcloud: each call is printed before it runs

show() {
  local word line="+"
  for word in "$@"; do
    [[ "$word" =~ ^[A-Za-z0-9_./:=@%+~-]+$ ]] || word="${word@Q}"
    line+=" $word"
  done
  printf '%s\n' "$line" >&2
}

cloud() {
  show gcloud "$@"
  ((dry_run)) || gcloud "$@"
}

ask() { # ask ASSUMED ARGUMENTS: prints the answer of a call that changes nothing; ASSUMED in a dry run
  show gcloud "${@:2}"
  if ((dry_run)); then printf '%s\n' "$1"; else gcloud "${@:2}"; fi
}

place() { # the options that every call shares, in the array `at`
  at=(--zone "$zone")
  [[ -z "$project" ]] || at+=(--project "$project")
}

on_host() { # on_host WORKER ARGUMENTS OF tpu_host.sh
  cloud compute tpus tpu-vm ssh "$name" --worker "$1" "${at[@]}" --command "$(host_line "${@:2}")"
}

host_line() { printf 'bash latent_jax/launch/tpu_host.sh%s' "$(printf ' %q' "$@")"; }

# ---- the slice

state_of() { # state_of KIND ASSUMED: prints the slice's state, nothing if there is no slice; fails without an answer
  local field=state
  [[ "$1" == tpu-vm ]] || field=state.state
  local call=(compute tpus "$1" describe "$name" "${at[@]}" --format "value($field)")
  show gcloud "${call[@]}"
  if ((dry_run)); then printf '%s\n' "$2" && return; fi
  gcloud "${call[@]}" 2>"$errors" && return
  grep -q NOT_FOUND "$errors" && return
  cat "$errors" >&2
  return 1
}

create() {
  local kind=tpu-vm state="" shown="" assumed="" answered=0 silent=0 made=0 removed=0 absent=0
  ((queued)) && kind=queued-resources
  while :; do
    if ! state="$(state_of "$kind" "$assumed")"; then
      # If gcloud has answered before, it may answer again; if it never did, the arguments are probably wrong.
      ((answered + restarts && ++silent < ANSWER_TRIES)) || exit 1
      sleep "$POLL_SECONDS"
      continue
    fi
    answered=1 silent=0
    [[ "$state" == "$shown" ]] || say "$name is ${state:-not there}"
    shown="$state"
    case "$kind $state" in
    *" READY") return ;;
    "queued-resources ACTIVE") kind=tpu-vm assumed=READY ;; # the request is granted; its node follows
    "queued-resources FAILED")
      fail "the request for $name has failed, and would again. gcloud says:" "$(reason)" \
        "Mend that, delete the request and start the same line again: $(again delete)"
      ;;
    *" PREEMPTED" | *" TERMINATED" | *" SUSPENDED")
      say "$name is gone ($state)"
      replace
      ;;
    *" STOPPED" | *" STOPPING")
      fail "$name is $state: start it with gcloud compute tpus tpu-vm start $name --zone $zone"
      ;;
    "tpu-vm ")
      if ((!queued)); then
        put
      elif ((++absent > PREEMPTION_POLLS)); then
        say "the request for $name is granted, and there is no slice"
        replace
      else
        sleep "$POLL_SECONDS"
      fi
      ;;
    "queued-resources ") put ;;
    *) sleep "$POLL_SECONDS" ;; # CREATING, WAITING_FOR_RESOURCES, PROVISIONING, REPAIRING, DELETING, ...
    esac
  done
}

put() { # of create: makes what is absent
  if ((made)); then again_after "went away before it was ready"; fi
  say "making $name: $type, $runtime_version"
  made=0 removed=0
  if make; then
    made=1
  else
    # A request that fails at first is wrong or asks too much. If there was a slice before, there may be room later.
    ((restarts)) || fail "gcloud could not make $name (see above)"
    again_after "could not be made"
  fi
  if ((queued)); then assumed=ACTIVE; else assumed=READY; fi
}

replace() { # of create: removes what is gone, so that it is made again
  if ((made)); then again_after "went away before it was ready"; fi
  if ((removed)) || ! remove; then again_after "could not be deleted"; fi
  made=0 removed=1 absent=0 kind=tpu-vm
  ((!queued)) || kind=queued-resources
}

again_after() { # again_after EVENT: counts what happened to the slice, and waits before it is made again
  ((++restarts <= max_restarts)) || fail \
    "$name $1, after $max_restarts restarts (--max_restarts); the same line tries again"
  say "$name $1; making it again ($restarts of at most $max_restarts)"
  sleep "$POLL_SECONDS"
}

reason() { # what gcloud knows of a request that failed
  ask "" compute tpus queued-resources describe "$name" "${at[@]}" --format "yaml(state)" ||
    echo "nothing more (see above)"
}

make() {
  local options=(--accelerator-type "$type")
  ((spot)) && options+=(--spot)
  [[ -z "$service_account" ]] || options+=(--service-account "$service_account")
  [[ -z "$network" ]] || options+=(--network "$network")
  [[ -z "$subnetwork" ]] || options+=(--subnetwork "$subnetwork")
  options+=(--scopes https://www.googleapis.com/auth/cloud-platform)
  if ((queued)); then
    cloud compute tpus queued-resources create "$name" --node-id "$name" "${at[@]}" \
      --runtime-version "$runtime_version" "${options[@]}"
  else
    cloud compute tpus tpu-vm create "$name" "${at[@]}" --version "$runtime_version" "${options[@]}"
  fi
}

remove() {
  if ((queued)); then
    cloud compute tpus queued-resources delete "$name" "${at[@]}" --force --quiet
  else
    cloud compute tpus tpu-vm delete "$name" "${at[@]}" --quiet
  fi
}

# ---- the project on its hosts

install() {
  local revision changed archive
  revision="$(git rev-parse HEAD)" && changed="$(git status --porcelain)" || fail \
    "$PWD is no git repository with a commit, and what is committed is what would be copied"
  [[ -z "$changed" ]] || say "not copied, because it is not committed:"$'\n'"$(head -20 <<<"$changed")"
  say "copying the tree of commit ${revision::12} to all hosts"
  archive="${TMPDIR:-/tmp}/latent_jax-${revision::12}.tar.gz"
  local pack=(git archive --format tar.gz --output "$archive" HEAD)
  show "${pack[@]}"
  ((dry_run)) || "${pack[@]}" || fail "the tree could not be packed"
  # The new tree's script unpacks it: it knows whether a command runs in the old one.
  cloud compute tpus tpu-vm scp "$archive" "$name:latent_jax.tar.gz" --worker all "${at[@]}" &&
    cloud compute tpus tpu-vm ssh "$name" --worker all "${at[@]}" --command \
      "tar -xzOf latent_jax.tar.gz launch/tpu_host.sh >latent_jax.sh && bash latent_jax.sh unpack $revision" &&
    say "installing on all hosts (2 to 4 minutes the first time)" &&
    on_host all install
}

start() {
  say "starting on all hosts: ${command[*]}"
  on_host all start "${command[@]}"
}

host_status() { # host_status ASSUMED: what tpu_host.sh says of the command on the host that is watched
  local answer host=latent_jax/launch/tpu_host.sh
  answer="$(ask "$1" compute tpus tpu-vm ssh "$name" --worker "$worker" "${at[@]}" --command \
    "if [ -f $host ]; then bash $host status; else echo none; fi")" || return
  [[ "$answer" =~ ^(running\ .*|ended\ [0-9]+|none)$ ]] || return
  printf '%s\n' "$answer"
}

is_gone() { # is_gone POLLS: whether the slice is not READY any more; asks POLLS times again while it is READY
  local polls state
  for ((polls = 0; ; polls++)); do
    state="$(state_of tpu-vm READY)" || state=READY # no answer does not mean that it is gone
    [[ "$state" == READY ]] || return 0
    ((polls < $1)) || return 1
    sleep "$POLL_SECONDS"
  done
}

# Sets `outcome` to the command's status on the host, or to "gone" if there is no slice. No answer does not mean "none":
# a command may be running there.
look() {
  local tries
  for ((tries = 1; ; tries++)); do
    outcome="$(host_status none)" && return
    is_gone 0 && outcome=gone && return
    ((tries < ANSWER_TRIES)) || fail \
      "$name is READY, but host $worker does not say whether a command runs there (asked $tries times, see above)" \
      "Nothing was changed on it. Look with $(again status)"
    sleep "$POLL_SECONDS"
  done
}

# Shows the log and sets `outcome`: "ended STATUS", or "gone" if the slice is gone or its host was started anew.
follow() {
  local lines="+1" polls
  while :; do
    on_host "$worker" follow "$lines" || true # a connection may break
    lines=20 polls=0
    outcome="$(host_status "ended 0")" || outcome=unknown
    # When a slice is taken away, a command ends by SIGTERM (143), or because another host is lost (75; 134 if JAX
    # aborts). With another status, the command would end in the same way again.
    [[ ! "$outcome" =~ ^ended\ (143|75|134)$ ]] || polls=$PREEMPTION_POLLS
    is_gone "$polls" && outcome=gone && return
    case "$outcome" in
    ended*) return 0 ;;
    none) outcome=gone && return ;; # the host was started anew
    esac
    sleep "$POLL_SECONDS"
  done
}

run() {
  local outcome=""
  while :; do
    create
    look
    case "$outcome" in
    gone) ;;
    "running $(printf '%q ' "${command[@]}")")
      say "the command runs there already"
      follow
      ;;
    running*) fail "another command runs on $name: ${outcome#running }" "Stop it first: $(again stop)" ;;
    *)
      if install && start; then
        follow
      else
        is_gone "$PREEMPTION_POLLS" || fail "the last step failed (see above), and $name is READY: not preempted" \
          "Mend that and start the same line again; if it began on some hosts only, first: $(again stop)"
        outcome=gone
      fi
      ;;
    esac
    [[ "$outcome" == gone ]] || break
    again_after "went away"
  done
  local code="${outcome#ended }"
  if ((code)); then
    say "the command ended with status $code; $name is left as it is, and costs money. Look at the logs of all" \
      "hosts (logs --worker 1, ...), start the same line again, or: $(again delete)"
    exit "$code"
  fi
  if ((dry_run)); then say "the command would have succeeded"; else say "the command has succeeded"; fi
  if ((delete_after)); then
    remove
  elif ((dry_run)); then
    say "$name would be left as it is, and would cost money until: $(again delete)"
  else
    say "$name is left as it is, and costs money: $(again delete)"
  fi
}

again() { # again ACTION: prints a line of this script for the same slice
  printf 'bash launch/tpu_vm.sh %s --name %s' "$1" "$name"
  printf ' %s' "${at[@]}"
  if ((queued)) && [[ "$1" == delete ]]; then printf ' --queued'; fi
}

status() {
  local state
  state="$(state_of tpu-vm READY)" || exit 1 # gcloud has said why
  say "$name is ${state:-not there}"
  # In another state no host takes a connection, and each would be an error of its own.
  [[ "$state" != READY ]] || on_host all status
}

fetch() {
  [[ "$to" == /* ]] || to="${here%/}/$to" # relative to the user's folder, not to this script's
  ((dry_run)) || mkdir -p "$to"
  if [[ "$from" == gs://* ]]; then
    cloud storage cp --recursive "$from" "$to"
  else
    [[ "$from" == /* ]] || from="latent_jax/$from"
    cloud compute tpus tpu-vm scp --recurse "$name:$from" "$to" --worker 0 "${at[@]}"
  fi
}

main() {
  local action="${1:-}"
  case "$action" in
  "" | help | --help | -h) help && exit ;;
  run | create | install | start | logs | status | stop | fetch | delete) shift ;;
  *) fail "unknown command '$action': run, create, install, start, logs, status, stop, fetch or delete; see --help" ;;
  esac
  local option
  for option in "$@"; do
    [[ "$option" == -- ]] && break
    [[ "$option" == --help || "$option" == -h ]] && help && exit
  done
  parse "$@"
  check "$action"
  place
  errors="$(mktemp)"
  trap 'rm -f "$errors"' EXIT
  trap 'say "what runs on $name goes on; run follows it again, stop ends it" && exit 130' INT
  case "$action" in
  logs) on_host "$worker" follow 50 ;;
  stop) on_host all stop ;;
  delete) remove ;;
  *) "$action" ;;
  esac
  ((!dry_run)) || say "this was a dry run: nothing of it was done"
}

main "$@"
