#!/bin/bash
# Backend "uml": boots user-mode Linux with the host's files, read-only, as its root file system, and runs
# session.sh in it. Runs as process 1 of a PID namespace: when it ends, so does everything it started.
# shellcheck source-path=SCRIPTDIR source=namespace.sh
. "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/namespace.sh"

modules=(/usr/lib/uml/modules/*/kernel/drivers/block/nbd.ko)
[ -e "${modules[0]}" ] || fail "user-mode Linux has no nbd.ko in /usr/lib/uml/modules"

# The guest reaches the servers by TCP over a tap device, in a network namespace without any other interface. The
# addresses are of the block that is reserved for documentation, so that they can collide with nothing.
readonly host_address=192.0.2.1 guest_address=192.0.2.2
# With a larger MTU the guest's driver needs receive buffers of several pages, and the first that cannot be had
# ends its network for good.
readonly mtu=3500

# Two relays per server, because a TCP socket cannot cross network namespaces and a unix socket can: TCP in the new
# namespace, to a unix socket, which is the server's own or a relay's to the host's TCP. The paths are symbolic
# links in the scratch folder, as socat would trip over commas and colons.
network_relays=()
for index in "${!EXPORTS[@]}"; do
  if [ -n "${SOCKETS[index]}" ]; then
    ln -s "${SOCKETS[index]}" "$work/server.$index"
  else
    socat -b 262144 "UNIX-LISTEN:$work/server.$index,fork" "TCP:${HOSTS[index]}:${PORTS[index]},nodelay" &
  fi
  SOCKETS[index]='' HOSTS[index]=$host_address PORTS[index]=$((10809 + index))
  network_relays+=("TCP-LISTEN:${PORTS[index]},bind=$host_address,fork,reuseaddr,nodelay" "UNIX:$work/server.$index")
done
for index in "${!EXPORTS[@]}"; do DEVICES+=("/dev/nbd$index"); done
write_session

# A command that means to do harm is not expected; one that is mistaken shall not write to the host either. The
# shared folder has a mount of its own, which stays writable.
mount -o remount,bind,ro / || fail "cannot make the files of the host read-only"

# The kernel splits its command line at spaces, so that it must not see the path of this folder.
mkdir "$work/parts"
mount --bind "$parts" "$work/parts"

# User-mode Linux puts its consoles into non-blocking mode: it gets pipes rather than the descriptors of the caller.
exec 3> >(exec cat)
readers=($!)
exec 4> >(exec cat >&2 3>&-)
readers+=($!)

: >"$work/kernel.log"
export work guest_address host_address mtu MEMORY_MIB
# shellcheck disable=SC2016 # expanded by the shell in the namespace
unshare --net bash -euc '
  ip link set lo up
  ip tuntap add dev tap0 mode tap vnet_hdr
  ip address add "$host_address/30" dev tap0
  ip link set tap0 mtu "$mtu" up
  while [ $# -gt 0 ]; do
    socat -b 262144 "$1" "$2" 3>&- 4>&- &
    shift 2
  done
  # The memory of the guest is an unlinked file in TMPDIR. The two initialisations that are left out take half of
  # the time that it needs to boot.
  TMPDIR=$work/tmp exec setarch -R linux.uml "mem=${MEMORY_MIB}M" \
    root=/dev/root rootfstype=hostfs rootflags=/ ro "init=$work/parts/uml-init" \
    "KERNEL_NBD_WORK=$work" "KERNEL_NBD_ADDRESS=$guest_address" \
    "uml_dir=$work/tmp" noreboot panic=-1 initcall_blacklist=raid6_select_algo,init_zswap \
    con=null con0=null,fd:1 con1=null,fd:3 con2=null,fd:4 ssl=null \
    "vec0:transport=tap,ifname=tap0,depth=128,gro=1,mtu=$mtu" >"$work/kernel.log" 2>&1
' network "${network_relays[@]}" || uml_status=$?
exec 3>&- 4>&-
cat "$work/kernel.log" >&5
wait "${readers[@]}"

if [ ! -s "$work/status" ]; then
  tail -n 40 "$work/kernel.log" >&2
  fail "the guest did not start or died without a status (linux.uml: ${uml_status:-0})"
fi
exit "$(<"$work/status")"
