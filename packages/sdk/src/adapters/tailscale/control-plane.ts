import { BifrostError, Secret } from '@bifrost/types/core';
import { z } from 'zod';
import type { Relay } from '../../domain/policy/relays.ts';
import type { ControlCredential, ControlPlane, ControlTailnet, TailnetAccess, TailnetControl } from '../../ports/control-plane.ts';
import type { CallOptions } from '../../ports/store.ts';
import { readJson } from './answers.ts';
import { type ResolvedTailscaleOptions, resolveOptions, type TailscaleOptions } from './options.ts';
import { RelayMap } from './relays.ts';
import { ExistingTailnetAnswer, NewTailnetAnswer, TailnetsAnswer } from './schemas.ts';
import { type ApiSession, Sessions } from './session.ts';
import { TailscaleTailnet } from './tailnet-control.ts';
import { type ApiAnswer, type ApiRequest, ApiTransport } from './transport.ts';

const PAGE = 100;
const MOST_PAGES = 100;

/**
 * Tailscale's API v2 as our control plane: tailnets of our organization, and tailnets of customers by their own OAuth clients.
 *
 * Shape: {@link ControlPlane}. Nothing is opened until the first call; disposing waits for calls under way (each bounded by `timeoutMs`) and closes all connections.
 * Units: milliseconds. Cancel: every method rejects with `signal.reason` itself. Nothing is tried again here, except once after a token died: the caller decides.
 * Scopes that a customer's client needs: `auth_keys`, `devices:core`, `devices:routes`, and `policy_file` where the policy is managed; the organization's: `all`.
 *
 * @throws {BifrostError} `INVALID_OPTIONS` with a path for each wrong field
 * @example
 * await using controlPlane = tailscaleControlPlane({ clock, organization: { clientId, clientSecret: new Secret(value) } });
 * const tailnets = await controlPlane.listTailnets({ signal: AbortSignal.timeout(30_000) });
 * @see Source: https://tailscale.com/docs/features/tailnets-api and https://tailscale.com/docs/features/oauth-clients
 */
export function tailscaleControlPlane(options: TailscaleOptions): ControlPlane {
  return new TailscaleControlPlane(resolveOptions(options));
}

class TailscaleControlPlane implements ControlPlane {
  readonly kind = 'tailscale';
  readonly #options: ResolvedTailscaleOptions;
  readonly #transport: ApiTransport;
  readonly #sessions: Sessions;
  readonly #relays: RelayMap;

  constructor(options: ResolvedTailscaleOptions) {
    this.#options = options;
    this.#transport = new ApiTransport(options);
    this.#sessions = new Sessions(this.#transport, options);
    this.#relays = new RelayMap(this.#transport, options);
  }

  async listTailnets(options: CallOptions): Promise<readonly ControlTailnet[]> {
    options.signal.throwIfAborted();
    const { organization } = this.#options;
    return organization ? this.#list(organization, options) : [];
  }

  async createTailnet(
    displayName: string,
    options: CallOptions,
  ): Promise<ControlTailnet & { readonly dnsName: string; readonly credential: ControlCredential }> {
    options.signal.throwIfAborted();
    const organization = this.#organization();
    const request: ApiRequest = {
      operation: 'tailnets.create',
      action: 'creating a tailnet',
      scope: 'all, in the organization',
      method: 'POST',
      path: '/organizations/-/tailnets',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ displayName }),
    };
    const session = this.#sessions.of(organization);
    const made = await session.call(request, readNewTailnet, options).catch((error: unknown) => this.#whyDenied(error, organization, options));
    const { id, dnsName, oauthClient } = made;
    return {
      controlId: id,
      displayName: made.displayName,
      dnsName,
      credential: { clientId: oauthClient.id, clientSecret: new Secret(oauthClient.secret) },
    };
  }

  relays(options: CallOptions): Promise<readonly Relay[]> {
    return this.#relays.read(options);
  }

  tailnet(access: TailnetAccess): TailnetControl {
    const { credential, controlId } = access;
    const { organization, clock } = this.#options;
    const session = (): ApiSession => {
      if (credential) return this.#sessions.of(credential);
      if (controlId !== undefined) return this.#sessions.of(this.#organization(), controlId);
      throw new BifrostError({
        code: 'CONTROL_CREDENTIALS_INVALID',
        message: 'give the OAuth client of the tailnet, or its control id',
        issues: [{ path: 'credential.secretName', message: 'is needed' }],
      });
    };
    const recover = async (options: CallOptions): Promise<ApiSession | undefined> => {
      const known = await this.listTailnets(options);
      const present = known.some((tailnet) => tailnet.controlId === controlId);
      return present && controlId !== undefined ? this.#sessions.of(this.#organization(), controlId) : undefined;
    };
    return new TailscaleTailnet({ session, clock, controlId, recover: organization && controlId !== undefined ? recover : undefined });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transport[Symbol.asyncDispose]();
  }

  #organization(): ControlCredential {
    const { organization } = this.#options;
    if (organization) return organization;
    throw new BifrostError({
      code: 'CONTROL_CREDENTIALS_INVALID',
      message: "configure the organization's OAuth client (option organization)",
      issues: [{ path: 'organization', message: 'is needed' }],
    });
  }

  async #list(organization: ControlCredential, options: CallOptions): Promise<readonly ControlTailnet[]> {
    const found: ControlTailnet[] = [];
    let cursor: string | undefined;
    for (let page = 0; page < MOST_PAGES; page += 1) {
      const path = `/organizations/-/tailnets?limit=${PAGE}${cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`}`;
      const request: ApiRequest = { operation: 'tailnets.list', action: 'listing tailnets', scope: 'all, in the organization', method: 'GET', path };
      const answer = await this.#sessions.of(organization).call(request, (sent, got) => readJson(sent, got, TailnetsAnswer), options);
      found.push(...answer.tailnets.map(({ id, displayName }) => ({ controlId: id, displayName })));
      if (!answer.cursor || answer.cursor === cursor) return found;
      cursor = answer.cursor;
    }
    throw new BifrostError({ code: 'CONTROL_ANSWER_INVALID', message: `listing tailnets did not end after ${MOST_PAGES} pages` });
  }

  /**
   * The API answers 403 both for "no permission" and for "full", told apart only by text. So the tailnets are counted: full with the original one,
   * which the list may or may not show, means quota.
   */
  async #whyDenied(error: unknown, organization: ControlCredential, options: CallOptions): Promise<never> {
    if (!BifrostError.is(error) || error.code !== 'CONTROL_DENIED' || error.details['status'] !== '403') throw error;
    const { tailnetLimit } = this.#options;
    const present = await this.#list(organization, options).catch(() => []);
    options.signal.throwIfAborted();
    if (present.length < tailnetLimit - 1) throw error;
    const message = `the organization holds ${present.length} tailnets and may hold ${tailnetLimit} with its original one; delete one or ask Tailscale for more`;
    throw new BifrostError({ code: 'CONTROL_QUOTA', message, cause: error });
  }
}

function readNewTailnet(request: ApiRequest, answer: ApiAnswer): NewTailnetAnswer {
  const made = readJson(request, answer, z.union([ExistingTailnetAnswer, NewTailnetAnswer]));
  if (!('alreadyExists' in made)) return made;
  throw new BifrostError({ code: 'CONTROL_CONFLICT', message: 'a tailnet of that name exists already; find it by listTailnets' });
}
