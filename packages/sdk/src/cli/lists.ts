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

interface Page<Item> {
  readonly items: readonly Item[];
  readonly nextPageToken: string;
}

/** One page after another; a service that gives the same token twice has no more. */
async function allPages<Item>(
  ask: (page: { readonly pageSize: number; readonly pageToken: string }) => Promise<Page<Item>>,
): Promise<readonly Item[]> {
  const found: Item[] = [];
  for (let pageToken = ''; ; ) {
    const { items, nextPageToken } = await ask({ pageSize: PAGE, pageToken });
    found.push(...items);
    if (nextPageToken === '' || nextPageToken === pageToken) return found;
    pageToken = nextPageToken;
  }
}

/** All pages of the tailnets that the caller may see. */
export async function allTailnets(session: Session, filter: TailnetFilter = {}): Promise<readonly Tailnet[]> {
  return allPages(async (page) => {
    const { tailnets, nextPageToken } = await session.call(NetworkManager.method.listTailnets, { ...filter, ...page });
    return { items: tailnets, nextPageToken };
  });
}

/** All pages of the sidecars that the caller may see. */
export async function allSidecars(session: Session, filter: SidecarFilter = {}): Promise<readonly Sidecar[]> {
  return allPages(async (page) => {
    const { sidecars, nextPageToken } = await session.call(NetworkManager.method.listSidecars, { ...filter, ...page });
    return { items: sidecars, nextPageToken };
  });
}
