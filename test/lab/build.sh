#!/usr/bin/env bash
# Builds the programs that the lab runs, each from its own Go module under modules/, and prints the folder that holds them.
# A module is built again only when its go.mod, go.sum or sources (or the Go version) change: the key is a hash of them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/bifrost-lab
K8S_VERSION=v1.34.4

say() { echo "lab: $*" >&2; }

packages() {
  type containerd runc buildah iptables conntrack nft ip tcpdump >/dev/null 2>&1 && return
  say "installing Debian packages"
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    ca-certificates containerd runc buildah iproute2 iptables conntrack nftables tcpdump procps curl openssl python3-minimal >&2
}

# module NAME OUT=PACKAGE...: one Go module, its commands, statically linked.
module() {
  local name=$1 key built target flags="-s -w" command; shift
  key=$({ go env GOVERSION; echo "$@ $K8S_VERSION"; cd "$here/modules/$name"; cat go.mod; [ ! -f go.sum ] || cat go.sum; find . -name '*.go' | sort | xargs -r cat; } | sha256sum | cut -c1-16)
  target=$cache/$name-$key
  if [ ! -d "$target" ]; then
    say "building $name (once)"
    mkdir -p "$cache"; built=$(mktemp -d "$cache/.building-XXXXXX")
    [ "$name" != k8s ] || flags="$flags -X k8s.io/component-base/version.gitVersion=$K8S_VERSION -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34"
    for command in "$@"; do
      (cd "$here/modules/$name" && CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -ldflags "$flags" -o "$built/${command%%=*}" "${command#*=}")
    done
    chmod 755 "$built"
    # Another build of the same key may have been quicker; either result will do.
    mv -T "$built" "$target" 2>/dev/null || rm -rf "$built"
  fi
  for command in "$@"; do ln -sfn "$target/${command%%=*}" "$bin/${command%%=*}"; done
}

type go >/dev/null 2>&1 || { say "Go is needed to build the lab"; exit 1; }
[ "$(id -u)" = 0 ] || { say "the lab needs root"; exit 1; }
packages
bin=$cache/bin; mkdir -p "$bin"
module pause pause=.
module control control=.
module tailscale tailscaled=tailscale.com/cmd/tailscaled tailscale=tailscale.com/cmd/tailscale containerboot=tailscale.com/cmd/containerboot
plugins=github.com/containernetworking/plugins/plugins
module cni bridge=$plugins/main/bridge loopback=$plugins/main/loopback host-local=$plugins/ipam/host-local portmap=$plugins/meta/portmap bandwidth=$plugins/meta/bandwidth
module etcd etcd=go.etcd.io/etcd/server/v3
module coredns coredns=github.com/coredns/coredns
module k8s k8s=.
for command in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do ln -sfn "$(readlink "$bin/k8s")" "$bin/$command"; done
echo "$bin"
