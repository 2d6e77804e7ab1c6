import { z } from 'zod';

// Only fields that we use. Go writes an empty list as null; a list that is missing altogether is another document.
const list = <T extends z.ZodType>(item: T) =>
  z
    .array(item)
    .nullable()
    .transform((items) => items ?? []);
const optionalList = z
  .array(z.string())
  .nullish()
  .transform((items) => items ?? []);
/** RFC 3339 to Unix milliseconds; empty and Go's zero time are absent. */
const time = z
  .string()
  .nullish()
  .transform((text) => (text ? Date.parse(text) : 0))
  .refine((milliseconds) => !Number.isNaN(milliseconds))
  .transform((milliseconds) => (milliseconds > 0 ? milliseconds : undefined));

export const TokenAnswer = z.object({ access_token: z.string().regex(/^[\x21-\x7e]+$/), expires_in: z.number().positive() });

const Capabilities = z.object({ devices: z.object({ create: z.object({ tags: optionalList }).nullish() }).nullish() }).nullish();
export const KeyAnswer = z.object({
  id: z.string().min(1),
  keyType: z.string().nullish(),
  description: z.string().nullish(),
  expires: time,
  revoked: time,
  invalid: z.boolean().nullish(),
  capabilities: Capabilities,
});
export type KeyAnswer = z.infer<typeof KeyAnswer>;
export const NewKeyAnswer = KeyAnswer.extend({ key: z.string().min(1) });
export const KeysAnswer = z.object({ keys: list(KeyAnswer) });

const told = z
  .boolean()
  .nullish()
  .transform((value) => value ?? undefined);
/** `latency` is by a region's name; of STUN answers alone. */
const Connectivity = z.object({
  mappingVariesByDestIP: told,
  latency: z.record(z.string(), z.object({ latencyMs: z.number().nonnegative(), preferred: z.boolean().nullish() })).nullish(),
  clientSupports: z.object({ udp: told, ipv6: told }).nullish(),
});
export type ConnectivityAnswer = z.infer<typeof Connectivity>;

export const DeviceAnswer = z.object({
  nodeId: z.string().min(1),
  name: z.string(),
  hostname: z.string(),
  addresses: optionalList,
  tags: optionalList,
  isEphemeral: z.boolean().nullish(),
  isExternal: z.boolean().nullish(),
  connectedToControl: z.boolean().nullish(),
  lastSeen: z.string().nullish(),
  created: time,
  advertisedRoutes: optionalList,
  enabledRoutes: optionalList,
  clientConnectivity: Connectivity.nullish(),
});
export type DeviceAnswer = z.infer<typeof DeviceAnswer>;
export const DevicesAnswer = z.object({ devices: list(DeviceAnswer) });
export const RoutesAnswer = z.object({ enabledRoutes: list(z.string()) });

const port = z.int().max(65_535).nullish();
const RelaysNode = z.object({
  HostName: z.string().regex(/^[\w.:-]{1,253}$/),
  IPv4: z.string().nullish(),
  IPv6: z.string().nullish(),
  STUNPort: port,
  STUNOnly: z.boolean().nullish(),
  DERPPort: port,
});
const RelaysRegion = z.object({ RegionCode: z.string().min(1).max(100), RegionName: z.string().max(200), Nodes: list(RelaysNode) });
/** `tailcfg.DERPMap`: regions by their number. */
export const RelaysAnswer = z.object({
  Regions: z
    .record(z.string().regex(/^\d{1,9}$/), RelaysRegion)
    .refine((regions) => Object.keys(regions).length <= 1_000 && Object.values(regions).every(({ Nodes }) => Nodes.length <= 100))
    .transform((regions) =>
      Object.entries(regions).map(([number, { RegionCode, RegionName, Nodes }]) => ({
        ...{ region: RegionCode, regionName: RegionName || RegionCode, regionId: Number(number), nodes: Nodes },
      })),
    ),
});

export const TailnetAnswer = z.object({ id: z.string().min(1), displayName: z.string() });
export const TailnetsAnswer = z.object({ tailnets: list(TailnetAnswer), cursor: z.string().nullish() });
export const NewTailnetAnswer = TailnetAnswer.extend({
  dnsName: z.string().min(1),
  oauthClient: z.object({ id: z.string().min(1), secret: z.string().min(1) }),
});
export type NewTailnetAnswer = z.infer<typeof NewTailnetAnswer>;
/** A newer API answers so instead of 409; there is no new client in it. */
export const ExistingTailnetAnswer = z.object({ alreadyExists: z.literal(true) });
