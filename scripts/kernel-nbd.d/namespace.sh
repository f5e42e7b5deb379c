# shellcheck shell=bash
# shellcheck disable=SC2034 # the variables are for the files that source this one
# What both backends do first in the namespaces that kernel-nbd made for them; to be sourced.
set -euo pipefail

parts=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
fail() {
  echo "kernel-nbd: $*" >&2
  exit 125
}

eval "$SETTINGS"

# One empty folder, always the same, carries the scratch tmpfs of every run: each mounts its own where nobody else
# sees it, and it is gone with the last process of the run.
work=/run/snapnbd-kernel-nbd
mkdir -p "$work"
mount -t tmpfs -o mode=700,size=90% kernel-nbd "$work" || fail "cannot mount a scratch folder on $work"
mkdir "$work/share" "$work/tmp"
if [ -n "$SHARE" ]; then mount --bind "$SHARE" "$work/share"; fi
SHARE=$work/share

# Writes what session.sh is to know: a device for each export, and the rest of the settings.
DEVICES=()
CWD=$PWD
write_session() {
  declare -p SOCKETS HOSTS PORTS EXPORTS DEVICES CWD SHARE ATTACH CLIENT_OPTIONS COMMAND >"$work/session"
}
