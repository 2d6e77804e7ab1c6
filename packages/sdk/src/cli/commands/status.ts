import {
  type ConnectionMetric,
  ConnectionMetricSchema,
  GetNetworkStatusResponseSchema,
  NetworkManager,
  type Sidecar,
  SidecarSchema,
  type Tailnet,
  TailnetSchema,
} from '@bifrost/types/proto';
import type { Command } from 'commander';
import { allSidecars, allTailnets } from '../lists.ts';
import type { Run } from '../program.ts';
import { bytesText, countText } from '../quantities.ts';
import type { Session } from '../session.ts';
import type { Table } from '../table.ts';
import { ageText, instancesUp, section, sidecarTable, tailnetLines, tailnetStatus } from '../views.ts';
import { wireOf } from '../wire.ts';

const ONLY_LIVE = 'Bytes, latency and last activity are known to the running manager alone: ask it with --server.';

export function addStatus(program: Command, run: Run): void {
  program
    .command('status')
    .description('where all tailnets stand, or one in full')
    .argument('[tailnet]')
    .option('--customer <id>', 'only this customer’s')
    .action(
      run<{ readonly customer?: string }>(async (session, [tailnetName], { customer }) => {
        if (tailnetName === undefined) await overview(session, customer === undefined ? {} : { customerId: customer });
        else await inFull(session, tailnetName);
        return undefined;
      }),
    );
}

async function overview(session: Session, filter: { readonly customerId?: string }): Promise<void> {
  const { isLive } = await session.connection();
  const [tailnets, sidecars] = [await allTailnets(session, filter), await allSidecars(session, filter)];
  const metrics = isLive ? (await session.call(NetworkManager.method.getConnectionMetrics, filter)).metrics : undefined;
  const json = {
    tailnets: tailnets.map((tailnet) => wireOf(TailnetSchema, tailnet)),
    sidecars: sidecars.map((sidecar) => wireOf(SidecarSchema, sidecar)),
    ...(metrics === undefined ? {} : { metrics: metrics.map((metric) => wireOf(ConnectionMetricSchema, metric)) }),
  };
  session.show.answer(json, () =>
    tailnets.length === 0 ? ['no tailnets'] : session.show.table(overviewTable(session, { tailnets, sidecars, metrics })),
  );
  if (!isLive) session.show.note(ONLY_LIVE);
}

interface Overview {
  readonly tailnets: readonly Tailnet[];
  readonly sidecars: readonly Sidecar[];
  readonly metrics: readonly ConnectionMetric[] | undefined;
}

function overviewTable(session: Session, { tailnets, sidecars, metrics }: Overview): Table {
  const live = metrics === undefined ? [] : ['SENT', 'RECEIVED', 'LATENCY', 'LAST ACTIVITY'];
  return {
    head: ['TAILNET', 'CUSTOMER', 'STATUS', 'DEVICES', 'SIDECARS', ...live, 'REASON'],
    rows: tailnets.map((tailnet) => {
      const own = sidecars.filter((sidecar) => sidecar.tailnetName === tailnet.tailnetName);
      const connected = own.filter((sidecar) => instancesUp(sidecar) > 0).length;
      const metric = metrics?.find(({ tailnetName }) => tailnetName === tailnet.tailnetName);
      const status = tailnet.paused ? `${tailnetStatus(tailnet)} (paused)` : tailnetStatus(tailnet);
      const devices = own.reduce((sum, sidecar) => sum + instancesUp(sidecar), 0);
      const cells = metrics === undefined ? [] : metricCells(session, metric);
      return [tailnet.tailnetName, tailnet.customerId, status, devices, `${connected}/${own.length}`, ...cells, tailnet.reason?.code];
    }),
  };
}

/** Sent, received, latency, last activity. */
export function metricCells(session: Session, metric: ConnectionMetric | undefined): readonly (string | undefined)[] {
  if (metric === undefined) return [undefined, undefined, undefined, undefined];
  const age = ageText(session, metric.lastActivity);
  const latency = metric.isConnected && metric.latencyMs > 0 ? `${metric.latencyMs.toFixed(1)} ms` : undefined;
  return [bytesText(metric.bytesSent), bytesText(metric.bytesReceived), latency, age && `${age} ago`];
}

async function inFull(session: Session, tailnetName: string): Promise<void> {
  const { isLive } = await session.connection();
  const { tailnet } = await session.call(NetworkManager.method.getTailnet, { tailnetName });
  const status = await session.call(NetworkManager.method.getNetworkStatus, { tailnetName });
  const sidecars = await allSidecars(session, { tailnetName });
  const json = {
    tailnet: tailnet === undefined ? null : wireOf(TailnetSchema, tailnet),
    ...(isLive ? { status: wireOf(GetNetworkStatusResponseSchema, status) } : {}),
    sidecars: sidecars.map((sidecar) => wireOf(SidecarSchema, sidecar)),
  };
  const { metrics, connectedDevices } = status;
  const traffic = metrics === undefined ? '' : `, ${bytesText(metrics.bytesSent)} sent, ${bytesText(metrics.bytesReceived)} received`;
  session.show.answer(json, () => [
    ...(tailnet === undefined ? [] : tailnetLines(session, tailnet)),
    '',
    isLive ? `${countText(connectedDevices, 'connected device')}${traffic}` : countText(sidecars.length, 'sidecar'),
    ...section(session, sidecarTable(session, sidecars)),
    ...sidecars.flatMap(({ sidecarId, reason }) => (reason === undefined ? [] : ['', `${sidecarId}: ${reason.code}: ${reason.message}`])),
  ]);
  if (!isLive) session.show.note(ONLY_LIVE);
}
