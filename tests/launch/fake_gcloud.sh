#!/usr/bin/env bash
# A `gcloud` for tests of launch/tpu_vm.sh: slices are files, a host is a folder here. In bash because the tests call
# it hundreds of times, and Python takes ten times as long to start.
#
# It knows the calls that the script makes and no other. The folder $FAKE_CLOUD holds
#
#     calls     one line for each call
#     NAME      the state of a slice, and more lines on why; absent where there is none
#     home      the home folder of its one host, made with the slice and gone with it
#     before-X  shell lines, one for each of the next calls of X: "describe", "scp", ..., or what
#               tpu_host.sh is asked for. Each is run before its call, to change states; where it
#               fails, the call fails as it did
set -euo pipefail
cd "$FAKE_CLOUD"

fail() {
  printf 'ERROR: %s\n' "$1" >&2
  exit 1
}

printf -v call ' %q' "$@"
printf '%s\n' "${call:1}" >>calls
[[ "$1 $2 $3" =~ ^compute\ tpus\ (tpu-vm|queued-resources)$ ]] || fail "no such call:$call"
kind="$3" action="$4" target="$5"
[[ "$action" != scp ]] || target="$6"
state="$kind-${target%%:*}"

asked="$action"
[[ ! "${!#}" =~ bash\ [^\ ]+\.sh\ ([a-z]+) ]] || asked="${BASH_REMATCH[1]}"
if [[ -s "before-$asked" ]]; then
  mapfile -t lines <"before-$asked"
  printf '%s\n' "${lines[@]:1}" >"before-$asked"
  bash -c "${lines[0]}" || exit
fi

case "$action" in
describe)
  [[ -f "$state" ]] || fail "NOT_FOUND: Resource was not found"
  if [[ "$*" == *"yaml(state)"* ]]; then cat "$state"; else head -1 "$state"; fi
  ;;
create)
  [[ ! -f "$state" ]] || fail "ALREADY_EXISTS: Resource exists"
  if [[ "$kind" == tpu-vm ]]; then echo READY >"$state"; else echo WAITING_FOR_RESOURCES >"$state"; fi
  mkdir -p home
  ;;
delete)
  rm "$state"
  rm -rf home
  ;;
scp | ssh)
  [[ -f "$state" && "$(<"$state")" == READY ]] || exit 255
  if [[ "$action" == scp ]]; then
    cp "$5" "home/${6#*:}"
  else
    while [[ "$1" != --command ]]; do shift; done
    cd home
    HOME="$PWD" exec bash -c "$2"
  fi
  ;;
*) fail "no such action: $action" ;;
esac
