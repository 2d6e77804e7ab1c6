import type { FirewallReport } from '@bifrost/types/core';
import {
  FirewallRow_DirectionSchema,
  FirewallRow_NeedSchema,
  FirewallRow_ProtocolSchema,
  FirewallRow_Status,
  FirewallRow_StatusSchema,
  type GetFirewallRequirementsResponse,
  NetworkManager,
} from '@bifrost/types/proto';
import { type Command, Option } from 'commander';
import { plainOf } from '../../server/api/convert.ts';
import { EXIT } from '../exit-codes.ts';
import type { Run } from '../program.ts';
import { countText } from '../quantities.ts';
import type { Session } from '../session.ts';
import { wireOf, wordOf } from '../wire.ts';

const FORMATS = ['json', 'csv', 'markdown'] as const;

function linesOf({ show }: Session, { rows, routers, connectedRouters }: GetFirewallRequirementsResponse): readonly string[] {
  const blocked = rows.filter(({ status }) => status === FirewallRow_Status.blocked).length;
  return [
    `${countText(routers, 'router')}, ${connectedRouters} connected; ${blocked} of ${countText(rows.length, 'line')} blocked`,
    '',
    ...show.table({
      head: ['STATUS', 'NEED', 'DIRECTION', 'PROTOCOL', 'DESTINATION', 'PORT', 'REGION', 'BY'],
      rows: rows.map(({ status, need, direction, protocol, destination, destinationPort, region, evidence: [first] }) => [
        ...[wordOf(FirewallRow_StatusSchema, status), wordOf(FirewallRow_NeedSchema, need), wordOf(FirewallRow_DirectionSchema, direction)],
        ...[wordOf(FirewallRow_ProtocolSchema, protocol), destination, destinationPort, region],
        first === undefined ? undefined : `${first.router} ${first.message}`,
      ]),
    }),
  ];
}

export function addFirewall(program: Command, run: Run): void {
  program
    .command('firewall')
    .description('what the firewall before a customer’s routers must let through, and what of it is blocked now; ends with 3 when something is')
    .argument('<tailnet>')
    .addOption(new Option('--format <format>', 'for whoever keeps that firewall').choices(FORMATS))
    .action(
      run<{ readonly format?: (typeof FORMATS)[number] }>(async (session, [tailnetName = ''], { format }) => {
        const method = NetworkManager.method.getFirewallRequirements;
        const answer = await session.call(method, { tailnetName });
        // Of the wire as the manager gives it: the contract's test holds both together.
        const report = (): FirewallReport => plainOf(method.output, answer) as unknown as FirewallReport;
        // Only here: every other command, and each completion, would load the library for CSV too.
        const writers = () => import('../../domain/policy/firewall-writers.ts');
        if (format === 'csv') session.show.text((await writers()).firewallCsv(report()));
        else if (format === 'markdown') session.show.text((await writers()).firewallMarkdown(report()));
        else if (format === 'json') session.show.document(wireOf(method.output, answer));
        else session.show.answer(wireOf(method.output, answer), () => linesOf(session, answer));
        return answer.rows.some(({ status }) => status === FirewallRow_Status.blocked) ? EXIT.found : EXIT.ok;
      }),
    );
}
