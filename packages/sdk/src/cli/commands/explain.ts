import {
  ExplainStep_OutcomeSchema,
  NetworkManager,
  PacketExplanation_LayerSchema,
  PacketExplanation_VerdictSchema,
  PacketExplanationSchema,
  PacketProtocolSchema,
} from '@bifrost/types/proto';
import { type Command, Option } from 'commander';
import { usage } from '../connect.ts';
import { wholeNumber } from '../input.ts';
import type { Run } from '../program.ts';
import { countText } from '../quantities.ts';
import { numberOf, wireOf, wordOf, wordsOf } from '../wire.ts';
import { requireSidecar } from './sidecar-named.ts';

export function addExplain(program: Command, run: Run): void {
  program
    .command('explain')
    .description('why a packet of a book passes or not, and what decides that')
    .argument('<sidecar>', 'its id, or namespace/name of its workload')
    .argument('<address>', 'where the packet goes')
    .option('--port <port>', 'default: 443', wholeNumber)
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
        ]);
        return undefined;
      }),
    );
}
