import { bookTagOf, customerTagsOf, type Digest, isIdentityTag } from './identity-tags.ts';
import {
  controlKeyOf,
  type Evidence,
  type RunningEvidence,
  type SettingsEvidence,
  type SidecarEvidence,
  type TailnetEvidence,
  UNLIKE,
} from './proof-evidence.ts';

/** What a control plane has for one or, in tenancy `shared`, for several stored tailnets. */
export interface ControlGroup {
  readonly key: string;
  readonly tailnets: readonly (readonly [name: string, tailnet: TailnetEvidence])[];
}

/** The stored tailnets by what they are at the control plane. */
function controlGroups(evidence: Evidence): readonly ControlGroup[] {
  const groups = new Map<string, (readonly [string, TailnetEvidence])[]>();
  for (const [name, tailnet] of evidence.all('tailnet')) {
    const key = controlKeyOf(name, tailnet);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [[name, tailnet]]);
    else group.push([name, tailnet]);
  }
  return [...groups].map(([key, tailnets]) => ({ key, tailnets }));
}

/** Whose a tag is, of those that say it. */
export class TagOwners {
  readonly #owners = new Map<string, string>();

  constructor(evidence: Evidence, digest: Digest) {
    for (const [tailnetName, { customerId }] of [...evidence.all('tailnet'), ...evidence.all('leaving')]) {
      const { customer, router } = customerTagsOf({ customerId, tailnetName }, digest);
      this.#owners.set(customer, customerId);
      this.#owners.set(router, customerId);
    }
    for (const [, sidecar] of evidence.all('sidecar')) this.#owners.set(bookTagOf(sidecar, sidecar.bookDeploymentId, digest), sidecar.customerId);
  }

  /** `nobody`: it looks as if it said whose a device is, and no customer of this installation has it. Undefined: it says nothing of that. */
  of(tag: string): { readonly customerId: string } | 'nobody' | undefined {
    const customerId = this.#owners.get(tag);
    if (customerId !== undefined) return { customerId };
    // A book that is gone has left its device for a while: its tag says nothing that the customer's beside it does not.
    return isIdentityTag(tag) && !tag.startsWith('tag:bifrost-book-') ? 'nobody' : undefined;
  }

  customersOf(tags: readonly string[]): readonly string[] {
    return [
      ...new Set(
        tags.flatMap((tag) => {
          const owner = this.of(tag);
          return owner === undefined || owner === 'nobody' ? [] : [owner.customerId];
        }),
      ),
    ];
  }
}

/** Without them nothing is known of what is enforced. */
const NO_SETTINGS: SettingsEvidence = {
  ...{ installation: '', deviceTags: [], routerTag: '', directAddresses: [], networkPolicyEnforced: false, networkPoliciesKept: false },
};

/** What was read, with what every part of the proof looks up in it, made once. */
export class Survey {
  readonly evidence: Evidence;
  readonly digest: Digest;
  readonly settings: SettingsEvidence;
  readonly owners: TagOwners;
  readonly groups: readonly ControlGroup[];
  readonly #running: ReadonlyMap<string, readonly RunningEvidence[]>;
  readonly #sidecars: ReadonlyMap<string, readonly (readonly [key: string, sidecar: SidecarEvidence])[]>;

  constructor(evidence: Evidence, digest: Digest) {
    this.evidence = evidence;
    this.digest = digest;
    this.settings = evidence.get('settings', 'manager') ?? NO_SETTINGS;
    this.owners = new TagOwners(evidence, digest);
    this.groups = controlGroups(evidence);
    this.#running = Map.groupBy(evidence.get('running', UNLIKE) ?? [], ({ sidecar }) => sidecar);
    this.#sidecars = Map.groupBy(evidence.all('sidecar'), ([, { tailnetName }]) => tailnetName);
  }

  sidecarsOf(tailnetName: string): readonly (readonly [key: string, sidecar: SidecarEvidence])[] {
    return this.#sidecars.get(tailnetName) ?? [];
  }

  /** Of an attachment's pods those that are not as its template says. */
  runningOf(sidecarKey: string): readonly RunningEvidence[] {
    return this.#running.get(sidecarKey) ?? [];
  }
}
