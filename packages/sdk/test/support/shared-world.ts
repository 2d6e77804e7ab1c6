import { customerTagsOf } from '../../src/domain/policy/identity-tags.ts';
import { type JudgedDevice, judgePacket, readPolicy } from '../../src/domain/policy/judge-policy.ts';
import type { Device } from '../../src/ports/index.ts';
import { digest } from '../policy/worlds.ts';
import { BOOK, SHARED_SECRET, World, type WorldOptions } from './world.ts';

const call = () => ({ signal: AbortSignal.timeout(5_000) });
export const NAMES = ['acme', 'globex'] as const;
const place = (customerId: string, tailnetName = customerId) => ({ customerId, tailnetName });
export const tagsOf = (customerId: string, tailnetName = customerId) => customerTagsOf(place(customerId, tailnetName), digest);

/** Customers with the same addresses behind routers of their own, and a book each that asks for the same hostname, in one tailnet. */
export class SharedWorld extends World {
  controlId = '';

  constructor(settings: WorldOptions['settings'] = {}) {
    super({ settings: { sharedCredentialSecretName: SHARED_SECRET, tenancy: 'shared', ...settings } });
  }

  async open(policy: Parameters<World['addShared']>[0] = {}): Promise<void> {
    await this.manager.start();
    this.controlId = await this.addShared(policy);
  }

  /** Active unless `awaited` is false. */
  async tailnetFor(customerId: string, { tailnetName = customerId, networks = ['10.0.0.0/8'], awaited = true } = {}): Promise<void> {
    const config = { allowedNetworks: networks, blockedNetworks: ['10.99.0.0/16'] };
    await this.manager.createTailnet({ customerId, tailnetName, config });
    if (awaited) await this.until(async () => (await this.tailnet(tailnetName))?.state.phase === 'active');
  }

  async join(customerId: string, { tailnetName = customerId, name = 'book', hostname = 'book' } = {}): Promise<string> {
    await this.addBook({ namespace: customerId, name, labels: {} });
    const { sidecarId } = await this.manager.attachSidecar({
      ...BOOK,
      bookDeploymentId: `${customerId}/${name}`,
      tailnetName,
      config: { ...BOOK.config, hostname },
    });
    await this.until(async () => (await this.manager.listSidecars()).find((sidecar) => sidecar.sidecarId === sidecarId)?.status === 'connected');
    return sidecarId;
  }

  addRouter(customerId: string, tailnetName = customerId): void {
    const { router } = tagsOf(customerId, tailnetName);
    this.control.addDevice({ controlId: this.controlId, hostname: `router-${tailnetName}`, tags: [router], advertiseRoutes: ['10.0.0.0/8'] });
  }

  async both(): Promise<void> {
    for (const customerId of NAMES) {
      await this.cluster.createNamespace({ name: customerId, customerId });
      await this.tailnetFor(customerId);
      await this.join(customerId);
      this.addRouter(customerId);
    }
  }

  sharedControl() {
    const [credential] = this.credentials;
    if (credential === undefined) throw new Error('not open');
    return this.controlPlane.tailnet({ credential });
  }

  async text(): Promise<string> {
    return (await this.sharedControl().readPolicy(call())).text;
  }

  async edit(change: (text: string) => string): Promise<void> {
    const { text, etag } = await this.sharedControl().readPolicy(call());
    if (change(text) === text) throw new Error('nothing was changed');
    await this.sharedControl().writePolicy(change(text), etag, call());
  }

  async verdict(from: string, to: string, address: string): Promise<string> {
    const policy = readPolicy(await this.text());
    const devices = await this.sharedControl().listDevices(call());
    const judged = (tag: string): JudgedDevice => {
      const found = devices.find(({ tags }: Device) => tags.includes(tag));
      if (found === undefined) throw new Error(`no device with ${tag}`);
      return { tags: found.tags, addresses: found.addresses, routes: found.enabledRoutes };
    };
    if (policy === undefined) throw new Error('not a policy');
    return judgePacket(policy, { from: judged(tagsOf(from).customer), to: judged(tagsOf(to).router), address, port: 443, protocol: 'tcp' }).verdict;
  }
}

export async function openShared(settings: WorldOptions['settings'] = {}): Promise<SharedWorld> {
  const world = new SharedWorld(settings);
  await world.open();
  await world.both();
  return world;
}
