# shellcheck shell=bash
# Builds the programs that the lab runs, each from its own Go module under modules/.
# A module is built again only when its go.mod, go.sum or sources (or the Go version) change: the key is a hash of them.

K8S_VERSION=v1.34.4

# module NAME OUT=PACKAGE...: one Go module, its commands, statically linked.
module() {
  local name=$1 key built target flags="-s -w" version=k8s.io/component-base/version command; shift
  key=$({ go env GOVERSION; echo "$* $K8S_VERSION"; cd "$here/modules/$name" || exit; cat go.mod; [ ! -f go.sum ] || cat go.sum; find . -name '*.go' ! -name '*_test.go' | sort | xargs -r cat; } | sha256sum | cut -c1-16)
  target=$cache/$name-$key
  if [ ! -d "$target" ]; then
    say "building $name (once)"
    built=$(mktemp -d "$cache/.building-XXXXXX")
    case $name in k8s | kubectl) flags="$flags -X $version.gitVersion=$K8S_VERSION -X $version.gitMajor=1 -X $version.gitMinor=34" ;; esac
    for command in "$@"; do
      (cd "$here/modules/$name" && CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off go build -trimpath -ldflags "$flags" -o "$built/${command%%=*}" "${command#*=}") || { rm -rf "$built"; fail "$name does not build"; }
    done
    chmod 755 "$built"
    mv -T "$built" "$target"
  fi
  # Relative, so that the links also hold where the cache is mounted at another place.
  for command in "$@"; do ln -sfn "../$name-$key/${command%%=*}" "$bin/${command%%=*}"; done
}

build() {
  local command plugins=github.com/containernetworking/plugins/plugins
  packages
  mkdir -p "$bin"
  find "$cache" -maxdepth 1 \( -name '.building-*' -o -name '.image-*' \) -exec rm -rf {} + # of a killed run: the lock is ours
  bash "$project/test/envoy/get-envoy" >/dev/null || unable "Envoy is not to be had"
  module pause pause=.
  module book book=.
  module control control=.
  module netpol netpol=.
  module ssh ssh=.
  module tailscale tailscaled=tailscale.com/cmd/tailscaled tailscale=tailscale.com/cmd/tailscale containerboot=tailscale.com/cmd/containerboot
  module cni bridge=$plugins/main/bridge loopback=$plugins/main/loopback host-local=$plugins/ipam/host-local portmap=$plugins/meta/portmap bandwidth=$plugins/meta/bandwidth tuning=$plugins/meta/tuning
  module etcd etcd=go.etcd.io/etcd/server/v3
  module coredns coredns=github.com/coredns/coredns
  module k8s k8s=.
  module kubectl kubectl=. # after k8s: Go keeps most of what both are made of
  for command in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do ln -sfn "$(readlink "$bin/k8s")" "$bin/$command"; done
}
