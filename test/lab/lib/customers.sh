# shellcheck shell=bash
# The customers' side: machines outside the cluster, each in a network namespace of its own. Several may have the same private address.

# lab_gateway NAME ROUTES ADDRESS[,ADDRESS...] < KEY: joins with KEY, advertises ROUTES, serves the page "private network of NAME" on each ADDRESS:8000 and :8001,
# and on port 8080 of whatever address the machine has or gets, its tailnet's too.
# The key comes by standard input and goes on by file: arguments are seen by everyone on a machine.
lab_gateway() {
  local name=$1 routes=$2 addresses=${3//,/ } pages='' address index=0 folder=$run/gateway-$1 net programs=$run/cache/bin
  require_node
  mkdir "$folder" 2>/dev/null || fail "there is a gateway $name already"
  (umask 077; cat > "$folder/key")
  # Takes a number for itself, also among several at once.
  while ! ln -s "$name" "$run/gateway.$index" 2>/dev/null; do index=$((index + 1)); done
  net=10.245.$index
  inside sh -ec '
    ip netns add "lab-$1"
    ip link add "lg$2" type veth peer name eth0 netns "lab-$1"
    ip addr add "$3.1/24" dev "lg$2"; ip link set "lg$2" up
    ip -n "lab-$1" addr add "$3.2/24" dev eth0; ip -n "lab-$1" link set eth0 up
    ip -n "lab-$1" link set lo up; for address in $4; do ip -n "lab-$1" addr add "$address/32" dev lo; done
    ip -n "lab-$1" route add default via "$3.1"
    ip netns exec "lab-$1" sysctl -qw net.ipv4.ip_forward=1' - "$name" "$index" "$net" "$addresses"
  for address in $addresses; do pages+=$address:8000,$address:8001,; done
  start "gateway-$name-page" ip netns exec "lab-$name" env BOOK_ADDRESSES="$pages:8080" BOOK_PAGE="private network of $name" "$programs/book"
  start "gateway-$name" ip netns exec "lab-$name" env TS_NO_LOGS_NO_SUPPORT=true TS_DEBUG_FIREWALL_MODE=nftables \
    "$programs/tailscaled" --state=mem: --statedir="$folder" --socket="$folder/socket" --port=41641
  await "gateway $name" 10 test -S "$folder/socket"
  inside timeout 30 "$programs/tailscale" --socket="$folder/socket" up --login-server="$control_url" --auth-key="file:$folder/key" \
    --hostname="gateway-$name" --advertise-routes="$routes" > "$folder/up.log" 2>&1 || { cat "$folder/up.log" >&2; return 1; }
  rm -f "$folder/key"
}

# lab_leave NAME: ends that machine without a word to anyone, as a power cut does.
lab_leave() {
  local name=$1 number
  [ -d "$run/gateway-$name" ] || fail "there is no gateway $name"
  # shellcheck disable=SC2016 # expanded by the inner shell
  inside sh -c 'ip netns pids "$0" | xargs -r kill -9; ip netns del "$0"' "lab-$name"
  for number in "$run"/gateway.*; do
    [ "$(readlink "$number")" != "$name" ] || { inside ip link del "lg${number##*.}" 2>/dev/null || true; rm -f "$number"; }
  done
  rm -rf "$run/gateway-$name"
}

# lab_customer NAME -- COMMAND...: on that customer's machine; `tailscale` there means its own daemon, `book` the client of the books, `ssh` the one of modules/ssh.
lab_customer() {
  local name=$1; shift
  [ "${1:-}" != -- ] || shift
  [ -d "$run/gateway-$name" ] || fail "there is no gateway $name"
  if [ "$1" = tailscale ]; then shift; set -- "$run/cache/bin/tailscale" --socket="$run/gateway-$name/socket" "$@"; fi
  case $1 in book | ssh) set -- "$run/cache/bin/$1" "${@:2}" ;; esac
  inside ip netns exec "lab-$name" "$@"
}
