# shellcheck shell=bash
# The Network Manager as users deploy it: from examples/deploy, with this lab's images, control plane and a certificate authority of its own.

# lab_apply FILE [NAME=VALUE...]: server-side apply of each document of FILE, with every ${NAME} replaced.
lab_apply() {
  local file=$1 work setting document; shift
  work=$(mktemp -d "$run/tmp/apply-XXXXXX")
  cp "$file" "$work/all"
  for setting in "$@"; do
    V=${setting#*=} awk -v n="\${${setting%%=*}}" '{ while (i = index($0, n)) $0 = substr($0, 1, i - 1) ENVIRON["V"] substr($0, i + length(n)); print }' "$work/all" > "$work/new"
    mv "$work/new" "$work/all"
  done
  ! grep -v '^ *#' "$work/all" | grep -o '\${[A-Z_]*}' >&2 || fail "$file: these have no value"
  awk -v d="$work" 'BEGIN { n = 1 } /^---/ { n++; next } { print > (d "/document-" n) }' "$work/all"
  for document in "$work"/document-*; do
    ! grep -q '^kind:' "$document" || apply_document "$document"
  done
  rm -rf "$work"
}

# top DOCUMENT MEMBER: a member of the document itself, or (`metadata.name`) of its metadata, in block or flow style.
top() {
  case $2 in
    metadata.*) awk -v m="${2#*.}" '
      /^metadata:/ { on = 1; if (match($0, "[{,] *" m ": *[^,} ]+")) { print substr($0, RSTART, RLENGTH); exit } next }
      /^[^ #]/ { on = 0 }
      on && $0 ~ "^  " m ":" { print; exit }' "$1" ;;
    *) grep -m 1 "^$2:" "$1" ;;
  esac | sed -E 's/^[^:]*: *//; s/["'\'']//g; s/ *(#.*)?$//' || true
}

apply_document() {
  local version kind name namespace plural path answer
  version=$(top "$1" apiVersion) kind=$(top "$1" kind) name=$(top "$1" metadata.name) namespace=$(top "$1" metadata.namespace)
  plural=${kind,,}
  case $plural in *y) plural=${plural%y}ies ;; *s) plural=${plural}es ;; *) plural=${plural}s ;; esac
  path=/apis/$version; [ "$version" != v1 ] || path=/api/v1
  [ -z "$namespace" ] || path=$path/namespaces/$namespace
  answer=$(api PATCH "$path/$plural/$name?fieldManager=lab&force=true" "@$1" application/apply-patch+yaml) || { echo "$answer" >&2; fail "$kind $name was refused"; }
}

# certificate FOLDER: a certificate authority and, by it, the certificate of the Service.
certificate() {
  local names=DNS:bifrost.bifrost.svc,DNS:bifrost.bifrost.svc.cluster.local
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=lab authority" -keyout "$1/ca.key" -out "$1/ca.crt" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=bifrost.bifrost.svc" -keyout "$1/tls.key" -out "$1/tls.csr" 2>/dev/null
  openssl x509 -req -in "$1/tls.csr" -CA "$1/ca.crt" -CAkey "$1/ca.key" -CAcreateserial -days 2 -out "$1/tls.crt" \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' "$names") 2>/dev/null
}

# secret NAME MEMBER=FILE...: in the manager's namespace.
secret() {
  local name=$1 member; shift
  {
    printf 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: bifrost\ndata:\n' "$name"
    for member in "$@"; do printf '  %s: %s\n' "${member%%=*}" "$(base64 -w0 < "${member#*=}")"; done
  } > "$run/tmp/secret.yaml"
  lab_apply "$run/tmp/secret.yaml"
  rm -f "$run/tmp/secret.yaml"
}

deployment_is_ready() {
  api GET "/apis/apps/v1/namespaces/$1/deployments/$2" |
    jq -e '.status.observedGeneration == .metadata.generation and .status.updatedReplicas == .spec.replicas and .status.readyReplicas == .spec.replicas and (.status.replicas // 0) == .spec.replicas'
}

# lab_manager [NAME=VALUE...]: HEARTBEAT_MS, API_SUBJECTS, CONTROL_URL, LOGIN_SERVER, MANAGER_IMAGE, TAILSCALE_IMAGE, AGENT_IMAGE may be given.
lab_manager() {
  local deploy=$project/examples/deploy name file setting values=() tls=$run/tls
  declare -A value=([HEARTBEAT_MS]=1000 [API_SUBJECTS]=system:serviceaccount:platform:book-controller [CONTROL_URL]=$control_url [LOGIN_SERVER]=$control_url)
  require_node
  for name in manager tailscale agent; do [ ! -s "$run/images/$name" ] || value[${name^^}_IMAGE]=$(< "$run/images/$name"); done
  for setting in "$@"; do value[${setting%%=*}]=${setting#*=}; done
  for name in MANAGER TAILSCALE AGENT; do [ -n "${value[${name}_IMAGE]:-}" ] || fail "there is no image of ${name,,}: build the project (npm run setup), then lab refresh"; done
  for name in "${!value[@]}"; do values+=("$name=${value[$name]}"); done
  values+=("SETTINGS_HASH=$(printf '%s\n' "${values[@]}" | sort | sha256sum | cut -c1-16)")

  lab_apply "$deploy/namespace.yaml"
  if [ ! -e "$tls/tls.crt" ]; then mkdir -p "$tls"; certificate "$tls"; fi
  secret bifrost-tls tls.crt="$tls/tls.crt" tls.key="$tls/tls.key" ca.crt="$tls/ca.crt"
  # What the lab's control server knows as the organization's client.
  printf org > "$tls/client_id"; printf tskey-client-org > "$tls/client_secret"
  secret bifrost-organization client_id="$tls/client_id" client_secret="$tls/client_secret"
  for file in crds rbac customer-label settings network-manager; do
    [ -e "$deploy/$file.yaml" ] || fail "examples/deploy/$file.yaml is not there"
    lab_apply "$deploy/$file.yaml" "${values[@]}"
  done
  await "the network manager" "${LAB_MANAGER_SECONDS:-60}" deployment_is_ready bifrost network-manager || {
    api GET /api/v1/namespaces/bifrost/pods | jq -c '.items[] | [.metadata.name, .status.phase, [.status.containerStatuses[]?.state]]' >&2
    inside sh -c 'tail -n 20 "$0"/pod-logs/bifrost_network-manager-*/*/*.log' "$run" >&2 || true
    return 1
  }
}
