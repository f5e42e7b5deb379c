#!/bin/bash
# Backend "host": the nbd driver of the kernel that runs this machine.
# shellcheck source-path=SCRIPTDIR source=namespace.sh
. "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/namespace.sh"

mount -t tmpfs -o mode=755,size=90% kernel-nbd /mnt
export TMPDIR=$work/tmp

# Without netlink a device lives as long as its nbd-client process, and that one dies with this namespace: even
# a run that is killed leaves no device attached.
CLIENT_OPTIONS=(-nonetlink "${CLIENT_OPTIONS[@]}")

# Free is a device that no server is attached to and that no other run has locked.
mkdir -p /run/lock
for block in /sys/block/nbd*; do
  [ ${#DEVICES[@]} -lt ${#EXPORTS[@]} ] || break
  [ ! -e "$block/pid" ] || continue
  exec {lock}>"/run/lock/snapnbd-${block##*/}"
  if flock --nonblock "$lock" && [ ! -e "$block/pid" ]; then DEVICES+=("/dev/${block##*/}"); fi
done
[ ${#DEVICES[@]} -eq ${#EXPORTS[@]} ] || fail "not enough free /dev/nbdX for ${#EXPORTS[@]} exports"
write_session

# This shell stays, as process 1 of the namespace, and passes the status on.
status=0
bash "$parts/session.sh" "$work/session" || status=$?
exit "$status"
