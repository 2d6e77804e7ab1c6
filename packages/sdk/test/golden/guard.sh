set -eu
IFS=,; for address in $HOST_IPS; do
  case ",$POD_IPS," in *",$address,"*) echo "bifrost-guard: this pod uses the network of its node: remove hostNetwork" >&2; exit 1 ;; esac
done; unset IFS
IP=
for candidate in /usr/sbin/ip /sbin/ip /usr/bin/ip /bin/ip; do
  case "$("$candidate" -V 2>/dev/null || true)" in *iproute2*) IP=$candidate; break ;; esac
done
[ -n "$IP" ] || { echo "bifrost-guard: this image has no iproute2" >&2; exit 1; }
six=no; if [ -d /proc/sys/net/ipv6 ] && "$IP" -6 rule show >/dev/null 2>&1; then six=yes; fi
add() { of=$1; preference=$2; shift 2; if [ "$of" = 6 ] && [ "$six" = no ]; then return 0; fi; "$IP" "-$of" rule add preference "$preference" "$@"; }
clear_preference() { while "$IP" "-$1" rule del preference "$2" 2>/dev/null; do :; done; }
for preference in 5000 5010 5020 5100 5110 5120 5130; do
  clear_preference 4 "$preference"; if [ "$six" = yes ]; then clear_preference 6 "$preference"; fi
done
add 4 5000 fwmark 0x80000/0xff0000 lookup main
add 6 5000 fwmark 0x80000/0xff0000 lookup main
add 4 5010 to 10.244.0.0/24 lookup main
add 4 5010 to 10.250.0.1/32 lookup main
add 4 5010 to 10.96.0.0/16 lookup main
add 4 5100 to 169.254.0.0/16 prohibit
add 4 5110 to 10.0.0.0/8 lookup 52
add 4 5110 to 100.64.0.0/10 lookup 52
add 4 5110 to 192.168.0.0/16 lookup 52
add 6 5110 to fd00:1::/64 lookup 52
add 6 5110 to fd7a:115c:a1e0::/48 lookup 52
add 4 5120 to 10.0.0.0/8 prohibit
add 4 5120 to 100.64.0.0/10 prohibit
add 4 5120 to 192.168.0.0/16 prohibit
add 6 5120 to fd00:1::/64 prohibit
add 6 5120 to fd7a:115c:a1e0::/48 prohibit
add 4 5130 from all lookup main
add 6 5130 from all lookup main
seen=" 10.250.0.1 "
direct() {
  address=${1%%%*}
  case "$seen" in *" $address "*) return 0 ;; esac
  seen="$seen$address "
  case "$address" in *:*) add 6 5010 to "$address/128" lookup main ;; *.*) add 4 5010 to "$address/32" lookup main ;; esac
}
while read -r word value rest; do if [ "$word" = nameserver ]; then direct "$value"; fi; done < /etc/resolv.conf
IFS=,; for address in $HOST_IPS; do direct "$address"; done; unset IFS
IFS=,; for address in $POD_IPS; do
  unset IFS
  case "$address" in *:*) family=6 ;; *) family=4 ;; esac
  add "$family" 5020 from "$address" ipproto 17 sport 53 lookup main
  add "$family" 5020 from "$address" ipproto 6 sport 8080 lookup main
done; unset IFS
