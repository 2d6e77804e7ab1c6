import type { Handler } from './handlers.ts';
import { text } from './request.ts';

export const SERVICE_HANDLERS = {
  GetConnectionMetrics: async ({ manager, request, signal }) => {
    const tailnetName = text(request, 'tailnetName');
    return { body: { metrics: await manager.getConnectionMetrics({ signal, ...(tailnetName === '' ? {} : { tailnetName }) }) } };
  },
  ListLeftovers: async ({ manager, signal }) => ({ body: { leftovers: await manager.listLeftovers({ signal }) } }),
  GetServiceInfo: async ({ manager, actor }) => ({
    body: { version: '0.1.0', adapters: manager.adapters, readOnly: manager.readOnly, caller: { subject: actor } },
  }),
  SetReadOnly: async ({ manager, request }) => {
    manager.setReadOnly(request['readOnly'] === true);
    return { body: { readOnly: manager.readOnly } };
  },
} satisfies Readonly<Record<string, Handler>>;
