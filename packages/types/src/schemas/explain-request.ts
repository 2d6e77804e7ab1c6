import { z } from 'zod';
import { isIpv4Mapped, parseAddress } from '../core/cidr.ts';
import { type ExplainRequest, PACKET_PROTOCOLS } from '../core/policy.ts';
import { boundedId, type Input, ipAddress } from './fields.ts';

function isMapped(text: string): boolean {
  const address = parseAddress(text);
  return address !== undefined && isIpv4Mapped(address);
}

/** What goes to an IPv4 address written as IPv6 leaves a kernel as IPv4: judged as it is written, it would be another packet. */
const packetAddress = ipAddress.refine((text) => !isMapped(text), { error: 'must not be IPv4 written as IPv6: write the IPv4 address itself' });
const ofPort = { error: 'must be a whole number from 1 to 65535' };

/** Which packet is asked about. Unknown keys are refused: a misspelt port must not become another. */
export const explainRequestSchema = z
  .strictObject({
    sidecarId: boundedId(64),
    to: packetAddress,
    port: z.int(ofPort).min(1, ofPort).max(65_535, ofPort).exactOptional(),
    protocol: z.enum(PACKET_PROTOCOLS).default('tcp'),
  })
  .refine(({ port, protocol }) => port === undefined || protocol !== 'icmp', { path: ['port'], error: 'must be left out: ICMP has no ports' })
  .readonly() satisfies z.ZodType<ExplainRequest>;

/** What `explain` takes. */
export type ExplainInput = Input<typeof explainRequestSchema>;
