import { type CreateTailnetInput, createTailnetRequestSchema, parseOrThrow } from '@bifrost/types';
import {
  BifrostError,
  type CreateTailnetRequest,
  type CreateTailnetResponse,
  type Made,
  type Tailnet,
  type TailnetStatus,
  type UpgradeProgress,
} from '@bifrost/types/core';
import type { StoredTailnet, TailnetSpec, UpgradeState } from '../domain/model.ts';
import { customerSecretName, tailnetSecretName } from '../domain/names.ts';
import { audited } from './audited.ts';
import { requireConsents } from './consents.ts';
import { type Call, type Context, type Found, sawTailnet } from './context.ts';
import { type Change, etagOf, requireMatch, writeMatched } from './etags.ts';
import { isNews, removeSame } from './remove-same.ts';
import { sameJson } from './same-json.ts';
import { inScope, isVisible, requirePermitted } from './scope.ts';
import { refuseOfCustomers } from './tailnet-acceptance.ts';

const TAILNET_NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

export async function findTailnet(context: Context, tailnetName: string, call: Call): Promise<StoredTailnet | undefined> {
  // What cannot be a name is not asked for: a store may make a path or a key of it.
  if (typeof tailnetName !== 'string' || !TAILNET_NAME.test(tailnetName)) return undefined;
  const customerId = context.announcer.customerOf('tailnet', tailnetName);
  if (customerId === undefined || isVisible(customerId, call.scope)) return context.store.tailnets.get(tailnetName, call);
  // Others': something that nobody can have is read instead. A store takes longer to hand out what is there, and that would tell of it.
  await context.store.tailnets.get(`${tailnetName}.nobodys`, call);
  return undefined;
}

/** @throws {BifrostError} `TAILNET_NOT_FOUND` */
export async function requireTailnet(context: Context, tailnetName: string, call: Call): Promise<StoredTailnet> {
  const tailnet = inScope(await findTailnet(context, tailnetName, call), call);
  if (tailnet !== undefined) return tailnet;
  throw new BifrostError({
    code: 'TAILNET_NOT_FOUND',
    message: 'No tailnet of this name: create it first, or look at listTailnets().',
    issues: [{ path: 'tailnetName', message: 'is not known' }],
  });
}

const progressOf = ({ upgradeId, total, done, finished = false, haltedBy }: UpgradeState): UpgradeProgress => ({
  ...{ upgradeId, total, done, finished },
  ...(haltedBy === undefined ? {} : { haltedBy }),
});

export const statusOfTailnet = ({ deleting, state }: StoredTailnet): TailnetStatus => (deleting ? 'deleting' : state.phase);

/** What was asked for last: never the end of the upgrade before, while the loop has not come to this one. */
function shownUpgrade({ spec, state }: StoredTailnet): Pick<Tailnet, 'upgrade'> {
  const wish = spec.upgrade;
  if (wish !== undefined && wish.upgradeId !== state.upgrade?.upgradeId)
    return { upgrade: { upgradeId: wish.upgradeId, total: 0, done: 0, finished: false } };
  return state.upgrade === undefined ? {} : { upgrade: progressOf(state.upgrade) };
}

export const tailnetView = (tailnet: StoredTailnet): Tailnet => ({
  tailnetId: tailnet.spec.tailnetId,
  tailnetName: tailnet.key,
  status: statusOfTailnet(tailnet),
  createdAt: new Date(tailnet.createdAtMs),
  customerId: tailnet.spec.customerId,
  config: tailnet.spec.config,
  tags: tailnet.spec.tags,
  tenancy: tailnet.spec.tenancy,
  etag: etagOf(tailnet),
  paused: tailnet.spec.paused ?? false,
  managePolicy: tailnet.spec.managePolicy ?? false,
  conditions: tailnet.state.conditions ?? [],
  ...shownUpgrade(tailnet),
  ...(tailnet.state.reason === undefined ? {} : { reason: tailnet.state.reason }),
});

const response = ({ stored, created }: Found<StoredTailnet>): Made<CreateTailnetResponse> => {
  const { tailnetId, tailnetName, status, createdAt } = tailnetView(stored);
  return { tailnetId, tailnetName, status, createdAt, created };
};

function specOf(context: Context, request: CreateTailnetRequest): TailnetSpec {
  const { customerId, config, tags } = request;
  const tailnetId = context.clock.newId();
  const tenancy = request.tenancy ?? context.settings.tenancy;
  refuseOfCustomers({ ...request, tenancy });
  if (tenancy !== 'customer-owned') {
    if (tenancy === 'shared') requireSharedClient(context);
    return { tailnetId, customerId, config, tags, tenancy, credentialSecretName: tailnetSecretName(tailnetId) };
  }
  const credentialSecretName = request.credential?.secretName ?? customerSecretName(customerId);
  if (credentialSecretName === undefined) {
    throw new BifrostError({
      code: 'INVALID_ARGUMENT',
      message: 'Name the Secret with the OAuth client of the customer.',
      issues: [{ path: 'credential.secretName', message: 'is needed, since the customer id cannot be part of a Secret name' }],
    });
  }
  const { managePolicy } = request;
  return { tailnetId, customerId, config, tags, tenancy, credentialSecretName, ...(managePolicy === undefined ? {} : { managePolicy }) };
}

/** @throws {BifrostError} `INVALID_ARGUMENT` */
function requireSharedClient({ settings }: Context): void {
  if (settings.sharedCredentialSecretName !== undefined) return;
  throw new BifrostError({
    code: 'INVALID_ARGUMENT',
    message: 'This installation has no tailnet that customers share: choose another tenancy, or set the option sharedCredentialSecretName.',
    issues: [{ path: 'tenancy', message: 'is not offered here' }],
  });
}

/** What a create call can ask for; what came later (a pause, an upgrade) is none of its business. */
const wishOf = ({ customerId, config, tags, tenancy, managePolicy = false }: TailnetSpec) => ({ customerId, config, tags, tenancy, managePolicy });

const sameWish = (a: TailnetSpec, b: TailnetSpec): boolean =>
  sameJson(wishOf(a), wishOf(b)) && (a.tenancy !== 'customer-owned' || a.credentialSecretName === b.credentialSecretName);

/** The tailnet of that name if it is what is wanted. @throws {BifrostError} `TAILNET_EXISTS`, `TAILNET_DELETING` */
async function sameTailnet(context: Context, { tailnetName, spec }: Wish, call: Call): Promise<StoredTailnet | undefined> {
  const present = await context.store.tailnets.get(tailnetName, call);
  if (present === undefined) return undefined;
  if (!sameWish(present.spec, spec)) {
    // Without saying whose: the name alone must not tell one customer of another.
    throw new BifrostError({
      code: 'TAILNET_EXISTS',
      message: 'A tailnet of this name exists with another configuration: choose another name.',
      issues: [{ path: 'tailnetName', message: 'is taken' }],
    });
  }
  if (present.deleting)
    throw new BifrostError({
      code: 'TAILNET_DELETING',
      message: 'This tailnet is being deleted: create it again when it is gone.',
      issues: [{ path: 'tailnetName', message: 'is being deleted' }],
    });
  return present;
}

interface Wish {
  readonly tailnetName: string;
  readonly spec: TailnetSpec;
}

/** It was there, and is not any more: the same call again finds its way. */
export const gone = (cause: BifrostError): BifrostError =>
  new BifrostError({ code: 'STORE_CONFLICT', message: 'What had this name has just gone: call again.', cause });

/** Asked for also where one was found already: what a read told may be an old version of something that is gone. */
async function createOrFind(context: Context, { tailnetName, spec }: Wish, call: Call): Promise<Found<StoredTailnet>> {
  try {
    return { stored: await context.store.tailnets.create(tailnetName, { spec, state: { phase: 'creating' } }, call), created: true };
  } catch (error) {
    if (!BifrostError.is(error) || error.code !== 'STORE_EXISTS') throw error;
    const winner = await sameTailnet(context, { tailnetName, spec }, call); // somebody else was quicker; the same wish gets the same answer
    if (winner === undefined) throw gone(error);
    return { stored: winner, created: false };
  }
}

/** @see NetworkManager.createTailnet */
export async function createTailnet(context: Context, input: CreateTailnetInput, call: Change): Promise<Made<CreateTailnetResponse>> {
  return audited(
    context,
    { call, action: 'createTailnet', subject: input?.tailnetName, customerId: input?.customerId },
    {
      check: async () => {
        const request: CreateTailnetRequest = parseOrThrow(createTailnetRequestSchema, input, 'INVALID_ARGUMENT');
        requirePermitted(request.customerId, call.scope);
        const wish: Wish = { tailnetName: request.tailnetName, spec: specOf(context, request) };
        await sameTailnet(context, wish, call);
        return wish;
      },
      write: async (wish) => {
        const found = await createOrFind(context, wish, call);
        sawTailnet(context, found.stored.key, found.stored);
        context.touch('tailnet', found.stored.key);
        return response(found);
      },
    },
  );
}

/** @see NetworkManager.deleteTailnet */
export async function deleteTailnet(
  context: Context,
  { tailnetName, cascade = false, abandon = false }: { readonly tailnetName: string; readonly cascade?: boolean; readonly abandon?: boolean },
  call: Change,
): Promise<void> {
  await audited(
    context,
    { call, action: 'deleteTailnet', subject: tailnetName },
    {
      check: async () => {
        requireConsents({ cascade, abandon });
        const tailnet = await requireTailnet(context, tailnetName, call);
        requireMatch(tailnet, call);
        const sidecars = (await context.store.sidecars.list(call)).filter(({ spec }) => spec.tailnetName === tailnetName);
        if (sidecars.length > 0 && !cascade) {
          throw new BifrostError({
            code: 'TAILNET_IN_USE',
            message: `The tailnet has ${sidecars.length} sidecars: detach them first, or delete with cascade.`,
            details: { tailnetName, sidecars: String(sidecars.length) },
            issues: [{ path: 'tailnetName', message: 'has sidecars' }],
          });
        }
        return { tailnet, sidecars };
      },
      write: async ({ tailnet, sidecars }) => {
        // The tailnet first: from then on nothing can be attached to it.
        await removeTailnet(context, { tailnet, abandon }, call);
        for (const sidecar of sidecars) {
          const { sidecarId } = sidecar.spec;
          await removeSame(context.store.sidecars, sidecar, { ...call, isSame: ({ spec }) => spec.sidecarId === sidecarId });
          (isNews(sidecar, false) || isNews(tailnet, abandon) ? context.urge : context.touch)('sidecar', sidecar.key);
        }
        (isNews(tailnet, abandon) ? context.urge : context.touch)('tailnet', tailnetName);
      },
    },
  );
}

async function removeTailnet(
  context: Context,
  { tailnet, abandon }: { readonly tailnet: StoredTailnet; readonly abandon: boolean },
  call: Change,
): Promise<void> {
  const { tailnetId } = tailnet.spec;
  const isSame = ({ spec }: StoredTailnet): boolean => spec.tailnetId === tailnetId;
  if (!abandon || tailnet.spec.abandon === true) {
    const check = (found: StoredTailnet): void => requireMatch(found, call);
    if ((await removeSame(context.store.tailnets, tailnet, { signal: call.signal, isSame, check })) !== undefined) throw replaced();
    return;
  }
  const abandoned = await writeTailnet(context, tailnet, { spec: { ...tailnet.spec, abandon }, ...call });
  // That write matched: what comes after it comes too late to be asked for.
  await removeSame(context.store.tailnets, abandoned, { signal: call.signal, isSame });
}

/** A call names it by its name only: that it is gone would not be true of what the name leads to now. */
const replaced = (): BifrostError =>
  new BifrostError({ code: 'STORE_CONFLICT', message: 'Another tailnet has come under this name since it was read: call again.' });

/** Changes what is wanted of a tailnet that matched. @throws {BifrostError} `ETAG_MISMATCH`, `STORE_CONFLICT`, `STORE_NOT_FOUND` */
export async function writeTailnet(
  { store }: Context,
  tailnet: StoredTailnet,
  { spec, ...call }: Change & { readonly spec: TailnetSpec },
): Promise<StoredTailnet> {
  return writeMatched(store.tailnets, tailnet, { ...call, write: (current) => store.tailnets.replaceSpec(current, spec, call) });
}
