#!/usr/bin/env bash
# init.sh RUN CACHE HOST NODE INSIDE: the first process of the lab's node, in new mount, network, process and IPC namespaces.
# It furnishes them, says in RUN/node that it is ready, and then only holds them: when it ends, the kernel ends everything inside.
set -euo pipefail
run=$1 cache=$2 host=$3 node=$4 inside=$5

# /proc is still the machine's: this is our pid out there, and our start time.
read -r pid _ < /proc/self/stat
started=$(sed 's/.*) //' "/proc/$pid/stat" | cut -d' ' -f20)

. "${BASH_SOURCE[0]%/*}/private.sh"
private "$run" "$cache"
mount -t proc proc /proc
# The kubelet insists on these three; they have no namespace, so it gets files to write to and the machine keeps its own.
for setting in vm/overcommit_memory:1 kernel/panic:10 kernel/panic_on_oops:1; do
  mkdir -p "/run/.sysctl/${setting%/*}"
  echo "${setting#*:}" > "/run/.sysctl/${setting%:*}"
  mount --bind "/run/.sysctl/${setting%:*}" "/proc/sys/${setting%:*}"
done
mount --make-rshared / # the kubelet's and the pods' mounts have to reach each other

ip link set lo up
ip addr add "$node/32" dev lo
# The bridge is there from the start, so that control server and DNS can bind to it.
ip link add cni0 type bridge
ip addr add "$host/24" dev cni0
ip link set cni0 up
until ip link show host0 >/dev/null 2>&1; do read -rt 0.05 <> <(:) || true; done # the machine hands it in
ip addr add "$inside/30" dev host0
ip link set host0 up
sysctl -qw net.ipv4.ip_forward=1
# Without this, a Service whose pod is on the caller's own bridge answers from the wrong address.
[ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || sysctl -qw net.bridge.bridge-nf-call-iptables=1
# There is no way out of here; strays to customers' ranges are dropped without a word, as on a real network.
ip route add blackhole 10.0.0.0/8 metric 4000
nft -f "$run/faults.nft"

echo "$pid $started" > "$run/node.new"
mv "$run/node.new" "$run/node"
exec "$run/cache/bin/pause"
