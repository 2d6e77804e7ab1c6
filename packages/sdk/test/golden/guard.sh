set -eu
IFS=,; for address in $HOST_IPS; do
  case ",$POD_IPS," in *",$address,"*) echo "bifrost-guard: this pod uses the network of its node: remove hostNetwork" >&2; exit 1 ;; esac
done; unset IFS
export LC_ALL=C; umask 022
IP=
for candidate in /usr/sbin/ip /sbin/ip /usr/bin/ip /bin/ip; do
  case "$("$candidate" -V 2>/dev/null || true)" in *iproute2*) IP=$candidate; break ;; esac
done
[ -n "$IP" ] || { echo "bifrost-guard: this image has no iproute2" >&2; exit 1; }
six=no families=4; if [ -d /proc/sys/net/ipv6 ] && "$IP" -6 rule show >/dev/null 2>&1; then six=yes families="4 6"; fi
add() { of=$1; preference=$2; shift 2; if [ "$of" = 6 ] && [ "$six" = no ]; then return 0; fi; "$IP" "-$of" rule add preference "$preference" "$@"; }
clear_preference() { while "$IP" "-$1" rule del preference "$2" 2>/dev/null; do :; done; }
own=/var/run/bifrost/guard order=/var/run/bifrost/guard-order/order
# Takes the file $1 over as $own/new. Refused as a whole unless every line is one of ours. Sets hash and policy.
check() {
  head -c 131072 "$1" > "$own/new" || return 1
  wrong=0; grep -Evxq 'bifrost-guard 1 [0-9a-f]{16} [0-9]{1,4}|policy (restrictive|standard|permissive|quarantine)|(allow|block) ((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(\.(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}/([1-9]|[12][0-9]|3[0-2])|[0-9a-f]{0,4}(:[0-9a-f]{0,4}){2,7}/([1-9][0-9]?|1[01][0-9]|12[0-8]))' "$own/new" || wrong=$?
  [ "$wrong" = 1 ] || return 1
  hash= policy= count=none counted=-1
  while IFS= read -r line; do
    counted=$((counted + 1))
    case "$counted:$line" in
      *[!0-9a-z:./\ -]*) return 1 ;;
      "0:bifrost-guard 1 "*) count=${line##* }; hash=${line#bifrost-guard 1 }; hash=${hash% *} ;;
      "1:policy "*) policy=${line#policy } ;;
      [01]:*|*:bifrost-guard*|*:policy*|*' '*' '*) return 1 ;;
    esac
  done < "$own/new"
  [ -n "$policy" ] && [ "$counted" = "$count" ] && [ "$counted" -le 2001 ]
}
standing() {
  "$IP" -N "-$1" rule show > "$own/listed" || return 1
  while read -r at from source what; do
    case "$at" in 5100:|5105:|5110:|5120:|5130:) ;; *) continue ;; esac
    [ "$source" = all ] || continue
    case "$what" in
      "to "*)
        what=${what#to }; network=${what%% *}; what=${what#* }
        case "$network" in */*) ;; *:*) network=$network/128 ;; *) network=$network/32 ;; esac
        from="to $network " ;;
      *) from= ;;
    esac
    case "$what" in 8) what=prohibit ;; "lookup main") what="lookup 254" ;; esac
    printf '%s %s%s\n' "${at%:}" "$from" "$what"
  done < "$own/listed" > "$2"
  echo end >> "$2" && whole "$2"
}
whole() { grep -Fxq end "$1"; }
lines() {
  while read -r word network; do
    case "$word$1$network" in
      allow?100.64.0.0/10|allow?fd7a:115c:a1e0::/48|"$2"4*:*|"$2"6*.*) ;;
      "$2"*) printf '%s to %s %s\n' "$3" "$network" "$4" ;;
    esac
  done < "$own/new"
  [ "$2" = block ] || case "$1" in 4) echo "$3 to 100.64.0.0/10 $4" ;; *) echo "$3 to fd7a:115c:a1e0::/48 $4" ;; esac
}
# In the order in which rules may be added: what closes comes before what opens.
wanted() {
  {
    if [ "$policy" = quarantine ]; then echo '5105 prohibit'; else
      lines "$1" block 5100 prohibit
      lines "$1" allow 5120 prohibit
      lines "$1" allow 5110 'lookup 52'
      [ "$policy" = permissive ] || echo '5130 lookup 254'
    fi
    echo end
  } > "$2" && whole "$2"
}
without() { grep -Fxv -f "$1" "$2" || [ $? = 1 ]; }
# From what stands to $own/wanted4 and 6. All that is new is there before anything old goes, so no packet finds a gap.
become() {
  for of in $families; do
    standing "$of" "$own/have$of" || return 1
    without "$own/have$of" "$own/wanted$of" > "$own/added" || return 1
    while read -r at what; do printf 'rule add preference %s %s\n' "$at" "$what"; done < "$own/added" > "$own/batch" || return 1
    "$IP" "-$of" -batch "$own/batch" 2>/dev/null || return 1
  done
  for of in $families; do
    without "$own/wanted$of" "$own/have$of" > "$own/gone" || return 1
    for now in 5110 5120 5130 5100 5105; do
      while read -r at what; do [ "$at" != "$now" ] || printf 'rule del preference %s %s\n' "$at" "$what"; done < "$own/gone"
    done > "$own/batch" || return 1
    "$IP" "-$of" -batch "$own/batch" 2>/dev/null || return 1
  done
}
# Holds what check has read. Where the kernel refuses any of it, what stood before stands again.
hold() {
  for of in $families; do standing "$of" "$own/before$of" && wanted "$of" "$own/wanted$of" || return 1; done
  ! become || return 0
  for of in $families; do mv "$own/before$of" "$own/wanted$of" || return 1; done
  become || echo "bifrost-guard: what stood before could not be restored" >&2
  return 1
}
say() { printf '%s\n' "$1" > "$own/said" && mv "$own/said" "$own/holds"; }
opened=no; if [ -n "$("$IP" -4 rule show preference 5000)" ]; then opened=yes; fi
if [ "$opened" = no ]; then
for preference in 5000 5010 5020 5100 5105 5110 5120 5130; do
  clear_preference 4 "$preference"; if [ "$six" = yes ]; then clear_preference 6 "$preference"; fi
done
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
fi
if [ -f "$own/accepted" ]; then check "$own/accepted" && hold && say "$hash" || exit 1
elif [ -n "${NETWORK_HASH:-}" ]; then say "$NETWORK_HASH"; fi
if [ "$opened" = no ]; then
add 6 5000 fwmark 0x80000/0xff0000 lookup main
add 4 5000 fwmark 0x80000/0xff0000 lookup main
fi
trap "exit 0" TERM INT
seen= refused= waited=0
while :; do
  sleep 1 & wait "$!" || :
  [ -f "$order" ] && [ ! -L "$order" ] && IFS= read -r head < "$order" || continue
  [ "$head" != "$seen" ] || continue
  if [ "$head" = "$refused" ]; then waited=$((waited + 1)); [ "$waited" -ge 30 ] || continue; fi
  waited=0
  if check "$order" && hold; then
    seen=$head refused=
    mv "$own/new" "$own/accepted" && say "$hash" && echo "bifrost-guard: holds $hash"
  else
    [ "$head" = "$refused" ] || echo "bifrost-guard: refused an order; what stood before stands" >&2
    refused=$head
  fi
done
