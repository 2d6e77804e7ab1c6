import { digests, lab, runLab } from '../lab/support/command.ts';
import { HeldConnection } from '../lab/support/containers.ts';
import { eventually } from '../lab/support/eventually.ts';
import { setup } from '../lab/support/hold.ts';
import { book, namespace } from '../lab/support/manifests.ts';
import { bringCustomer, Platform } from '../lab/support/platform.ts';
import { type BenchOptions, type BenchResult, compared, percentile, rounded } from './harness.ts';

const SPACE = 'bench';
const BUILD_MS = 2_400_000;
/** A connection from which nothing has come for so long is cut. */
const SILENT_MS = 3_000;
const EVERY_MS = 20;

interface World {
  readonly platform: Platform;
  readonly image: string;
  /** Deletes the book's device at the control plane, as a person would by hand. */
  readonly deleteDevice: (hostname: string) => Promise<void>;
  readonly url: string;
}

/** A lab of our own, with a customer and their tailnet. */
async function open(stack: AsyncDisposableStack): Promise<World> {
  const release = await setup();
  stack.defer(async () => release?.());
  await lab(['build'], { timeoutMs: BUILD_MS });
  await lab(['up'], { timeoutMs: 180_000 });
  stack.defer(async () => void (await runLab(['down'])));
  const image = (await digests())['book'] ?? '';
  const platform = stack.use(new Platform());
  await platform.open(image);
  const customer = stack.use(await bringCustomer(platform.kubernetes, { name: SPACE, customerId: SPACE }));
  await platform.kubernetes.apply(namespace(SPACE, SPACE));
  await platform.must('POST', '/tailnets', { customer_id: SPACE, tailnet_name: SPACE, config: { allowed_networks: ['10.0.0.0/8'] } });
  await platform.tailnetReaches(SPACE, 'active');
  const deleteDevice = async (hostname: string): Promise<void> => {
    const device = (await customer.control.devices()).find((each) => each.hostname === hostname);
    if (device !== undefined) await customer.control.deleteDevice(device.nodeId);
  };
  return { platform, image, deleteDevice, url: customer.pageUrl };
}

/** A book that is connected, with one connection that stands; milliseconds from `act` until answers no longer came. */
async function lastAnswer({ platform, image, url }: World, name: string, act: (sidecarId: string) => Promise<unknown>): Promise<number> {
  const { kubernetes } = platform;
  const workload = await kubernetes.apply(book({ name, namespace: SPACE, image }));
  const config = { hostname: name, accept_routes: true };
  const { sidecar_id: sidecarId } = await platform.must('POST', '/sidecars', { book_deployment_id: `${SPACE}/${name}`, tailnet_name: SPACE, config });
  await platform.sidecarReaches(sidecarId, 'connected', 120_000);
  const [pod] = await kubernetes.readyPods(SPACE, `app=${name}`, { count: 1, timeoutMs: 120_000 });
  const address = { namespace: SPACE, pod: pod?.metadata.name ?? '', container: 'book' };
  const held = new HeldConnection(address, { url, forMs: 120_000, everyMs: EVERY_MS });
  await eventually('it stands', () => held.answers > 20);
  const fromMs = performance.now();
  await act(sidecarId);
  await eventually('it is cut', () => performance.now() - held.lastAtMs > SILENT_MS);
  const tookMs = Math.max(held.lastAtMs - fromMs, 0) + EVERY_MS; // at most: the next answer is the one that did not come
  await kubernetes.deleteAndWait(workload, { timeoutMs: 120_000 }); // and the connection's program with it
  await held[Symbol.asyncDispose]();
  await platform.sidecarReaches(sidecarId, 'gone', 120_000);
  return tookMs;
}

/** From the call to the last answer of a connection that stands, on a real cluster with a real tailnet; beside it the device's deletion by hand. */
export async function benchQuarantine({ smoke, say }: BenchOptions): Promise<BenchResult> {
  const rounds = smoke ? 1 : 12;
  await using stack = new AsyncDisposableStack();
  const world = await open(stack);
  const figures = { ours: [] as number[], baseline: [] as number[] };
  for (let round = 0; round < rounds; round += 1) {
    const ours = () =>
      lastAnswer(world, `ours-${round}`, (sidecarId) => world.platform.must('POST', `/sidecars/${sidecarId}:quarantine`, { reason: 'measured' }));
    const baseline = () => lastAnswer(world, `hand-${round}`, () => world.deleteDevice(`hand-${round}`));
    const turns = [
      { to: figures.ours, act: ours },
      { to: figures.baseline, act: baseline },
    ];
    for (const { to, act } of round % 2 === 0 ? turns : turns.toReversed()) to.push(await act());
    say(
      `round ${round + 1} of ${rounds}: ${rounded(figures.ours.at(-1) ?? Number.NaN)} ms, by hand ${rounded(figures.baseline.at(-1) ?? Number.NaN)} ms`,
    );
  }
  return {
    name: 'quarantine',
    ...compared(figures),
    unit: 'ms',
    p95Ms: rounded(percentile(figures.ours, 0.95)),
    baselineP95Ms: rounded(percentile(figures.baseline, 0.95)),
    rounds,
    answersEveryMs: EVERY_MS,
  };
}
