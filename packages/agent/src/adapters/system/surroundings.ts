import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import type { Surroundings } from '../../ports/surroundings.ts';
import { exchange } from '../http/call.ts';

const FORWARDING = { 4: '/proc/sys/net/ipv4/ip_forward', 6: '/proc/sys/net/ipv6/conf/all/forwarding' } as const;
const TAILSCALE = 'https://controlplane.tailscale.com';
const TIMEOUT_MS = 5000;
const MAX_ANSWER_BYTES = 16 * 1024;

export const systemSurroundings: Surroundings = {
  forwards(family) {
    try {
      return readFileSync(FORWARDING[family], 'utf8').trim() !== '0';
    } catch {
      return undefined; // not Linux, or the kernel has no such family
    }
  },

  async controlAnswers(url, { signal }) {
    const target = url === '' ? TAILSCALE : url;
    if (!URL.canParse('/key?v=130', target)) return false;
    const { protocol, hostname, port, pathname, search } = new URL('/key?v=130', target);
    const send = protocol === 'http:' ? request : process.getBuiltinModule('node:https').request;
    const options = { protocol, hostname: hostname.replace(/^\[|\]$/g, ''), port, path: pathname + search, method: 'GET', agent: false as const };
    const outcome = await exchange(send, { options, timeoutMs: TIMEOUT_MS, maxBytes: MAX_ANSWER_BYTES }, { signal });
    return outcome.ok && outcome.status === 200;
  },
};
