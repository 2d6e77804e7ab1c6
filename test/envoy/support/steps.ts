import type { Service } from './service.ts';
import { absent, as, BOOK, DENIED, MANIFEST, NO_SIDECAR, noSidecar, type Step, sidecar, stranger, TAILNET, UNKNOWN } from './step.ts';
import { TAILNETS } from './steps-tailnets.ts';

const SIDECARS: readonly Step[] = [
  { says: 'a book that is not there', method: 'AttachSidecar', request: BOOK, reason: 'WORKLOAD_NOT_FOUND' },
  {
    says: 'what would be attached',
    method: 'PlanAttachSidecar',
    first: (service) => service.addBook('customer-a', 'customer-support-book'),
    request: BOOK,
    http: 200,
    body: { attached: false, form: 'apply', workload: { kind: 'Deployment', name: 'customer-support-book' } },
  },
  { says: 'to no tailnet', method: 'PlanAttachSidecar', request: { ...BOOK, ...absent }, ...UNKNOWN },
  {
    says: 'a sidecar is attached',
    method: 'AttachSidecar',
    request: BOOK,
    http: 201,
    keys: ['created_at', 'sidecar_id', 'status', 'tailnet_name'],
    body: { ...TAILNET, status: 'attaching' },
  },
  { says: 'it is attached already', method: 'AttachSidecar', request: BOOK, http: 200, body: TAILNET },
  {
    says: 'a book of another customer',
    method: 'AttachSidecar',
    first: (service) => service.addBook('customer-b', 'foreign-book'),
    request: { ...BOOK, book_deployment_id: 'foreign-book', config: { hostname: 'x' } },
    reason: 'CUSTOMER_MISMATCH',
  },
  {
    says: 'a name that is taken',
    method: 'AttachSidecar',
    first: (service) => service.addBook('customer-a', 'second-book'),
    request: { ...BOOK, book_deployment_id: 'second-book' },
    reason: 'HOSTNAME_TAKEN',
  },
  {
    says: 'every fault of an attachment',
    method: 'AttachSidecar',
    request: { config: { hostname: '-', advertise_routes: ['x'], network_mode: 'kernel' } },
    reason: 'INVALID_ARGUMENT',
  },
  {
    says: 'a manifest gets a sidecar',
    method: 'InjectSidecar',
    request: { ...TAILNET, config: { hostname: 'new-book' }, manifest: MANIFEST },
    http: 201,
  },
  {
    says: 'a manifest that is none',
    method: 'InjectSidecar',
    request: { ...TAILNET, config: { hostname: 'newer' }, manifest: { kind: 'Pod' } },
    reason: 'WORKLOAD_UNSUPPORTED',
  },
  {
    says: 'it is read',
    method: 'GetSidecar',
    request: sidecar(),
    http: 200,
    body: { sidecar: { ...TAILNET, book_deployment_id: 'customer-support-book', mode: 'apply' } },
  },
  { says: 'a sidecar that is not there', method: 'GetSidecar', request: noSidecar, ...NO_SIDECAR },
  { says: 'a sidecar of others', method: 'GetSidecar', request: sidecar(), headers: stranger, ...NO_SIDECAR },
  { says: 'sidecars are listed', method: 'ListSidecars', request: { ...TAILNET, page_size: 1 }, http: 200, body: { sidecars: [TAILNET] } },
  { says: 'sidecars of others', method: 'ListSidecars', request: {}, headers: stranger, body: { sidecars: [] } },
  {
    says: 'a page of sidecars that is none',
    method: 'ListSidecars',
    request: { page_token: '%' },
    reason: 'INVALID_ARGUMENT',
    fields: ['page_token'],
  },
  {
    says: 'its change is planned',
    method: 'PlanUpdateSidecar',
    request: sidecar({ config: { enable_ssh: true } }),
    http: 200,
    body: { plan: { changes: ['config.enable_ssh'] } },
  },
  { says: 'the change of none', method: 'PlanUpdateSidecar', request: noSidecar, ...NO_SIDECAR },
  { says: 'a change that needs new pods', method: 'UpdateSidecar', request: sidecar({ config: { enable_ssh: true } }), reason: 'ROLLOUT_REQUIRED' },
  {
    says: 'a change of the sidecar',
    method: 'UpdateSidecar',
    request: sidecar({ config: { enable_ssh: true }, allow_rollout: true }),
    http: 200,
    body: { sidecar: { config: { enable_ssh: true } } },
  },
  {
    says: 'a change of what cannot be',
    method: 'UpdateSidecar',
    request: sidecar({ update_mask: 'config.hostname' }),
    reason: 'INVALID_ARGUMENT',
    fields: ['update_mask.0'],
  },
  { says: 'an upgrade is planned', method: 'PlanUpgradeSidecars', request: { ...TAILNET, wave_size: 2 }, http: 200 },
  { says: 'an upgrade of none', method: 'PlanUpgradeSidecars', request: absent, ...UNKNOWN },
  { says: 'an upgrade', method: 'UpgradeSidecars', request: { ...TAILNET, wave_size: 2, trial_ms: 60_000 }, http: 200 },
  {
    says: 'a wave that is too large',
    method: 'UpgradeSidecars',
    request: { ...TAILNET, wave_size: 1001 },
    reason: 'INVALID_ARGUMENT',
    fields: ['wave_size'],
  },
  {
    says: 'a packet is explained',
    method: 'ExplainPacket',
    request: sidecar({ to: '10.1.0.10', port: 5432, protocol: 'tcp' }),
    http: 200,
    body: { explanation: { steps: [{ layer: 'guard' }] } },
  },
  { says: 'a ping', method: 'ExplainPacket', request: sidecar({ to: '10.1.0.10', protocol: 'icmp' }), http: 200 },
  {
    says: 'a ping to a port',
    method: 'ExplainPacket',
    request: sidecar({ to: '10.1.0.10', port: 443, protocol: 'icmp' }),
    reason: 'INVALID_ARGUMENT',
    fields: ['port'],
  },
  { says: 'a packet to nowhere', method: 'ExplainPacket', request: sidecar({ to: '10.1.0' }), reason: 'INVALID_ARGUMENT', fields: ['to'] },
  { says: 'a packet of none', method: 'ExplainPacket', request: { ...noSidecar, to: '10.1.0.10' }, ...NO_SIDECAR },
  { says: 'it is repaired', method: 'RepairSidecar', request: sidecar(), http: 200, body: { sidecar: TAILNET } },
  { says: 'none is repaired', method: 'RepairSidecar', request: noSidecar, ...NO_SIDECAR },
  {
    says: 'it is quarantined',
    method: 'QuarantineSidecar',
    request: sidecar({ reason: 'under suspicion' }),
    http: 200,
    body: { sidecar: { quarantine: { reason: 'under suspicion' } } },
  },
  { says: 'in quarantine it is not repaired', method: 'RepairSidecar', request: sidecar(), reason: 'SIDECAR_QUARANTINED' },
  {
    says: 'a reason that is none',
    method: 'QuarantineSidecar',
    request: sidecar({ reason: 'a\nb' }),
    reason: 'INVALID_ARGUMENT',
    fields: ['reason'],
  },
  { says: 'none is quarantined', method: 'QuarantineSidecar', request: noSidecar, ...NO_SIDECAR },
  { says: 'it is readmitted', method: 'ReadmitSidecar', request: sidecar(), http: 200, body: { sidecar: TAILNET } },
  { says: 'none is readmitted', method: 'ReadmitSidecar', request: noSidecar, ...NO_SIDECAR },
];

const STATUS: readonly Step[] = [
  {
    says: 'the status of the network',
    method: 'GetNetworkStatus',
    first: connect,
    request: TAILNET,
    http: 200,
    keys: ['connected_devices', 'connected_sidecars', 'last_activity', 'metrics', 'status', 'tailnet_name'],
    body: {
      ...TAILNET,
      connected_devices: 1,
      metrics: { bytes_sent: 1_048_576, bytes_received: 2_097_152, average_latency_ms: 0 },
      connected_sidecars: [{ book_deployment: 'customer-support-book', status: 'connected' }],
    },
  },
  { says: 'the status of none', method: 'GetNetworkStatus', request: absent, ...UNKNOWN },
  {
    says: 'what a firewall must let through',
    method: 'GetFirewallRequirements',
    request: TAILNET,
    http: 200,
    keys: ['connected_routers', 'routers', 'rows', 'tailnet_name'],
    body: TAILNET,
  },
  { says: 'a firewall of none', method: 'GetFirewallRequirements', request: absent, ...UNKNOWN },
  { says: 'the metrics of all', method: 'GetConnectionMetrics', request: {}, http: 200 },
  {
    says: 'the metrics of one',
    method: 'GetConnectionMetrics',
    request: TAILNET,
    body: { metrics: [{ ...TAILNET, bytes_sent: '1048576', bytes_received: '2097152', latency_ms: 0, is_connected: true }] },
  },
  { says: 'the metrics of none', method: 'GetConnectionMetrics', request: absent, ...UNKNOWN },
  { says: 'leftovers', method: 'ListLeftovers', request: {}, http: 200, body: { leftovers: [] } },
  { says: 'leftovers for one customer', method: 'ListLeftovers', request: {}, headers: stranger, ...DENIED },
  { says: 'a proof', method: 'ProveIsolation', request: {}, http: 200, body: { proof: { verdict: 'apart', findings: [] }, inputs: [] } },
  { says: 'a proof for one customer', method: 'ProveIsolation', request: {}, headers: stranger, ...DENIED },
  { says: 'what this is', method: 'GetServiceInfo', request: {}, http: 200, body: { read_only: false, caller: { via: 'jwt', roles: ['admin:*'] } } },
  {
    says: 'what this is, to nobody',
    method: 'GetServiceInfo',
    request: {},
    headers: () => ({}),
    reason: 'UNAUTHENTICATED',
    fields: ['authorization'],
  },
  { says: 'read-only', method: 'SetReadOnly', request: { read_only: true }, http: 200, body: { read_only: true } },
  { says: 'a change, read-only', method: 'UpdateTailnet', request: { ...TAILNET, tags: ['y'] }, reason: 'MANAGER_READ_ONLY' },
  { says: 'no longer read-only', method: 'SetReadOnly', request: { read_only: false }, body: { read_only: false } },
  { says: 'read-only by a customer', method: 'SetReadOnly', request: { read_only: true }, headers: stranger, ...DENIED },
];

const END: readonly Step[] = [
  { says: 'it is in use', method: 'DeleteTailnet', request: TAILNET, reason: 'TAILNET_IN_USE' },
  { says: 'abandoned by an operator', method: 'DetachSidecar', request: sidecar({ abandon: true }), headers: as('operator:customer-a'), ...DENIED },
  { says: 'a sidecar of others is detached', method: 'DetachSidecar', request: sidecar(), headers: stranger, ...NO_SIDECAR },
  { says: 'it is detached', method: 'DetachSidecar', request: sidecar(), http: 202, body: {}, keys: [] },
  { says: 'deleted by an operator', method: 'DeleteTailnet', request: TAILNET, headers: as('operator:customer-a'), ...DENIED },
  { says: 'deleted with all its sidecars', method: 'DeleteTailnet', request: { ...TAILNET, cascade: true }, http: 202, body: {}, keys: [] },
  { says: 'one of others is deleted', method: 'DeleteTailnet', request: { tailnet_name: 'other' }, headers: as('admin:customer-a'), ...UNKNOWN },
];

async function connect({ world }: Service): Promise<void> {
  const [first] = await world.manager.listSidecars({ tailnetName: 'acme-corp-production' });
  const sidecarId = first?.sidecarId ?? '';
  await world.until(async () => (await world.manager.getSidecar(sidecarId)).status === 'connected');
  await world.agents.of(sidecarId).report({ rxBytes: 2_097_152, txBytes: 1_048_576 });
}

export const STEPS: readonly Step[] = [...TAILNETS, ...SIDECARS, ...STATUS, ...END];
