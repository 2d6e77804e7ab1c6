# shellcheck shell=bash
# The network manager as users deploy it: examples/site, filled in with this lab's images, settings and Secrets, applied by kubectl.

# lab_kubectl ARGS...: as administrator. What it remembers of an API server lies with the run: the next one is another cluster at the same address.
lab_kubectl() {
  require_node
  exec env HOME="$run/home" KUBECONFIG="$run/admin.kubeconfig" NO_PROXY='*' "$bin/kubectl" "$@"
}
kubectl() { (lab_kubectl "$@"); }

# certificate FOLDER: a certificate authority and, by it, the certificate of the Service.
certificate() {
  local names=DNS:bifrost.bifrost.svc,DNS:bifrost.bifrost.svc.cluster.local
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=lab authority" -keyout "$1/ca.key" -out "$1/ca.crt" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=bifrost.bifrost.svc" -keyout "$1/tls.key" -out "$1/tls.csr" 2>/dev/null
  openssl x509 -req -in "$1/tls.csr" -CA "$1/ca.crt" -CAkey "$1/ca.key" -CAcreateserial -days 2 -out "$1/tls.crt" \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' "$names") 2>/dev/null
}

# issuer FOLDER: who signs callers' tokens: a private key and the public one as a JWKS.
issuer() {
  "$node_program" --input-type=module - "$1" <<'JS'
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const folder = process.argv[2];
writeFileSync(`${folder}/issuer.key`, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
writeFileSync(`${folder}/jwks.json`, JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'lab', alg: 'ES256', use: 'sig' }] }));
JS
}

# site NAME BASE [NAME=VALUE...]: puts into $run/site a copy of examples/site on BASE, as a user fills it in, and over it what the lab has of its own.
site() {
  local program=$1 base=$2 folder=$run/site tls=$run/tls image name digest as images="" issuers="" access="" pace="        - { name: $1, readinessProbe: { periodSeconds: 1 } }"; shift 2
  for image in "$program" tailscale agent envoy; do
    [ -s "$run/images/$image" ] || fail "there is no image of the $image: build the project (npm run setup), then lab refresh"
    IFS=@ read -r name digest < "$run/images/$image"
    # As examples/site names it, and as it is named where that says nothing of it.
    for as in "registry.example.com/bifrost/$image" "$image"; do images+="  - { name: $as, newName: $name, digest: \"$digest\" }"$'\n'; done
  done
  if [ ! -e "$tls/tls.crt" ]; then mkdir -p "$tls"; certificate "$tls"; fi
  rm -rf "$folder"; mkdir "$folder"
  cp -r "$project/examples/site" "$folder/site"
  cp "$tls"/{tls.crt,tls.key,ca.crt} "$folder/site/secrets/"
  # What the lab's control server knows as the organization's client.
  printf org > "$folder/site/secrets/client_id"; printf tskey-client-org > "$folder/site/secrets/client_secret"
  sed -i "s#^  - \.\./deploy #  - $(realpath --relative-to="$folder/site" "$base") #" "$folder/site/kustomization.yaml"
  if [ "$program" = network-manager ]; then
    sed -i "s#^  - \.\./deploy/envoy#  - $(realpath --relative-to="$folder/site" "$base")/envoy#" "$folder/site/kustomization.yaml"
    [ -e "$tls/jwks.json" ] || issuer "$tls"
    cp "$tls/jwks.json" "$folder/"
    cat > "$folder/access.json" <<'JSON'
{
  "jwt": [{ "issuer": "https://issuer.example.com", "audience": "bifrost", "jwksFile": "jwks.json" }],
  "certificates": [
    { "uri": "spiffe://lab/administrator", "subject": "administrator", "roles": ["admin:*"] },
    { "uri": "spiffe://lab/reader", "subject": "reader", "roles": ["viewer:callers"] }
  ]
}
JSON
    access="secretGenerator: [{ name: bifrost-access, namespace: bifrost, files: [access.json, jwks.json], options: { disableNameSuffixHash: true } }]"
    issuers="  - { name: bifrost-envoy, namespace: bifrost, behavior: merge, files: [jwks.json] }"
    pace+=$'\n'"        - { name: envoy, readinessProbe: { periodSeconds: 1 }, lifecycle: { preStop: { sleep: { seconds: 2 } } } }"
  else
    sed -i '/^components:/,+1d' "$folder/site/kustomization.yaml" # the proxy stands beside the network manager
  fi
  printf 'BIFROST_%s\n' HEARTBEAT_MS=1000 API_POINTS_PER_SECOND=1000 SHARED_SECRET=bifrost-shared "CONTROL_URL=$control_url" "LOGIN_SERVER=$control_url" "$@" | awk -F= '{ line[$1] = $0 } END { for (n in line) print line[n] }' > "$folder/settings.env"
  cat > "$folder/kustomization.yaml" <<YAML
resources: [site]
images:
${images}configMapGenerator:
  - { name: bifrost-settings, namespace: bifrost, behavior: merge, envs: [settings.env] }
$issuers
$access
patches:
  - path: pace.yaml
YAML
  # The lab's calls take no twelve seconds, and one manager is awaited after the other all the time.
  cat > "$folder/pace.yaml" <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: { name: $program, namespace: bifrost }
spec:
  template:
    spec:
      containers:
$pace
YAML
}

# deploy NAME OTHER BASE [NAME=VALUE...]: NAME runs in the Deployment of that name, and OTHER does not: one manager per cluster.
deploy() {
  local name=$1 other=$2 base=$3 log=$run/deploy.log; shift 3
  require_node
  exec 8> "$run/deploy.lock"; flock 8 # one after the other, also when several ask at once
  site "$name" "$base" "$@"
  {
    kubectl -n bifrost delete deployment "$other" --ignore-not-found --cascade=foreground &&
      kubectl apply --server-side --force-conflicts --field-manager=lab -k "$run/site" &&
      kubectl -n bifrost rollout status deployment "$name" --timeout="${LAB_MANAGER_SECONDS:-60}s"
  } > "$log" 2>&1 || {
    cat "$log" >&2
    kubectl -n bifrost get pods -o wide >&2 || true
    inside sh -c 'tail -n 20 "$0"/pod-logs/bifrost_"$1"-*/*/*.log' "$run" "$name" >&2 || true
    return 1
  }
}

# Each NAME=VALUE is the setting BIFROST_NAME.
lab_manager() { deploy network-manager book-controller "$project/examples/deploy" "$@"; }
lab_book-controller() { deploy book-controller network-manager "$project/examples/book-controller/deploy" "$@"; }
