import { BifrostError } from '@bifrost/types/core';
import type { StoredTailnet } from '../../domain/model.ts';
import type { Installed } from '../installed.ts';
import { countText, durationText } from '../quantities.ts';
import type { Session } from '../session.ts';
import { type Check, fail, ok, type Seen, skipped, warn } from './check.ts';
import { few } from './object-checks.ts';
import type { Probe, Probed } from './probe.ts';

const TAILSCALE_LOGIN = 'https://controlplane.tailscale.com';
const MAX_TAILNETS = 25;
const MAX_RELAYS = 3;
const SKEW_MS = 30_000;

const messageOf = (error: unknown): string => (BifrostError.is(error) ? error.message : String(error));

/** Where a tailnet's client is. */
const secretNameOf = ({ spec }: StoredTailnet, { environment }: Installed): string =>
  spec.tenancy === 'shared' ? (environment['BIFROST_SHARED_SECRET'] ?? 'BIFROST_SHARED_SECRET is not set') : spec.credentialSecretName;

/** The Secret that a tailnet's client lies in. */
async function credentials(installed: Installed, { signal }: Session): Promise<Seen> {
  const { cluster, store, place } = installed;
  const tailnets = await store.tailnets.list({ signal });
  const lacking: string[] = [];
  for (const tailnet of tailnets) {
    const { key, spec, state } = tailnet;
    if (spec.tenancy === 'organization' && state.controlId === undefined) continue; // it is about to be made
    const name = secretNameOf(tailnet, installed);
    const data = await cluster.secrets.get({ namespace: place.namespace, name }, { signal });
    if (data?.get('client_id') === undefined || data.get('client_secret') === undefined) lacking.push(`${key}: Secret ${place.namespace}/${name}`);
  }
  if (lacking.length > 0)
    return fail(few(lacking), 'put client_id and client_secret into these Secrets; docs/runbooks/CONTROL_CREDENTIALS_INVALID.md');
  return ok(`${countText(tailnets.length, 'tailnet')} looked at: each has its Secret`);
}

/** What a client may read tells which scopes it has; whether it may write is known only by writing. */
async function lookInto(installed: Installed, tailnet: StoredTailnet, { signal }: Session): Promise<readonly string[]> {
  const { cluster, controlPlane, place } = installed;
  const { spec, state, key } = tailnet;
  const data = await cluster.secrets.get({ namespace: place.namespace, name: secretNameOf(tailnet, installed) }, { signal });
  const [clientId, clientSecret] = [data?.get('client_id'), data?.get('client_secret')];
  const credential = clientId === undefined || clientSecret === undefined ? undefined : { clientId: clientId.reveal(), clientSecret };
  const { controlId } = state;
  if (credential === undefined && controlId === undefined) return []; // told by `credentials`
  const control = controlPlane.tailnet({ ...(credential === undefined ? {} : { credential }), ...(controlId === undefined ? {} : { controlId }) });
  const tries = [
    control.listDevices({ signal }),
    control.listKeys({ signal }),
    ...(spec.tenancy !== 'customer-owned' || spec.managePolicy === true ? [control.readPolicy({ signal })] : []),
  ];
  const results = await Promise.allSettled<unknown>(tries);
  return [...new Set(results.flatMap((result) => (result.status === 'rejected' ? [`${key}: ${messageOf(result.reason)}`] : [])))];
}

async function controlPlane(installed: Installed, session: Session): Promise<Seen> {
  const { signal } = session;
  const all = await installed.store.tailnets.list({ signal });
  const looked = all.slice(0, MAX_TAILNETS);
  const problems: string[] = [];
  if (installed.organization !== undefined)
    await installed.controlPlane.listTailnets({ signal }).catch((error: unknown) => problems.push(`organization: ${messageOf(error)}`));
  else if (installed.environment['BIFROST_ORGANIZATION_SECRET'])
    problems.push(
      `organization: Secret ${installed.place.namespace}/${installed.environment['BIFROST_ORGANIZATION_SECRET']} has not both client_id and client_secret, or may not be read`,
    );
  for (const tailnet of looked) problems.push(...(await lookInto(installed, tailnet, session)));
  if (problems.length > 0)
    return fail(
      few(problems),
      'give the OAuth client what it lacks, or make a new one; docs/runbooks/CONTROL_CREDENTIALS_INVALID.md, CONTROL_DENIED.md',
    );
  const rest = all.length > looked.length ? ` (of ${all.length})` : '';
  return ok(
    `${countText(looked.length, 'tailnet')}${rest} looked into: each answers to its client${installed.organization === undefined ? '' : ', and the organization to its own'}; rights to write are not tried`,
  );
}

interface Login {
  readonly url: string;
  readonly key: Probed;
}

function loginServer({ url, key }: Login): Seen {
  return key.status === 200
    ? ok(`${url} answers`)
    : fail(`${url} answered HTTP ${key.status}`, 'books cannot join without it: see BIFROST_LOGIN_SERVER');
}

function clock({ key: { dateMs } }: Login, { cli }: Session): Seen {
  if (dateMs === undefined) return skipped('the login server’s answer has no date');
  const skewMs = cli.clock.nowMs() - dateMs;
  if (Math.abs(skewMs) < 2_000) return ok('this machine and the login server agree');
  const seen = `this machine is ${durationText(Math.abs(skewMs))} ${skewMs > 0 ? 'ahead' : 'behind'}`;
  return Math.abs(skewMs) > SKEW_MS ? fail(seen, 'set the clock: tokens and certificates are judged by it') : ok(seen);
}

interface RelayMap {
  readonly Regions?: Readonly<
    Record<string, { readonly RegionCode?: string; readonly Nodes?: readonly { readonly HostName?: string; readonly DERPPort?: number }[] | null }>
  >;
}

async function relays(url: string, probe: Probe, signal: AbortSignal): Promise<Seen> {
  const answer = await probe(`${url}/derpmap/default`, signal);
  if (answer.status !== 200)
    return skipped(`${url} does not publish its relays (HTTP ${answer.status}): agents tell when one suffers (cause: relay)`);
  const regions = Object.values((JSON.parse(answer.text) as RelayMap).Regions ?? {});
  const hosts = regions.flatMap(({ Nodes }) => {
    const { HostName, DERPPort } = Nodes?.[0] ?? {};
    return HostName === undefined || !/^[\w.-]+$/.test(HostName)
      ? []
      : [`${HostName}${DERPPort === undefined || DERPPort <= 0 ? '' : `:${DERPPort}`}`];
  });
  const tried = hosts.slice(0, MAX_RELAYS);
  const results = await Promise.all(
    tried.map((host) =>
      probe(`https://${host}/derp/probe`, signal).then(
        ({ status }) => status === 200,
        () => false,
      ),
    ),
  );
  const reached = results.filter((isReached) => isReached).length;
  const seen = `${countText(regions.length, 'region')}; ${reached} of ${tried.length} tried relays answer here`;
  return reached === 0 ? warn(seen, 'let books out to TCP 443 of the relays: without them a link that is not direct does not come up') : ok(seen);
}

/** Checks of what lies beyond the cluster: as far as the manager's own settings lead, and no further. */
export function controlChecks(installed: Installed, session: Session, probe: Probe): readonly Check[] {
  const first = [
    { name: 'credentials', look: () => credentials(installed, session) },
    { name: 'control plane', look: () => controlPlane(installed, session) },
  ];
  const named = installed.environment['BIFROST_LOGIN_SERVER'];
  if (named === undefined && installed.installation === undefined) {
    // The default is a manager's: whose settings nobody has read may use another, and nobody else is asked by chance.
    const look = async (): Promise<Seen> => skipped('the manager’s settings cannot be read: which login server books use is not known');
    return [...first, ...['login server', 'clock', 'relays'].map((name) => ({ name, look }))];
  }
  return [...first, ...loginChecks((named ?? TAILSCALE_LOGIN).replace(/\/+$/, ''), session, probe)];
}

function loginChecks(url: string, session: Session, probe: Probe): readonly Check[] {
  let asked: Promise<Login> | undefined;
  const login = (): Promise<Login> => {
    asked ??= probe(`${url}/key?v=100`, session.signal).then((key) => ({ url, key }));
    return asked;
  };
  const unreached = (): Seen => fail(`${url} does not answer from here`, 'check DNS and egress; books need it to join');
  return [
    { name: 'login server', look: () => login().then(loginServer, unreached) },
    {
      name: 'clock',
      look: () =>
        login().then(
          (known) => clock(known, session),
          () => skipped('the login server does not answer'),
        ),
    },
    { name: 'relays', look: () => relays(url, probe, session.signal).catch(() => skipped('the login server does not answer')) },
  ];
}
