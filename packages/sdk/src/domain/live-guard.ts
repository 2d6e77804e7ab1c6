import { GUARD_LIMITS, GUARD_POLICIES } from '@bifrost/types/core';
import { CONTAINERS } from './names.ts';
import type { ContainerShape, ProbeShape, SidecarFragment } from './pod-shape.ts';

/** Folders of the live guard; each is a volume of its own. */
export const GUARD_FOLDERS = {
  /** Written by the agent, read by the guard: `order`. */
  order: '/var/run/bifrost/guard-order',
  /** Written by the guard, read by the agent: `holds`. */
  own: '/var/run/bifrost/guard',
} as const;

/** The guard's variable that names what its fragment was rendered for: what it says that it holds before its first order. */
export const NETWORK_HASH = 'NETWORK_HASH';

/** What the two may grow to. A guard's own folder has a few lists of rules beside the order. */
export const GUARD_FOLDER_LIMITS = { order: '1Mi', own: '8Mi' } as const;

/** The preferences that an order may change, and those that come from the fragment alone. `opened` is written last: with it everything stands. */
export interface LivePreferences {
  readonly opened: number;
  readonly blocked: number;
  /** Apart from `blocked`: the kernel refuses a rule for all addresses where the preference has one like it for some. */
  readonly quarantine: number;
  readonly allowed: number;
  readonly failClosed: number;
  readonly rest: number;
}

const BYTE = '(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])';
const V4 = `${BYTE}(\\.${BYTE}){3}/([1-9]|[12][0-9]|3[0-2])`;
const V6 = '[0-9a-f]{0,4}(:[0-9a-f]{0,4}){2,7}/([1-9][0-9]?|1[01][0-9]|12[0-8])';
/** Every line of an order, whole: no other byte of it reaches a command. */
const LINE = `bifrost-guard 1 [0-9a-f]{16} [0-9]{1,4}|policy (${GUARD_POLICIES.join('|')})|(allow|block) (${V4}|${V6})`;
/** The policy, and two full lists. */
const MAX_LINES = 2 * GUARD_LIMITS.maxNetworks + 1;

const liveGuardOf = (initContainers: readonly ContainerShape[]): ContainerShape | undefined =>
  initContainers.find(({ name, restartPolicy }) => name === CONTAINERS.guard && restartPolicy === 'Always');

/** True when this fragment's guard takes orders: a changed configuration needs no new pods. Older fragments have a guard that writes its rules once. */
export const hasLiveGuard = ({ initContainers }: Pick<SidecarFragment, 'initContainers'>): boolean => liveGuardOf(initContainers) !== undefined;

/** What the live guard among these containers says that it holds before its first order; undefined where there is none, or it would say nothing. */
export const renderedHash = (initContainers: readonly ContainerShape[] = []): string | undefined =>
  liveGuardOf(initContainers)?.env?.find(({ name }) => name === NETWORK_HASH)?.value;

/** The shell of some images prefers its own small `ip`, which knows no prohibit rule: iproute2's is taken by path. */
export const FIND_IP = [
  'IP=',
  'for candidate in /usr/sbin/ip /sbin/ip /usr/bin/ip /bin/ip; do',
  '  case "$("$candidate" -V 2>/dev/null || true)" in *iproute2*) IP=$candidate; break ;; esac',
  'done',
] as const;

/** The kernel is asked, no file: a file of the guard may be older than the network that its pod has now. */
export const openedTest = ({ opened }: LivePreferences): string => `[ -n "$("$IP" -4 rule show preference ${opened})" ]`;

/** Passes when all rules stand: nothing else of the pod starts before. */
export const guardProbe = (preferences: LivePreferences): ProbeShape => ({
  exec: { command: ['/bin/sh', '-c', [...FIND_IP, openedTest(preferences)].join('\n')] },
  periodSeconds: 1,
  timeoutSeconds: 5,
  failureThreshold: 300, // thousands of networks on a busy node take a while, and a restart would begin again
});

/** Functions that read an order. What they take is a copy of ours: the agent may change its file at any moment. */
const CHECK = [
  '# Takes the file $1 over as $own/new. Refused as a whole unless every line is one of ours. Sets hash and policy.',
  'check() {',
  `  head -c ${GUARD_LIMITS.maxOrderBytes} "$1" > "$own/new" || return 1`,
  `  wrong=0; grep -Evxq '${LINE}' "$own/new" || wrong=$?`,
  '  [ "$wrong" = 1 ] || return 1', // 1: no line is otherwise; 2: grep itself failed
  '  hash= policy= count=none counted=-1',
  '  while IFS= read -r line; do',
  '    counted=$((counted + 1))',
  '    case "$counted:$line" in',
  '      *[!0-9a-z:./\\ -]*) return 1 ;;', // and again: some greps end a line at a NUL, some shells leave it out
  `      "0:bifrost-guard 1 "*) count=\${line##* }; hash=\${line#bifrost-guard 1 }; hash=\${hash% *} ;;`,
  `      "1:policy "*) policy=\${line#policy } ;;`,
  `      [01]:*|*:bifrost-guard*|*:policy*|*' '*' '*) return 1 ;;`,
  '    esac',
  '  done < "$own/new"',
  `  [ -n "$policy" ] && [ "$counted" = "$count" ] && [ "$counted" -le ${MAX_LINES} ]`,
  '}',
] as const;

/** What stands and what an order wants, in one form: `5110 to 10.0.0.0/8 lookup 52`, and a last line that tells a whole list from one cut short. */
const lists = (
  { blocked, quarantine, allowed, failClosed, rest }: LivePreferences,
  tailnet: { readonly v4: string; readonly v6: string },
): readonly string[] => [
  'standing() {', // FAMILY FILE; by number, whatever the image calls its tables
  '  "$IP" -N "-$1" rule show > "$own/listed" || return 1',
  '  while read -r at from source what; do',
  `    case "$at" in ${[blocked, quarantine, allowed, failClosed, rest].map((preference) => `${preference}:`).join('|')}) ;; *) continue ;; esac`,
  '    [ "$source" = all ] || continue',
  '    case "$what" in',
  '      "to "*)',
  `        what=\${what#to }; network=\${what%% *}; what=\${what#* }`,
  '        case "$network" in */*) ;; *:*) network=$network/128 ;; *) network=$network/32 ;; esac',
  '        from="to $network " ;;',
  '      *) from= ;;',
  '    esac',
  '    case "$what" in 8) what=prohibit ;; "lookup main") what="lookup 254" ;; esac',
  `    printf '%s %s%s\\n' "\${at%:}" "$from" "$what"`,
  '  done < "$own/listed" > "$2"',
  '  echo end >> "$2" && whole "$2"',
  '}',
  'whole() { grep -Fxq end "$1"; }',
  'lines() {', // FAMILY WORD PREFERENCE ACTION; the tailnet's own ranges are always there
  '  while read -r word network; do',
  '    case "$word$1$network" in',
  `      allow?${tailnet.v4}|allow?${tailnet.v6}|"$2"4*:*|"$2"6*.*) ;;`,
  `      "$2"*) printf '%s to %s %s\\n' "$3" "$network" "$4" ;;`,
  '    esac',
  '  done < "$own/new"',
  `  [ "$2" = block ] || case "$1" in 4) echo "$3 to ${tailnet.v4} $4" ;; *) echo "$3 to ${tailnet.v6} $4" ;; esac`,
  '}',
  '# In the order in which rules may be added: what closes comes before what opens.',
  'wanted() {', // FAMILY FILE
  '  {',
  `    if [ "$policy" = quarantine ]; then echo '${quarantine} prohibit'; else`,
  `      lines "$1" block ${blocked} prohibit`,
  `      lines "$1" allow ${failClosed} prohibit`,
  `      lines "$1" allow ${allowed} 'lookup 52'`,
  `      [ "$policy" = permissive ] || echo '${rest} lookup 254'`,
  '    fi',
  '    echo end',
  '  } > "$2" && whole "$2"',
  '}',
];

const BECOME = ({ blocked, quarantine, allowed, failClosed, rest }: LivePreferences): readonly string[] => [
  'without() { grep -Fxv -f "$1" "$2" || [ $? = 1 ]; }', // the lines of $2 that are not in $1; neither is ever empty
  '# From what stands to $own/wanted4 and 6. All that is new is there before anything old goes, so no packet finds a gap.',
  'become() {',
  '  for of in $families; do',
  '    standing "$of" "$own/have$of" || return 1',
  '    without "$own/have$of" "$own/wanted$of" > "$own/added" || return 1',
  `    while read -r at what; do printf 'rule add preference %s %s\\n' "$at" "$what"; done < "$own/added" > "$own/batch" || return 1`,
  '    "$IP" "-$of" -batch "$own/batch" 2>/dev/null || return 1', // its message would name what was asked for
  '  done',
  '  for of in $families; do',
  '    without "$own/wanted$of" "$own/have$of" > "$own/gone" || return 1',
  `    for now in ${[allowed, failClosed, rest, blocked, quarantine].join(' ')}; do`,
  `      while read -r at what; do [ "$at" != "$now" ] || printf 'rule del preference %s %s\\n' "$at" "$what"; done < "$own/gone"`,
  '    done > "$own/batch" || return 1',
  '    "$IP" "-$of" -batch "$own/batch" 2>/dev/null || return 1', // its message would name what was asked for
  '  done',
  '}',
  '# Holds what check has read. Where the kernel refuses any of it, what stood before stands again.',
  'hold() {',
  '  for of in $families; do standing "$of" "$own/before$of" && wanted "$of" "$own/wanted$of" || return 1; done',
  '  ! become || return 0',
  '  for of in $families; do mv "$own/before$of" "$own/wanted$of" || return 1; done',
  '  become || echo "bifrost-guard: what stood before could not be restored" >&2',
  '  return 1',
  '}',
  `say() { printf '%s\\n' "$1" > "$own/said" && mv "$own/said" "$own/holds"; }`,
];

/** When an order that was refused is tried again: the kernel may have had no room. */
const RETRY_SECONDS = 30;

/** Everything that takes orders, as functions; nothing runs yet. */
export const liveFunctions = (preferences: LivePreferences, tailnet: { readonly v4: string; readonly v6: string }): readonly string[] => [
  `own=${GUARD_FOLDERS.own} order=${GUARD_FOLDERS.order}/order`,
  ...CHECK,
  ...lists(preferences, tailnet),
  ...BECOME(preferences),
];

/** At the start: what an earlier run of this container held is held again; before the first order it is what the fragment says. */
export const RESUME = [
  'if [ -f "$own/accepted" ]; then check "$own/accepted" && hold && say "$hash" || exit 1',
  `elif [ -n "\${${NETWORK_HASH}:-}" ]; then say "$${NETWORK_HASH}"; fi`,
] as const;

/** Looks for an order once a second, for as long as the pod is there. Without a fork but that of `sleep` while there is none. */
export const FOLLOW = [
  'trap "exit 0" TERM INT', // the rules stay: whatever still runs keeps them
  'seen= refused= waited=0',
  'while :; do',
  '  sleep 1 & wait "$!" || :',
  '  [ -f "$order" ] && [ ! -L "$order" ] && IFS= read -r head < "$order" || continue',
  '  [ "$head" != "$seen" ] || continue',
  `  if [ "$head" = "$refused" ]; then waited=$((waited + 1)); [ "$waited" -ge ${RETRY_SECONDS} ] || continue; fi`,
  '  waited=0',
  '  if check "$order" && hold; then',
  '    seen=$head refused=',
  '    mv "$own/new" "$own/accepted" && say "$hash" && echo "bifrost-guard: holds $hash"',
  '  else',
  '    [ "$head" = "$refused" ] || echo "bifrost-guard: refused an order; what stood before stands" >&2',
  '    refused=$head',
  '  fi',
  'done',
] as const;
