import type { Handler } from './handlers.ts';
import { text } from './request.ts';
import { VERSION } from './version.ts';

export const SERVICE_HANDLERS = {
  GetConnectionMetrics: async ({ manager, request, options }) => {
    const [tailnetName, customerId] = [text(request, 'tailnetName'), text(request, 'customerId')];
    const filter = { ...(tailnetName === '' ? {} : { tailnetName }), ...(customerId === '' ? {} : { customerId }) };
    return { body: { metrics: await manager.getConnectionMetrics({ ...options, ...filter }) } };
  },
  ListLeftovers: async ({ manager, options }) => ({ body: { leftovers: await manager.listLeftovers(options) } }),
  ProveIsolation: async ({ manager, request, options }) => {
    const { proof, inputs } = await manager.proveIsolation(options);
    return { body: { proof, inputs: request['withInputs'] === true ? inputs : [] } };
  },
  GetServiceInfo: async ({ manager, principal: { subject, via, grants } }) => {
    const roles = grants.flatMap(({ role, customers }) => (customers === '*' ? [`${role}:*`] : customers.map((customer) => `${role}:${customer}`)));
    return { body: { version: VERSION, adapters: manager.adapters, readOnly: manager.readOnly, caller: { subject, via, roles } } };
  },
  SetReadOnly: async ({ manager, request, accepted }) => {
    await accepted();
    manager.setReadOnly(request['readOnly'] === true);
    return { body: { readOnly: manager.readOnly } };
  },
} satisfies Readonly<Record<string, Handler>>;
