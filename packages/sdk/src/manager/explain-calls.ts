import { type ExplainInput, explainRequestSchema, parseOrThrow } from '@bifrost/types';
import { BifrostError, type ExplainEvidence, type PacketExplanation } from '@bifrost/types/core';
import { isUp } from '../domain/connectivity.ts';
import { liveGuardRules, PREFERENCES, QUARANTINE_RULES } from '../domain/guard.ts';
import type { StoredSidecar, StoredTailnet } from '../domain/model.ts';
import { withClearStep } from '../domain/policy/explain-clear.ts';
import { type ExplainedDevice, explainedCarriers, explainPacket } from '../domain/policy/explain-packet.ts';
import type { ReadRule } from '../domain/policy/judge-guard.ts';
import { guardRulesIn } from '../domain/policy/read-guard.ts';
import type { Device, TailnetControl } from '../ports/index.ts';
import { carrierEvidence } from './carrier-evidence.ts';
import { type Call, type Context, controlOf } from './context.ts';
import { explainClear } from './explain-clear.ts';
import { guardStateOf } from './guard-orders.ts';
import { ownDevices } from './identities.ts';
import { requireSidecar } from './sidecar-calls.ts';
import { requireTailnet } from './tailnet-calls.ts';

interface NamedDevice extends ExplainedDevice {
  readonly deviceId: string;
}

const explained = ({ deviceId, name, tags, addresses, enabledRoutes, connected }: Device): NamedDevice => ({
  ...{ deviceId, name, tags, addresses, connected },
  routes: enabledRoutes,
});

/** Undefined: our client may not read it. */
export async function policyOf(control: TailnetControl, call: Call): Promise<string | undefined> {
  try {
    return (await control.readPolicy(call)).text;
  } catch (error) {
    if (BifrostError.is(error) && error.code === 'CONTROL_DENIED') return undefined;
    throw error;
  }
}

function evidenceOf(context: Context, { key }: StoredSidecar, goesBy: readonly NamedDevice[]): ExplainEvidence {
  const instances = context.instances.of(key);
  const heard = instances.filter(({ reported }) => reported).map(({ heardAtMs }) => heardAtMs);
  const carrier = carrierEvidence(instances, goesBy);
  return {
    instances: instances.length,
    connectedInstances: instances.filter(({ connection }) => isUp(connection.state)).length,
    ...(heard.length === 0 ? {} : { lastReportAt: new Date(Math.max(...heard)) }),
    ...(carrier === undefined ? {} : { carrier }),
  };
}

/** What its guards hold: the rules of its fragment, with those of the tailnet's configuration where a guard that takes orders says that it holds it. */
function guardInForce(context: Context, sidecar: StoredSidecar, { spec: { config } }: StoredTailnet): readonly ReadRule[] {
  const rendered = guardRulesIn(sidecar.spec.fragment);
  const heard = context.instances.of(sidecar.key).filter(({ reported }) => reported);
  if (!heard.some((instance) => guardStateOf(context, sidecar, instance) === 'current')) return rendered;
  const ordered = sidecar.spec.quarantine === undefined ? liveGuardRules(config) : QUARANTINE_RULES;
  return [...rendered.filter(({ preference }) => preference < PREFERENCES.blocked), ...ordered];
}

const DEFAULT_PORT = 443;

/** @see NetworkManager.explain */
export async function explain(context: Context, input: ExplainInput, call: Call): Promise<PacketExplanation> {
  const { sidecarId, to, port = DEFAULT_PORT, protocol } = parseOrThrow(explainRequestSchema, input, 'INVALID_ARGUMENT');
  const sidecar = await requireSidecar(context, sidecarId, call);
  const tailnet = await requireTailnet(context, sidecar.spec.tailnetName, call);
  const control = await controlOf(context, tailnet, call);
  const [all, policyText] = await Promise.all([control.listDevices(call), policyOf(control, call)]);
  const devices = ownDevices(tailnet, all);
  const own = new Set(context.instances.of(sidecar.key).map(({ deviceId }) => deviceId));
  const from = devices.find(({ deviceId }) => own.has(deviceId));
  const named = devices.map(explained);
  const answer = explainPacket({
    ...{ address: to, port, protocol, policyText, reader: (text) => context.policies.read(text) },
    from: from === undefined ? undefined : explained(from),
    guard: guardInForce(context, sidecar, tailnet),
    acceptRoutes: sidecar.spec.config.acceptRoutes,
    isQuarantined: sidecar.spec.quarantine !== undefined,
    devices: named,
  });
  const clear = answer.verdict === 'outside' ? await explainClear(context, sidecar, { ...call, packet: { to, port, protocol } }) : undefined;
  return { ...withClearStep(answer, clear), evidence: evidenceOf(context, sidecar, explainedCarriers(answer, named, to)) };
}
