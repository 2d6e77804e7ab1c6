# shellcheck shell=bash
# What every part of the lab shares: where things are, who is ours, how to wait.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/bifrost-lab # programs and images, kept
bin=$cache/bin
run=/run/bifrost-lab # state of the one run that a machine can have
project=$(cd "$here/../.." && pwd)
node_program=$project/node_modules/node/bin/node

# The lab's own addresses. Everything of 10/8 exists inside the lab's network namespace only; the machine reaches it over one veth pair.
host_address=10.244.0.1   # on the pods' bridge: control server and cluster DNS listen here
node_address=10.250.0.1   # the Kubernetes node
link=bifrost-lab          # the machine's end of the veth pair
link_outside=198.18.255.1 # RFC 2544 range: nothing on a real network uses it
link_inside=198.18.255.2
api_url=https://$host_address:6443
control_url=http://$host_address:9911

# Every process that the lab starts carries this in its environment: that, not a number, says whose it is.
mark=BIFROST_LAB_NODE=$run

say() { echo "lab: $*" >&2; }
fail() { say "$*"; exit 1; }
# unable REASON: this machine cannot run the lab. Exit code 3 tells a caller to skip.
unable() { say "$*"; exit 3; }

# await WHAT SECONDS COMMAND...: until the command succeeds.
await() {
  local what=$1 until=$((SECONDS + $2)); shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $until ] || { say "$what: not within the time"; return 1; }
    sleep 0.1
  done
}

requirements() {
  [ "$(uname -s)" = Linux ] || unable "the lab needs Linux"
  [ "$(id -u)" = 0 ] || unable "the lab needs root"
  type go >/dev/null 2>&1 || unable "the lab needs Go, to build Kubernetes and Tailscale"
}

packages() {
  type containerd runc buildah busybox iptables conntrack nft ip tcpdump curl openssl jq >/dev/null 2>&1 && return
  type apt-get >/dev/null 2>&1 || unable "the lab needs containerd, runc, buildah, busybox, iptables, conntrack, nft, iproute2, tcpdump, curl, openssl and jq"
  say "installing Debian packages"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    ca-certificates containerd runc buildah busybox iproute2 iptables conntrack nftables tcpdump procps curl openssl jq; } >&2 || unable "the Debian packages could not be installed"
}

# locked COMMAND...: one at a time on this machine.
locked() {
  mkdir -p "$cache"
  exec 9> "$cache/lock"
  flock -n 9 || { say "waiting for another lab command to end"; flock 9; }
  "$@"
}

# hold COMMAND...: runs it while nobody else on this machine starts, stops or tests the lab. What it runs may (LAB_HELD).
hold() {
  mkdir -p "$cache"
  [ -z "${LAB_HELD:-}" ] || exec "$@"
  export LAB_HELD=1
  # Not inherited (-o): what outlives the holder must not hold on.
  if flock -n -o "$cache/in-use" true; then exec flock -o "$cache/in-use" "$@"; fi
  say "waiting for another user of the lab to end"
  exec flock -o "$cache/in-use" "$@"
}

# start_time PID: in clock ticks since boot; together with the pid it names one process for ever.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
is_marked() { grep -qzxF "$mark" "/proc/$1/environ" 2>/dev/null; }

# recorded FILE: the pid that FILE holds, if that very process still runs and is the lab's.
recorded() {
  local pid started
  { read -r pid started < "$1"; } 2>/dev/null || return 1
  [ "$(start_time "$pid")" = "$started" ] && is_marked "$pid" && echo "$pid"
}
record() { echo "$2 $(start_time "$2")" > "$1"; }

node_pid() { recorded "$run/node"; }
require_node() { node_pid >/dev/null || fail "the lab is not up (lab up)"; }

# inside COMMAND...: on the node, in its mount, network and process namespaces.
inside() {
  local pid; pid=$(node_pid) || fail "the lab is not up (lab up)"
  nsenter -t "$pid" -m -n -p -- "$@"
}

# ctr ARGUMENTS...: containerd's client, in Kubernetes' namespace.
ctr() { inside ctr -a "$run/containerd.sock" -n k8s.io "$@"; }

# start NAME COMMAND...: on the node, in the background, with a clean environment; log in NAME.log.
start() {
  local name=$1; shift
  # shellcheck disable=SC2016 # expanded by the inner shell
  inside env -i "$mark" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME="$run/home" TMPDIR="$run/tmp" \
    sh -c 'cd "$1"; name=$2; shift 2; setsid "$@" > "$name.log" 2>&1 < /dev/null &' - "$run" "$name" "$@" 9>&-
}

# api METHOD PATH [BODY [CONTENT-TYPE]]: asks the API server as administrator; a body of @FILE is read from FILE.
api() {
  curl -sk --noproxy '*' --max-time 30 --fail-with-body -H "Authorization: Bearer admintoken" -X "$1" \
    ${3:+-H "Content-Type: ${4:-application/json}" --data-binary "$3"} "$api_url$2"
}
