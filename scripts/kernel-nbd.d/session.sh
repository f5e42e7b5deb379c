#!/bin/bash
# session.sh SETTINGS-FILE: attaches the exports, runs the command, and takes everything down again. Runs on the
# kernel whose devices are used: on the host, or in the user-mode Linux guest, where each program that need not be
# run saves a tenth of a second.
set -uo pipefail

# shellcheck source=/dev/null
. "$1"
attached=()
log=$TMPDIR/nbd-client.log

# Unmounts what lies on the devices, last mounted first, and lets the servers know that it was that.
take_down() {
  local device source target mounted=()
  while read -r source target _; do
    for device in "${attached[@]}"; do
      case $source in "$device" | "$device"p[0-9]*) mounted=("$(printf '%b' "$target")" "${mounted[@]}") ;; esac
    done
  done </proc/mounts
  cd /
  [ ${#mounted[@]} -eq 0 ] || umount "${mounted[@]}"
  for device in "${attached[@]}"; do
    if [ -e "/sys/block/${device##*/}/pid" ]; then nbd-client -d "$device" >/dev/null; fi
  done
}

# Waits until the driver has the connection and knows the size: nbd-client may return before.
await_device() {
  local block=/sys/block/${1##*/} tries
  for ((tries = 0; tries < 500; tries++)); do
    if [ -e "$block/pid" ] && [ "$(<"$block/size")" != 0 ]; then return 0; fi
    sleep 0.02
  done
  return 1
}

attach() {
  local index=$1 device=${DEVICES[$1]} arguments=()
  if [ -n "${SOCKETS[index]}" ]; then
    arguments+=(-unix "${SOCKETS[index]}")
  else
    arguments+=("${HOSTS[index]//[\[\]]/}" "${PORTS[index]}")
  fi
  arguments+=("$device")
  [ -z "${EXPORTS[index]}" ] || arguments+=(-N "${EXPORTS[index]}")
  nbd-client "${arguments[@]}" "${CLIENT_OPTIONS[@]}" >"$log" 2>&1 || return 1
  attached+=("$device")
  await_device "$device" || return 1
  blockdev --rereadpt "$device" 2>>"$log" # partitions appear after this
}

trap take_down EXIT
if [ -n "$ATTACH" ]; then
  for index in "${!EXPORTS[@]}"; do
    if ! attach "$index"; then
      cat "$log" >&2
      echo "kernel-nbd: nbd-client could not attach export \"${EXPORTS[index]}\" to ${DEVICES[index]}" >&2
      exit 126
    fi
  done
else
  attached=("${DEVICES[@]}") # the command may have
fi

export SHARE NBD_DEVICE=${DEVICES[0]} NBD_DEVICES="${DEVICES[*]}"
export NBD_HOST=${HOSTS[0]} NBD_PORT=${PORTS[0]} NBD_SOCKET=${SOCKETS[0]} NBD_EXPORT=${EXPORTS[0]}
cd "$CWD" 2>/dev/null || cd /
"${COMMAND[@]}"
