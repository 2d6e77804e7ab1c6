import { z } from 'zod';
import { FIREWALL_PURPOSES, FIREWALL_STATUSES, type FirewallReport, MAX_FIREWALL_EVIDENCE } from '../core/firewall.ts';
import { boundedText, count, dnsLabel, time } from './fields.ts';

const status = z.enum(FIREWALL_STATUSES);
const port = boundedText(5);

const row = z
  .object({
    purpose: z.enum(FIREWALL_PURPOSES),
    direction: z.enum(['outbound', 'inbound']),
    protocol: z.enum(['tcp', 'udp']),
    destination: boundedText(253),
    destinationPort: port,
    sourcePort: port,
    need: z.enum(['required', 'recommended']),
    region: boundedText(200).exactOptional(),
    why: boundedText(1_000),
    status,
    evidence: z
      .array(z.object({ router: boundedText(320), status, message: boundedText(1_000), at: time }).readonly())
      .max(MAX_FIREWALL_EVIDENCE)
      .readonly(),
  })
  .readonly();

/** What `firewallRequirements` answers. Unknown keys are ignored. */
export const firewallReportSchema = z
  .object({ tailnetName: dnsLabel, rows: z.array(row).readonly(), routers: count, connectedRouters: count })
  .readonly() satisfies z.ZodType<FirewallReport>;
