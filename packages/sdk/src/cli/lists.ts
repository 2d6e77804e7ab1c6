import { NetworkManager, type Sidecar, type Sidecar_Status, type Tailnet, type Tailnet_Status } from '@bifrost/types/proto';
import type { Session } from './session.ts';

const PAGE = 1000;

interface TailnetFilter {
  readonly customerId?: string;
  readonly tag?: string;
  readonly status?: Tailnet_Status;
}

interface SidecarFilter {
  readonly tailnetName?: string;
  readonly customerId?: string;
  readonly bookDeploymentId?: string;
  readonly status?: Sidecar_Status;
}

/** All pages of the tailnets that the caller may see. */
export async function allTailnets(session: Session, filter: TailnetFilter = {}): Promise<readonly Tailnet[]> {
  const found: Tailnet[] = [];
  for (let pageToken = ''; ; ) {
    const page = await session.call(NetworkManager.method.listTailnets, { ...filter, pageSize: PAGE, pageToken });
    found.push(...page.tailnets);
    if (page.nextPageToken === '' || page.nextPageToken === pageToken) return found;
    pageToken = page.nextPageToken;
  }
}

/** All pages of the sidecars that the caller may see. */
export async function allSidecars(session: Session, filter: SidecarFilter = {}): Promise<readonly Sidecar[]> {
  const found: Sidecar[] = [];
  for (let pageToken = ''; ; ) {
    const page = await session.call(NetworkManager.method.listSidecars, { ...filter, pageSize: PAGE, pageToken });
    found.push(...page.sidecars);
    if (page.nextPageToken === '' || page.nextPageToken === pageToken) return found;
    pageToken = page.nextPageToken;
  }
}
