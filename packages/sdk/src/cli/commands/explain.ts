import {
  type CarrierEvidence,
  CarrierEvidence_PathSchema,
  ExplainStep_OutcomeSchema,
  NetworkManager,
  PacketExplanation_LayerSchema,
  PacketExplanation_VerdictSchema,
  PacketExplanationSchema,
  PacketProtocolSchema,
} from '@bifrost/types/proto';
import { type Command, Option } from 'commander';
import { usage } from '../connect.ts';
import { portNumber } from '../input.ts';
import type { Run } from '../program.ts';
import { countText } from '../quantities.ts';
import { safeText } from '../safe-text.ts';
import type { Session } from '../session.ts';
import { ageText } from '../views.ts';
import { numberOf, wireOf, wordOf, wordsOf } from '../wire.ts';
import { requireSidecar } from './sidecar-named.ts';

export function addExplain(program: Command, run: Run): void {
  program
    .command('explain')
    .description('why a packet of a book passes or not, and what decides that')
    .argument('<sidecar>', 'its id, or namespace/name of its workload')
    .argument('<address>', 'where the packet goes')
    .option('--port <port>', 'default: 443; none for icmp', portNumber)
    .addOption(new Option('--protocol <protocol>', 'default: tcp').choices(wordsOf(PacketProtocolSchema)))
    .action(
      run<{ readonly port?: number; readonly protocol?: string }>(async (session, [named = '', to = ''], { port = 0, protocol }) => {
        const { sidecarId } = await requireSidecar(session, named);
        const request = { sidecarId, to, port, protocol: numberOf(PacketProtocolSchema, protocol) };
        const { explanation } = await session.call(NetworkManager.method.explainPacket, request);
        if (explanation === undefined) throw usage('The service answered nothing.', '--server');
        const { verdict, steps, evidence } = explanation;
        session.show.answer(wireOf(PacketExplanationSchema, explanation), () => [
          `${to}: ${wordOf(PacketExplanation_VerdictSchema, verdict)}`,
          ...session.show.table({
            head: ['LAYER', 'OUTCOME', 'BY', 'WHY'],
            rows: steps.map(({ layer, outcome, by, message }) => [
              wordOf(PacketExplanation_LayerSchema, layer),
              wordOf(ExplainStep_OutcomeSchema, outcome),
              by,
              message,
            ]),
          }),
          ...(evidence === undefined ? [] : [`agents: ${evidence.connectedInstances} of ${countText(evidence.instances, 'instance')} connected`]),
          ...carrierLines(session, evidence?.carrier),
        ]);
        return undefined;
      }),
    );
}

const PATHS: Readonly<Record<string, string>> = { direct: 'direct', 'peer-relay': 'by a peer relay', derp: 'by a relay', none: 'no way in use' };

/** The agents' last word on the device that the packet goes by. */
function carrierLines(session: Session, carrier: CarrierEvidence | undefined): readonly string[] {
  if (carrier === undefined) return [];
  const { name, path, online, toldAt, podName, lastUsedAt, lastHandshakeAt } = carrier;
  const ago = (what: string, time: CarrierEvidence['toldAt']): readonly string[] => {
    const age = ageText(session, time);
    return age === undefined ? [] : [`${what} ${age} ago`];
  };
  const way = PATHS[wordOf(CarrierEvidence_PathSchema, path)] ?? 'by a way that is not known here';
  const parts = [online ? 'online' : 'offline', way, ...ago('last used', lastUsedAt), ...ago('last handshake', lastHandshakeAt)];
  return [`${safeText(name)}: ${[...parts, ...ago(`told by ${safeText(podName)}`, toldAt)].join(', ')}`];
}
