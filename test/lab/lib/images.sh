# shellcheck shell=bash
# Container images, FROM scratch, made by buildah from this machine's own programs. Each is kept as $cache/images/NAME-KEY.tar, where KEY
# is a hash of all that goes into it, and is on the node as docker.io/lab/NAME:1 and by its digest.

images=$cache/images

# hash_of ITEM...: files and folders by content, other words as they are.
hash_of() {
  local item
  for item in "$@"; do
    if [ -d "$item" ]; then (cd "$item" && find . -type f ! -name '*.map' ! -name '*.tsbuildinfo' -print0 | sort -z | xargs -0r sha256sum)
    elif [ -f "$item" ]; then sha256sum < "$item"
    else echo "$item"; fi
  done | sha256sum | cut -c1-16
}

# buildah_in WORK ARGUMENTS...: buildah with its storage in WORK, and nothing of it elsewhere on the machine.
buildah_in() {
  # shellcheck disable=SC2016 # expanded by the inner shell
  TMPDIR=$1 unshare --mount bash -c '. "$0"; private "$1" "$2"; work=$1; shift 2; exec buildah --root "$work/storage" --runroot /run/buildah --storage-driver overlay "$@"' \
    "$here/lib/private.sh" "$1" "$cache" "${@:2}"
}

# with_libs FILE FOLDER: copies a dynamic program and what it links into FOLDER.
with_libs() {
  local library
  install -D "$(readlink -f "$1")" "$2$1"
  for library in $(ldd "$1" | grep -o '/[^ ]*'); do [ -e "$2$library" ] || install -D "$(readlink -f "$library")" "$2$library"; done
}

# make_image NAME KEY FILL: makes the image unless it is kept. `FILL FOLDER` puts Dockerfile and context there, and, for an image with
# `ARG BASE`, the base image's content into FOLDER/base.
make_image() {
  local name=$1 tar=$images/$1-$2.tar fill=$3 work
  mkdir -p "$images"
  if [ ! -s "$tar" ]; then
    say "making image $name (once)"
    work=$(mktemp -d "$cache/.image-XXXXXX")
    mkdir "$work/context"
    "$fill" "$work/context"
    if [ -d "$work/context/base" ]; then
      printf 'FROM scratch\nCOPY . /\nENTRYPOINT ["/nodejs/bin/node"]\n' > "$work/Dockerfile.base"
      buildah_in "$work" bud -q --timestamp 0 -t lab/base:1 -f "$work/Dockerfile.base" "$work/context/base" >/dev/null
      rm -rf "$work/context/base"
    fi
    buildah_in "$work" bud -q --timestamp 0 --pull-never --build-arg BASE=localhost/lab/base:1 -t "lab/$name:1" -f "$work/context/Dockerfile" "$work/context" >/dev/null
    buildah_in "$work" push -q "lab/$name:1" "docker-archive:$work/image.tar:docker.io/lab/$name:1"
    mv "$work/image.tar" "$tar"
    rm -rf "$work"
    # Two checkouts may take turns; more than a few old ones are of no use.
    find "$images" -name "$name-????????????????.tar" -printf '%T@ %p\n' | sort -rn | tail -n +5 | cut -d' ' -f2- | xargs -r rm -f
  fi
  touch "$tar"
  ln -sfn "$name-$2.tar" "$images/$name"
}

fill_pause() { cp "$bin/pause" "$1/"; printf 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n' > "$1/Dockerfile"; }
fill_book() { cp "$bin/book" "$1/"; printf 'FROM scratch\nCOPY book /book\nUSER 65532:65532\nENTRYPOINT ["/book"]\n' > "$1/Dockerfile"; }

# containerboot, tailscaled, tailscale, and what the guard needs: iproute2 (busybox has no prohibit rule), a shell, sleep. head, mv, grep and, for the liveness
# probe, wget and timeout are busybox's, as in the official image; so are id and hostname, for shells.
tailscale_tools() { local tool; for tool in ip dash sleep busybox; do readlink -f "$(command -v "$tool")"; done; }
fill_tailscale() {
  local tool
  mkdir -p "$1"/root/{bin,tmp,var/lib,usr/local/bin,etc/ssl/certs}
  chmod 1777 "$1/root/tmp"
  cp "$bin"/{tailscaled,tailscale,containerboot} "$1/root/usr/local/bin/"
  cp -L /etc/ssl/certs/ca-certificates.crt "$1/root/etc/ssl/certs/"
  for tool in $(tailscale_tools); do with_libs "$tool" "$1/root"; done
  printf 'tcp 6 TCP\nudp 17 UDP\n' > "$1/root/etc/protocols" # `ip rule … ipproto tcp` looks there
  ln -s "$(readlink -f "$(command -v dash)")" "$1/root/bin/sh"
  echo 'root:x:0:0:root:/tmp:/bin/sh' > "$1/root/etc/passwd" # whom Tailscale SSH lets in, the machine must know
  echo 'root:x:0:' > "$1/root/etc/group"
  for tool in wget grep timeout head mv id hostname; do ln -s "$(readlink -f "$(command -v busybox)")" "$1/root/bin/$tool"; done
  printf 'FROM scratch\nCOPY root/ /\nENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\nENTRYPOINT ["/usr/local/bin/containerboot"]\n' > "$1/Dockerfile"
}

# fill_node FOLDER: what Bifrost's own images stand on: the project's Node where distroless has it, and the libraries that it links.
fill_node() {
  mkdir -p "$1"/base/{nodejs/bin,tmp,etc/ssl/certs}
  chmod 1777 "$1/base/tmp"
  with_libs "$node_program" "$1/libraries"
  rm -f "$1/libraries$node_program"
  cp -a "$1/libraries/." "$1/base/"
  rm -rf "$1/libraries"
  strip -o "$1/base/nodejs/bin/node" "$node_program" 2>/dev/null || cp -L "$node_program" "$1/base/nodejs/bin/node"
  cp -L /etc/ssl/certs/ca-certificates.crt "$1/base/etc/ssl/certs/"
  echo 'nonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin' > "$1/base/etc/passwd"
}
# The program that test:envoy uses too.
envoy_program() { bash "$project/test/envoy/get-envoy"; }
fill_envoy() {
  with_libs "$(envoy_program)" "$1/root"
  mkdir -p "$1/root/usr/local/bin"
  mv "$1/root$(envoy_program)" "$1/root/usr/local/bin/envoy"
  printf 'FROM scratch\nCOPY root/ /\nENV PATH=/usr/local/bin\nUSER 65532:65532\nENTRYPOINT ["/usr/local/bin/envoy"]\n' > "$1/Dockerfile"
}
fill_agent() {
  fill_node "$1"
  mkdir "$1/dist"
  cp "$project/packages/agent/dist/agent.cjs" "$1/dist/"
  cp "$project/packages/agent/Dockerfile" "$1/"
}
# fill_example EXAMPLE FOLDER
fill_example() {
  fill_node "$2"
  "$node_program" "$here/lib/bundle-example.mjs" "$1" "$2/main.mjs" >&2
  mkdir "$2/site" # what the program serves beside its calls, where it has any
  [ ! -d "$project/examples/$1/dist/site" ] || cp -r "$project/examples/$1/dist/site" "$2/"
  cp "$project/examples/deploy/Dockerfile" "$2/"
}
fill_network-manager() { fill_example network-manager "$1"; }
fill_book-controller() { fill_example book-controller "$1"; }

make_images() {
  local certificates=/etc/ssl/certs/ca-certificates.crt example
  # shellcheck disable=SC2046 # a list of paths without spaces
  {
    make_image pause "$(hash_of "$(declare -f fill_pause)" "$bin/pause")" fill_pause
    make_image book "$(hash_of "$(declare -f fill_book)" "$bin/book")" fill_book
    make_image envoy "$(hash_of "$(declare -f fill_envoy with_libs)" "$(basename "$(dirname "$(envoy_program)")")")" fill_envoy
    make_image tailscale "$(hash_of "$(declare -f fill_tailscale with_libs)" "$(readlink "$bin/tailscaled")" $certificates $(tailscale_tools))" fill_tailscale
  }
  make_own_image agent packages/agent/{dist/agent.cjs,Dockerfile}
  for example in network-manager book-controller; do
    make_own_image $example examples/$example/dist/main.js examples/deploy/Dockerfile examples/$example/dist packages/types/dist packages/sdk/dist pnpm-lock.yaml test/lab/lib/bundle-example.mjs
  done
}

# make_own_image NAME FILE...: one of Bifrost's own, from these of the project's files, of which the first two say that it is built.
# The lab is of use without them too: their lack is said, and `lab manager` is what fails.
make_own_image() {
  local name=$1 job; shift
  rm -f "$images/$name"
  if [ ! -x "$node_program" ] || [ ! -f "$project/$1" ] || [ ! -f "$project/$2" ]; then say "no image of the $name: it is not built (npm run setup)"; return; fi
  make_image "$name" "$(hash_of "$(declare -f fill_node fill_example "fill_$name" with_libs)" "$node_program" "${@/#/$project/}")" "fill_$name" &
  job=$! # as a job, so that its first failure ends it
  wait "$job" || say "no image of the $name: see above"
}

# import_image NAME TAR (as seen on the node): onto the node, by tag and by digest.
import_image() {
  local name=docker.io/lab/$1 digest
  ctr images import "$2" >/dev/null
  digest=$(ctr images ls "name==$name:1" | awk 'NR == 2 { print $3 }')
  ctr images tag --force "$name:1" "$name@$digest" >/dev/null
  echo "$name@$digest" > "$run/images/$1"
}

import_images() {
  local name jobs=()
  mkdir -p "$run/images"
  for name in pause book tailscale envoy agent network-manager book-controller; do
    [ -e "$images/$name" ] || continue
    import_image "$name" "$run/cache/images/$name" &
    jobs+=($!)
  done
  for name in "${jobs[@]}"; do wait "$name"; done
}

# digests: prints JSON, image name -> pinned reference.
lab_digests() { require_node; (cd "$run/images" && jq -Rn '[inputs | {key: (input_filename), value: .}] | from_entries' ./* | jq 'with_entries(.key |= ltrimstr("./"))'); }

# refresh: makes Bifrost's own images again from what is built now, without a restart of the lab.
refresh() { require_node; make_images; import_images; lab_digests; }

# image NAME FOLDER ENTRYPOINT: FOLDER becomes docker.io/lab/NAME:1 on the node; prints its pinned reference.
image() {
  require_node
  local source=$2 entry=$3
  fill_given() { cp -a "$source" "$1/root"; printf 'FROM scratch\nCOPY root/ /\nENV PATH=/usr/local/bin:/usr/bin:/bin:/sbin\nENTRYPOINT ["%s"]\n' "$entry" > "$1/Dockerfile"; }
  make_image "$1" "$(hash_of "$entry" "$source")" fill_given
  import_image "$1" "$run/cache/images/$1"
  cat "$run/images/$1"
}
