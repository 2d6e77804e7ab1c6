# shellcheck shell=bash
# Into containers and between them: exec, kill, logs, cut, restore, capture.

# container NAMESPACE POD CONTAINER: prints id and pid of the running container.
container() {
  local id tasks
  require_node
  tasks=$(ctr tasks ls)
  for id in $(ctr containers ls -q "labels.\"io.kubernetes.pod.namespace\"==$1,labels.\"io.kubernetes.pod.name\"==$2,labels.\"io.kubernetes.container.name\"==$3"); do
    awk -v id="$id" '$1 == id && $3 == "RUNNING" { print $1, $2; found = 1 } END { exit !found }' <<< "$tasks" && return
  done
  fail "no running container $3 in pod $1/$2"
}

lab_exec() {
  local id
  if [ "${4:-}" != -- ] || [ $# -le 4 ]; then fail "exec NAMESPACE POD CONTAINER -- COMMAND..."; fi
  id=$(container "$1" "$2" "$3"); id=${id% *}
  shift 4
  # By runc, with the state that containerd gave it: `ctr tasks exec` loses what a quick command said on a busy machine.
  inside runc --root /run/containerd/runc/k8s.io exec "$id" "$@" < /dev/null
}

lab_kill() {
  local id pid
  read -r id pid <<< "$(container "$1" "$2" "$3")"
  [ -n "$id" ] || exit 1
  if [ -n "${4:-}" ]; then
    # The processes of that very container, by its cgroup's list; then the one whose program is asked for.
    # shellcheck disable=SC2016 # expanded by the inner shell
    pid=$(ctr tasks ps "$id" | awk 'NR > 1 { print $1 }' | inside xargs sh -c 'for p; do [ "$(cat "/proc/$p/comm" 2>/dev/null)" != "$0" ] || echo "$p"; done' "$4")
    [ -n "$pid" ] || fail "no process $4 in container $3 of pod $1/$2"
  fi
  # shellcheck disable=SC2086 # several when the program runs several times
  inside kill -9 $pid
}

# The kubelet keeps a file per start of a container, and removes the oldest.
lab_logs() { inside sh -c 'cat "$0"/pod-logs/"$1"_"$2"_*/"$3"/*.log' "$run" "$1" "$2" "$3" | sed -E 's/^[^ ]+ (stdout|stderr) [FP] //'; }

pod_address() {
  local sandbox pid
  sandbox=$(ctr containers ls -q "labels.\"io.kubernetes.pod.namespace\"==$1,labels.\"io.kubernetes.pod.name\"==$2,labels.\"io.cri-containerd.kind\"==sandbox")
  pid=$(ctr tasks ls | awk -v ids="$sandbox" 'BEGIN { split(ids, a); for (i in a) wanted[a[i]] } $1 in wanted && $3 == "RUNNING" { print $2 }')
  [ -n "$pid" ] || fail "no running pod $1/$2"
  inside nsenter -t "$pid" -n ip -4 -o addr show dev eth0 | awk '{ sub(/\/.*/, "", $4); print $4 }'
}

# In both tables. add, delete: SET NAMESPACE POD.
fault() {
  local address; address=$(pod_address "$3" "$4")
  inside nft "$1 element inet bifrost_lab $2 { $address }; $1 element bridge bifrost_lab $2 { $address }"
}
lab_cut() { fault add cut "$@"; }
lab_narrow() { fault add narrow "$@"; }
lab_restore() {
  local set
  if [ $# != 0 ]; then fault delete cut "$@"; return; fi
  for set in cut narrow; do inside nft "flush set inet bifrost_lab $set; flush set bridge bifrost_lab $set"; done
}

capture_ready() { grep -q 'listening on' "$run/capture.log"; }
capture_over() { ! recorded "$run/capture" >/dev/null; }
lab_capture() {
  local pid
  require_node
  case ${1:-} in
    start)
      capture_over || fail "a capture is running (lab capture stop)"
      rm -f "$run/capture.log" # an old one says that it listens
      # In the node's network, in the machine's files; promiscuous, so that it sees what passes between two pods.
      env "$mark" nsenter -t "$(node_pid)" -n tcpdump -i "${3:-cni0}" -s 0 -U --immediate-mode -B 65536 -Z root -w "$2" > /dev/null 2> "$run/capture.log" < /dev/null &
      record "$run/capture" $!
      await "tcpdump" 10 capture_ready || { cat "$run/capture.log" >&2; return 1; } ;;
    stop)
      pid=$(recorded "$run/capture") || fail "no capture is running"
      kill -INT "$pid"
      await "the end of tcpdump" 10 capture_over
      rm -f "$run/capture"
      tail -n 3 "$run/capture.log" >&2 ;;
    *) fail "capture start FILE [INTERFACE] | capture stop" ;;
  esac
}
