import { hasLiveGuard, renderedHash } from '../live-guard.ts';
import { CONTAINERS } from '../names.ts';
import type { ContainerShape, EnvironmentVariable, SidecarFragment } from '../pod-shape.ts';
import type { Digest } from './identity-tags.ts';
import { type ReadRule, ruleLine, rulesOfLines } from './judge-guard.ts';
import type { GuardEvidence } from './proof-evidence.ts';

/** Before each rule in the guard's program. */
const ADD = 'add ';

type Carrier = Pick<SidecarFragment, 'initContainers'>;

/** The guard's rules as a fragment carries them: read out of the program that runs in its pods, not compiled again. Empty in userspace mode. */
export function guardRulesIn({ initContainers }: Carrier): readonly ReadRule[] {
  const command = initContainers.find(({ name }) => name === CONTAINERS.guard)?.['command'];
  const program = Array.isArray(command) ? String(command.at(-1)) : '';
  const added = program.split('\n').filter((line) => line.startsWith(ADD));
  return rulesOfLines(added.map((line) => line.slice(ADD.length)));
}

/** An API server leaves an empty text out of its JSON, and writes members out that were not given. */
function variable({ name, value, valueFrom }: EnvironmentVariable): readonly [string, string] {
  const field = (valueFrom as { readonly fieldRef?: { readonly fieldPath?: string } } | undefined)?.fieldRef?.fieldPath;
  return [name, valueFrom === undefined ? `=${value ?? ''}` : `field ${field ?? 'other'}`];
}

const capabilitiesOf = ({ securityContext }: ContainerShape): unknown =>
  (securityContext as { readonly capabilities?: { readonly add?: unknown; readonly drop?: unknown } } | undefined)?.capabilities;

/** What of the guard decides what it does: whatever defaults an API server adds, the same guard gives the same text. */
function decisive(guard: ContainerShape): string {
  const { image, env = [], restartPolicy } = guard;
  return JSON.stringify([image, guard['command'], guard['args'], restartPolicy, env.map(variable), capabilitiesOf(guard), guard['lifecycle']]);
}

const guardIn = ({ initContainers }: Carrier): ContainerShape | undefined => initContainers.find(({ name }) => name === CONTAINERS.guard);

function evidenceOf(carrier: Carrier, sha256: string): GuardEvidence {
  const renderedFor = renderedHash(carrier.initContainers);
  return {
    rules: guardRulesIn(carrier).map(ruleLine),
    sha256,
    live: hasLiveGuard(carrier),
    ...(renderedFor === undefined ? {} : { renderedFor }),
  };
}

/**
 * Reads the guard among init containers; undefined: there is none. Most are alike, and each is read once: a reader is for as long as one proof.
 */
export function guardReader(digest: Digest): (carrier: Carrier) => GuardEvidence | undefined {
  const [known, seen] = [new Map<string, GuardEvidence>(), new Map<Carrier['initContainers'], GuardEvidence>()];
  return (carrier) => {
    const { initContainers } = carrier;
    const before = seen.get(initContainers);
    const guard = guardIn(carrier);
    if (before !== undefined || guard === undefined) return before;
    const text = decisive(guard);
    const found = known.get(text) ?? evidenceOf(carrier, digest(text));
    known.set(text, found);
    seen.set(initContainers, found);
    return found;
  };
}
