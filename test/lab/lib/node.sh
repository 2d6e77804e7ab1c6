# shellcheck shell=bash
# up, down, leftovers: one Kubernetes node in namespaces of its own.

# cgroup_hierarchies: the root of the one hierarchy of cgroup v2, or of each of v1's.
cgroup_hierarchies() {
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then echo /sys/fs/cgroup; else find /sys/fs/cgroup -mindepth 2 -maxdepth 2 -name cgroup.procs -printf '%h\n'; fi
}

make_cgroups() {
  local hierarchy controller file
  for hierarchy in $(cgroup_hierarchies); do
    if [ "$hierarchy" = /sys/fs/cgroup ]; then # v2 hands controllers down only when told to
      for controller in $(< "$hierarchy/cgroup.controllers"); do echo "+$controller" 2>/dev/null > "$hierarchy/cgroup.subtree_control" || true; done
    fi
    mkdir -p "$hierarchy/bifrost-lab"
    for file in cpuset.cpus cpuset.mems; do # v1 does not inherit them
      [ ! -e "$hierarchy/$file" ] || cat "$hierarchy/$file" > "$hierarchy/bifrost-lab/$file"
    done
  done
}

cgroups() { find /sys/fs/cgroup -maxdepth 2 -type d -name bifrost-lab 2>/dev/null; }
remove_cgroups() {
  local folder
  for folder in $(cgroups); do find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true; done
  [ -z "$(cgroups)" ]
}

# marked_processes: the pids of the lab's own processes, by what they carry in their environment; and of what runs in its cgroups.
marked_processes() {
  { grep -slzxF "$mark" /proc/[0-9]*/environ | cut -d/ -f3
    grep -slE ':/bifrost-lab(/|$)' /proc/[0-9]*/cgroup | cut -d/ -f3; } | sort -nu
}
no_processes() { [ -z "$(marked_processes)" ]; }

down() {
  local pid
  # The node's first process takes all others with it. Whatever remains (of an earlier run, or outside, as tcpdump) is ours by its mark.
  ! pid=$(node_pid) || kill -9 "$pid" 2>/dev/null || true
  for pid in $(marked_processes); do kill -9 "$pid" 2>/dev/null || true; done
  await "the end of the lab's processes" 30 no_processes
  ip link del "$link" 2>/dev/null || true
  await "the end of the lab's cgroups" 10 remove_cgroups
  rm -rf "$run"
}

# leftovers: prints what of the lab is on this machine, one thing per line; code 1 when there is something.
lab_leftovers() {
  local found pid
  found=$(
    for pid in $(marked_processes); do echo "process $pid $(tr '\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null)"; done
    awk -v r="$run" '$2 == r || index($2, r "/") == 1 { print "mount " $2 }' /proc/mounts
    ip -o link show dev "$link" 2>/dev/null | awk -v l="$link" '{ print "interface " l }'
    ip route show table all dev "$link" 2>/dev/null | sed 's/^/route /'
    find /run/netns -maxdepth 1 -name 'lab-*' -printf 'namespace %p\n' 2>/dev/null
    nft list tables 2>/dev/null | awk '/bifrost_lab/ { print "nftables " $0 }'
    cgroups | sed 's/^/cgroup /'
    [ ! -e "$run" ] || echo "folder $run"
  )
  [ -z "$found" ] || { echo "$found"; return 1; }
}

write_configuration() {
  local user file
  mkdir -p "$run"/{pki,cni,home,tmp}
  chmod 755 "$run"; chmod 1777 "$run/tmp"
  openssl genrsa -out "$run/pki/sa.key" 2048 2>/dev/null
  openssl rsa -in "$run/pki/sa.key" -pubout -out "$run/pki/sa.pub" 2>/dev/null
  printf '%s\n' 'admintoken,admin,admin,"system:masters"' 'schedtoken,system:kube-scheduler,sched' 'kubelettoken,system:node:lab-node,kubelet,"system:nodes"' > "$run/tokens.csv"
  for user in admin sched kubelet; do
    cat > "$run/$user.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{ name: lab, cluster: { server: "$api_url", insecure-skip-tls-verify: true } }]
users: [{ name: $user, user: { token: ${user}token } }]
contexts: [{ name: lab, context: { cluster: lab, user: $user } }]
current-context: lab
YAML
  done
  for file in kubelet.yaml proxy.yaml Corefile faults.nft; do sed "s#LAB#$run#g" "$here/files/$file" > "$run/$file"; done
  sed "s#LAB#$run#g" "$here/files/10-lab.conflist" > "$run/cni/10-lab.conflist"
  containerd config default | sed -e "s#^root = .*#root = \"$run/containerd\"#" -e "s#^state = .*#state = \"$run/containerd-state\"#" -e "s#/run/containerd/containerd.sock#$run/containerd.sock#" \
    -e 's#restrict_oom_score_adj = false#restrict_oom_score_adj = true#' -e 's#sandbox_image = .*#sandbox_image = "docker.io/lab/pause:1"#' \
    -e "s#/opt/cni/bin#$run/cache/bin#" -e "s#/etc/cni/net.d#$run/cni#" > "$run/containerd.toml"
}

# begin_node: makes the namespaces and the machine's way into them.
begin_node() {
  local pid
  env -i "$mark" PATH="$PATH" setsid unshare --mount --net --pid --ipc --fork \
    bash "$here/lib/init.sh" "$run" "$cache" "$host_address" "$node_address" "$link_inside" > "$run/init.log" 2>&1 < /dev/null 9>&- &
  pid=$!
  await "the node's namespaces" 5 pgrep -P "$pid"
  ip link add "$link" type veth peer name host0 netns "$(pgrep -P "$pid")"
  ip addr add "$link_outside/30" dev "$link"
  ip link set "$link" up
  await "the node" 10 node_pid || { cat "$run/init.log" >&2; return 1; }
  local range
  for range in 10.244.0.0/24 10.96.0.0/16 "$node_address/32"; do
    ip route add "$range" via "$link_inside" dev "$link" || fail "this machine has a route to $range of its own: the lab cannot run here"
  done
}

# begin_services: everything on the node, in the order of need; what does not need each other starts together.
begin_services() {
  local programs=$run/cache/bin
  start containerd containerd -c containerd.toml
  start etcd "$programs/etcd" --data-dir etcd --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync
  start kube-apiserver "$programs/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --service-cluster-ip-range=10.96.0.0/16 --advertise-address="$node_address" \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=pki/sa.pub --service-account-signing-key-file=pki/sa.key --cert-dir=pki \
    --authorization-mode=Node,RBAC --token-auth-file=tokens.csv --allow-privileged=true --secure-port=6443
  start control "$programs/control" -ip "$host_address" -port 9911
  await containerd 15 ctr version
  import_images
  await kube-apiserver 30 api GET /readyz
  start kube-controller-manager "$programs/kube-controller-manager" --kubeconfig=admin.kubeconfig --service-account-private-key-file=pki/sa.key \
    --root-ca-file=pki/apiserver.crt --use-service-account-credentials=true --allocate-node-cidrs=true --cluster-cidr=10.244.0.0/16 --node-cidr-mask-size=24 --leader-elect=false
  start kube-scheduler "$programs/kube-scheduler" --kubeconfig=sched.kubeconfig --leader-elect=false
  start kubelet "$programs/kubelet" --config=kubelet.yaml --kubeconfig=kubelet.kubeconfig --hostname-override=lab-node --node-ip="$node_address" \
    --root-dir="$run/kubelet" --cert-dir="$run/kubelet/pki"
  start kube-proxy "$programs/kube-proxy" --config=proxy.yaml
  start coredns "$programs/coredns" -conf Corefile
  start netpol "$programs/netpol" -api "$api_url" -token admintoken
  await "the node's readiness" 30 node_is_ready
  await "the default service account" 15 api GET /api/v1/namespaces/default/serviceaccounts/default
  await "the enforcer of NetworkPolicies" 10 inside nft list table inet bifrost_lab_policies
  await "the control server" 10 curl -s --noproxy '*' -o /dev/null "$control_url/"
}

node_is_ready() { api GET /api/v1/nodes/lab-node | jq -e '.status.conditions[] | select(.type == "Ready" and .status == "True")'; }

up() {
  build
  make_images
  down
  trap 'tail -n 3 "$run"/*.log >&2' EXIT # only when it fails
  write_configuration
  make_cgroups
  begin_node
  begin_services
  trap - EXIT
  say "up: API $api_url (kubeconfig $run/admin.kubeconfig), control protocol and API v2 $control_url"
}
