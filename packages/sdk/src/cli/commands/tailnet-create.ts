import { createTailnetRequestSchema, parseOrThrow } from '@bifrost/types';
import { AccessPolicySchema, NetworkManager, type Tailnet, Tailnet_Status, Tailnet_TenancySchema, TailnetSchema } from '@bifrost/types/proto';
import { tellDry, wouldBeRefused } from '../dry-run.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { isNotFound } from '../failure.ts';
import type { Session } from '../session.ts';
import { reasonText, tailnetStatus } from '../views.ts';
import { waitUntil } from '../wait.ts';
import { numberOf, wireOf, wordOf } from '../wire.ts';

export interface CreateOptions {
  readonly customer: string;
  readonly allow: readonly string[];
  readonly block?: readonly string[];
  readonly policy?: string;
  readonly logging?: boolean;
  readonly tag?: readonly string[];
  readonly tenancy?: string;
  readonly credentialSecret?: string;
  readonly managePolicy?: boolean;
  readonly wait?: boolean;
  readonly timeout: string;
  readonly dryRun?: boolean;
}

export async function createTailnet(session: Session, [tailnetName = '']: readonly string[], options: CreateOptions): Promise<ExitCode | undefined> {
  if (options.dryRun === true) return dryRun(session, tailnetName, options);
  const { customer: customerId, allow, block = [], logging = false, tag = [], credentialSecret } = options;
  const method = NetworkManager.method.createTailnet;
  const created = await session.call(method, {
    tailnetName,
    customerId,
    config: {
      allowedNetworks: [...allow],
      blockedNetworks: [...block],
      accessPolicy: numberOf(AccessPolicySchema, options.policy),
      enableLogging: logging,
    },
    tags: [...tag],
    tenancy: numberOf(Tailnet_TenancySchema, options.tenancy),
    ...(credentialSecret === undefined ? {} : { credential: { secretName: credentialSecret } }),
    ...(options.managePolicy === undefined ? {} : { managePolicy: options.managePolicy }),
  });
  if (options.wait !== true) {
    session.show.answer(wireOf(method.output, created), () => [
      `tailnet ${created.tailnetName} is ${tailnetStatus(created)}; it is there when \`bifrost status ${created.tailnetName}\` says active`,
    ]);
    return undefined;
  }
  const active = await waitUntil(session, {
    what: `tailnet ${tailnetName}`,
    timeout: options.timeout,
    look: async () => lookAt(await tailnetOf(session, tailnetName)),
  });
  session.show.answer(wireOf(TailnetSchema, active), () => [`tailnet ${tailnetName} is active`]);
  return undefined;
}

function lookAt(tailnet: Tailnet | undefined) {
  if (tailnet === undefined) return { text: 'gone', failed: 'it was deleted meanwhile' };
  const reason = tailnet.reason === undefined ? '' : ` (${tailnet.reason.code}: ${reasonText(tailnet.reason)})`;
  const text = `${tailnetStatus(tailnet)}${reason}`;
  if (tailnet.status === Tailnet_Status.active) return { text, done: { value: tailnet } };
  return tailnet.status === Tailnet_Status.failed && tailnet.reason !== undefined ? { text, failed: text } : { text };
}

/** The tailnet as it is now, or undefined where the caller can see none of that name. */
export async function tailnetOf(session: Session, tailnetName: string): Promise<Tailnet | undefined> {
  try {
    return (await session.call(NetworkManager.method.getTailnet, { tailnetName })).tailnet;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

async function dryRun(session: Session, tailnetName: string, options: CreateOptions): Promise<ExitCode> {
  const { customer: customerId, allow, block, policy, logging, tag, tenancy, credentialSecret, managePolicy } = options;
  const wanted = parseOrThrow(
    createTailnetRequestSchema,
    {
      customerId,
      tailnetName,
      config: { allowedNetworks: allow, ...only({ blockedNetworks: block, accessPolicy: policy, enableLogging: logging }) },
      ...only({ tags: tag, tenancy, managePolicy, credential: credentialSecret && { secretName: credentialSecret } }),
    },
    'INVALID_ARGUMENT',
  );
  const present = await tailnetOf(session, tailnetName);
  if (present === undefined) {
    tellDry(session, {
      would: 'create',
      lines: [`would create tailnet ${tailnetName} for customer ${customerId}; nothing of that name is visible to you`],
    });
    return EXIT.ok;
  }
  const { config } = present;
  const isSame =
    present.customerId === wanted.customerId &&
    sameList(config?.allowedNetworks, wanted.config.allowedNetworks) &&
    sameList(config?.blockedNetworks, wanted.config.blockedNetworks) &&
    wordOf(AccessPolicySchema, config?.accessPolicy ?? 0) === wanted.config.accessPolicy &&
    config?.enableLogging === wanted.config.enableLogging &&
    sameList(present.tags, wanted.tags) &&
    present.managePolicy === (wanted.managePolicy ?? false) &&
    (wanted.tenancy === undefined || wordOf(Tailnet_TenancySchema, present.tenancy) === wanted.tenancy);
  if (!isSame)
    throw wouldBeRefused(
      'TAILNET_EXISTS',
      'A tailnet of that name is there already, and is another: choose another name, or update it.',
      'tailnetName',
    );
  tellDry(session, { would: 'nothing', lines: [`would change nothing: tailnet ${tailnetName} is there already, with the same configuration`] });
  return EXIT.ok;
}

/** What was given; a member that is undefined is none. */
const only = (members: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));

const sameList = (left: readonly string[] = [], right: readonly string[] = []): boolean =>
  JSON.stringify([...left].sort()) === JSON.stringify([...right].sort());
