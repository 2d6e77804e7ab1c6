# shellcheck shell=bash
# private RUN CACHE: gives this process, which has a mount namespace of its own, its own /run, /var/lib, /var/log and changes to /etc.
# What containerd, the kubelet, buildah and CNI plugins write there is seen nowhere else and goes with the namespace.
# RUN and CACHE stay reachable, as RUN and RUN/cache, wherever they were.
private() {
  mkdir -p "$1" "$1/cache"
  mount --bind "$1" /mnt
  mount --bind "$2" /mnt/cache
  local folder
  for folder in /run /var/lib /var/log; do mount -t tmpfs -o mode=755 lab "$folder"; done
  mkdir -p "$1" /run/lock /run/netns /run/.etc/upper /run/.etc/work
  mount --move /mnt "$1"
  mount -t overlay -o "lowerdir=/etc,upperdir=/run/.etc/upper,workdir=/run/.etc/work" lab /etc
}
