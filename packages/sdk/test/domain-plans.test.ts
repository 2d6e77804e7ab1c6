import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkTemplate, chooseForm, withFragment } from '../src/domain/attach-plan.ts';
import { backoffMs } from '../src/domain/backoff.ts';
import type { InstanceState } from '../src/domain/model.ts';
import type { ContainerShape, PodTemplateShape } from '../src/domain/pod-shape.ts';
import { planKey, planPhase, planRelease, planRoutes } from '../src/domain/reconcile-plan.ts';
import { servedPorts } from '../src/domain/served-ports.ts';
import { exampleFragment } from '../src/testing/conformance/store-examples.ts';

const ID = '0b7c0e4e-3d0f-8a55-8a4b-5a1fb0c2d9e1';
const fragment = exampleFragment(ID);
const template = (spec: Partial<PodTemplateShape['spec']> = {}): PodTemplateShape => ({
  metadata: { labels: { app: 'book' } },
  spec: { containers: [{ name: 'book', image: 'book' }], ...spec },
});
const container = (change: Partial<ContainerShape>): ContainerShape => ({ name: 'other', image: 'other', ...change });

describe('checkTemplate', () => {
  const refusals: readonly [string, PodTemplateShape, string, string][] = [
    ['the node network', template({ hostNetwork: true }), 'WORKLOAD_UNSUPPORTED', 'spec.template.spec.hostNetwork'],
    [
      'a hand-made tailscale container',
      template({ containers: [container({ name: 'tailscale' })] }),
      'SIDECAR_EXISTS',
      'spec.template.spec.containers.0',
    ],
    [
      'a tailscale image under another name',
      template({ initContainers: [container({ image: 'ghcr.io/tailscale/tailscale:v1.90' })] }),
      'SIDECAR_EXISTS',
      'spec.template.spec.initContainers.0',
    ],
    [
      'a container with an auth key',
      template({ containers: [container({}), container({ name: 'vpn', env: [{ name: 'TS_AUTHKEY' }] })] }),
      'SIDECAR_EXISTS',
      'spec.template.spec.containers.1',
    ],
    [
      'a container of our name',
      template({ containers: [container({ name: 'bifrost-agent' })] }),
      'FIELD_CONFLICT',
      'spec.template.spec.containers.0.name',
    ],
    [
      'an init container of our name',
      template({ initContainers: [container({}), container({ name: 'bifrost-agent' })] }),
      'FIELD_CONFLICT',
      'spec.template.spec.initContainers.1.name',
    ],
    [
      'a declared port of ours',
      template({ containers: [container({ ports: [{ containerPort: 80 }, { containerPort: 9002 }] })] }),
      'FIELD_CONFLICT',
      'spec.template.spec.containers.0.ports.1.containerPort',
    ],
    [
      'our user in one process namespace, set for the pod',
      template({ shareProcessNamespace: true, securityContext: { runAsUser: 60932 } }),
      'WORKLOAD_UNSUPPORTED',
      'spec.template.spec.securityContext.runAsUser',
    ],
    [
      'our user among the node’s processes',
      template({ hostPID: true, initContainers: [container({ securityContext: { runAsUser: 60931 } })] }),
      'WORKLOAD_UNSUPPORTED',
      'spec.template.spec.initContainers.0.securityContext.runAsUser',
    ],
    [
      'a volume of our name',
      template({ volumes: [{ name: 'x' }, { name: 'bifrost-tailscale-state' }] }),
      'FIELD_CONFLICT',
      'spec.template.spec.volumes.1.name',
    ],
  ];
  it.each(refusals)('refuses %s and says where', (_, given, code, path) => {
    let refused: unknown;
    try {
      checkTemplate(given, fragment);
    } catch (error) {
      refused = error;
    }
    expect(refused).toMatchObject({ code, issues: [{ path }] });
  });

  it.each(['mytailscale', 'example.org/not-tailscale-at-all/app'])('leaves a look-alike image alone: %s', (image) => {
    expect(() => checkTemplate(template({ containers: [container({ image })] }), fragment)).not.toThrow();
  });

  it('twins: another user in one process namespace, and our user in one of its own', () => {
    const as = (runAsUser: number) => ({ containers: [container({ securityContext: { runAsUser } })] });
    expect(() => checkTemplate(template({ shareProcessNamespace: true, ...as(1_000) }), fragment)).not.toThrow();
    expect(() => checkTemplate(template(as(60_931)), fragment)).not.toThrow();
    expect(() => checkTemplate(template({ containers: [container({ ports: [{ containerPort: 9002, protocol: 'UDP' }] })] }), fragment)).not.toThrow();
  });

  it('takes its own fragment for its own', () => {
    expect(() => checkTemplate(withFragment(template(), fragment), fragment)).not.toThrow();
  });
});

describe('withFragment and chooseForm', () => {
  it('puts the fragment first and keeps the rest', () => {
    const given = template({ initContainers: [container({ name: 'migrate' })], volumes: [{ name: 'data' }], serviceAccountName: 'book' });
    const made = withFragment(given, fragment);
    expect(made.spec.initContainers?.map(({ name }) => name)).toEqual(['bifrost-agent', 'tailscale', 'migrate']);
    expect(made.spec.volumes?.map(({ name }) => name)).toEqual(['data', 'bifrost-tailscale-state']);
    expect(made.spec.serviceAccountName).toBe('book');
    expect(made.metadata?.labels).toMatchObject({ app: 'book', 'bifrost.dev/sidecar-id': ID });
    expect(given).toEqual(template({ initContainers: [container({ name: 'migrate' })], volumes: [{ name: 'data' }], serviceAccountName: 'book' }));
  });

  it('bug: what is in already is not put in twice', () => {
    const once = withFragment(template({ initContainers: [container({ name: 'migrate' })] }), fragment);
    expect(withFragment(once, fragment)).toEqual(once);
  });

  it('prepends where the pod has init containers of its own', () => {
    expect(chooseForm(template())).toBe('apply');
    expect(chooseForm(template({ initContainers: [container({})] }))).toBe('prepend');
    expect(chooseForm(withFragment(template(), fragment))).toBe('apply');
    expect(chooseForm(withFragment(template({ initContainers: [container({})] }), fragment))).toBe('prepend');
    expect(chooseForm(template({ initContainers: [container({ name: 'tailscale' })] }))).toBe('prepend'); // without our label it is not ours
  });
});

describe('planKey', () => {
  const base = { secretHoldsKey: true, secretHoldsAuthority: true, nowMs: 1_000_000, lifetimeMs: 900_000, graceMs: 60_000 };
  const key = (keyId: string, expiresAtMs: number) => ({ keyId, expiresAtMs });
  const fresh = key('new', 1_000_000 + 900_000);
  it.each([
    ['no key yet', { ...base, keys: [] }, { kind: 'mint' }],
    ['the value is lost', { ...base, keys: [fresh], secretHoldsKey: false }, { kind: 'mint' }],
    ['two thirds of its life are over', { ...base, keys: [key('old', 1_000_000 + 300_000)] }, { kind: 'mint' }],
    ['not quite two thirds', { ...base, keys: [key('old', 1_000_000 + 300_001)] }, { kind: 'keep' }],
    ['no tags of identities yet', { ...base, keys: [fresh], tags: ['tag:b', 'tag:a'] }, { kind: 'mint' }],
    ['its tags, in whatever order', { ...base, keys: [{ ...fresh, tags: ['tag:a', 'tag:b'] }], tags: ['tag:b', 'tag:a'] }, { kind: 'keep' }],
    ['tags that are not wanted any more', { ...base, keys: [{ ...fresh, tags: ['tag:a'] }] }, { kind: 'mint' }],
    ['another authority', { ...base, keys: [fresh], secretHoldsAuthority: false }, { kind: 'rewrite' }],
    ['a successor that is too young', { ...base, keys: [key('old', 1_200_000), fresh] }, { kind: 'keep' }],
    ['a successor that is old enough', { ...base, keys: [key('old', 1_200_000), key('new', 1_840_000)] }, { kind: 'retire', keyIds: ['old'] }],
    [
      'bug: expired keys do not pile up while the successor is young',
      { ...base, keys: [key('old', 999_999), fresh] },
      { kind: 'retire', keyIds: ['old'] },
    ],
  ])('%s', (_, input, plan) => {
    expect(planKey(input)).toEqual(plan);
  });

  it('a life of rotations keeps few keys and never none', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 300, max: 7_776_000 }),
        fc.array(fc.integer({ min: 1, max: 400_000 }), { maxLength: 60 }),
        (lifetimeSeconds, steps) => {
          const lifetimeMs = lifetimeSeconds * 1_000;
          let keys: { keyId: string; expiresAtMs: number }[] = [];
          let nowMs = 0;
          for (const step of steps) {
            nowMs += step * 100;
            for (let round = 0; round < 3; round += 1) {
              const plan = planKey({ keys, secretHoldsKey: keys.length > 0, secretHoldsAuthority: true, nowMs, lifetimeMs, graceMs: 900_000 });
              if (plan.kind === 'mint') keys = [...keys, { keyId: `k${nowMs}-${round}`, expiresAtMs: nowMs + lifetimeMs }];
              if (plan.kind === 'retire') keys = keys.filter(({ keyId }) => !plan.keyIds.includes(keyId));
            }
            const last = keys.at(-1);
            if (last === undefined || last.expiresAtMs <= nowMs || keys.length > 6) return false;
          }
          return true;
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('planRelease, planRoutes, planPhase', () => {
  it('names each pod that is gone once', () => {
    const known = [{ podUid: 'a' }, { podUid: 'b' }, { podUid: 'a' }];
    expect(planRelease(known, new Set(['b']))).toEqual([{ podUid: 'a' }]);
    expect(planRelease(known, new Set(['a', 'b']))).toEqual([]);
  });

  const ours = [{ deviceId: 'd', advertisedRoutes: ['10.5.0.0/24', '10.6.0.0/24'], enabledRoutes: [] }];
  const routes = { wanted: ['10.5.0.0/24', '10.6.0.0/24'], allowedNetworks: ['192.168.0.0/16'], ours, otherRoutes: [] };
  it.each([
    ['approves what is offered', routes, { approvals: [{ deviceId: 'd', routes: ['10.5.0.0/24', '10.6.0.0/24'] }], refused: [] }],
    [
      'not what another router has',
      { ...routes, otherRoutes: ['10.5.0.0/16'] },
      { approvals: [{ deviceId: 'd', routes: ['10.6.0.0/24'] }], refused: ['10.5.0.0/24'] },
    ],
    [
      'not what lies in an allowed network',
      { ...routes, allowedNetworks: ['10.6.0.0/15'] },
      { approvals: [{ deviceId: 'd', routes: ['10.5.0.0/24'] }], refused: ['10.6.0.0/24'] },
    ],
    [
      'nothing to do',
      { ...routes, ours: [{ ...ours[0], deviceId: 'd', advertisedRoutes: ['10.5.0.0/24'], enabledRoutes: ['10.5.0.0/24'] }] },
      { approvals: [], refused: [] },
    ],
    [
      'what is not advertised yet is not approved',
      { ...routes, ours: [{ deviceId: 'd', advertisedRoutes: [], enabledRoutes: [] }] },
      { approvals: [], refused: [] },
    ],
  ])('%s', (_, input, plan) => {
    expect(planRoutes(input)).toEqual(plan);
  });

  const pod = (status: InstanceState['status'], sinceMs: number, cause?: InstanceState['cause']): InstanceState => ({
    podName: 'p',
    podUid: `${status}${sinceMs}`,
    status,
    sinceMs,
    ...(cause === undefined ? {} : { cause }),
  });
  it('fails only when a pod has waited past the deadline, says when to look again, and lets a workload without pods wait', () => {
    const at = { nowMs: 10_000, deadlineMs: 3_000 };
    expect(planPhase([], at)).toEqual({ phase: 'attaching' });
    expect(planPhase([pod('attaching', 8_000)], at)).toEqual({ phase: 'attaching', recheckMs: 1_000 });
    expect(planPhase([pod('attaching', 7_000, 'key')], at)).toMatchObject({
      phase: 'failed',
      reason: { code: 'ATTACH_TIMEOUT', message: expect.stringContaining('key') },
    });
    expect(planPhase([pod('attaching', 0), pod('connected', 0)], at)).toEqual({ phase: 'connected' });
  });
});

describe('backoffMs', () => {
  it('stays between a tenth of its window and the window, grows to the limit, and respects the other side', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10_000 }), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (attempt, random) => {
        const delay = backoffMs({ attempt, random, baseMs: 500, maxMs: 60_000 });
        const window = Math.min(60_000, 500 * 2 ** Math.min(attempt - 1, 30));
        return delay >= window / 10 - 1e-6 && delay <= window;
      }),
    );
    expect(backoffMs({ attempt: 1, random: 0, baseMs: 500, maxMs: 60_000, retryAfterMs: 90_000 })).toBe(90_000);
  });
});

describe('servedPorts', () => {
  it('finds declared ports and those that probes ask, by number or name', () => {
    const given = template({
      initContainers: [container({ name: 'proxy', ports: [{ containerPort: 53, protocol: 'UDP' }] })],
      containers: [
        container({
          ports: [
            { name: 'web', containerPort: 8080 },
            { containerPort: 9000, protocol: 'SCTP' },
          ],
          readinessProbe: { httpGet: { port: 'web' } },
          livenessProbe: { tcpSocket: { port: 8081 } },
          startupProbe: { grpc: { port: 8082 } },
        }),
        container({ name: 'b', readinessProbe: { httpGet: { port: 'nowhere' } }, livenessProbe: { exec: {} } }),
      ],
    });
    expect(servedPorts(given)).toEqual([
      { protocol: 'tcp', port: 8080 },
      { protocol: 'tcp', port: 8081 },
      { protocol: 'tcp', port: 8082 },
      { protocol: 'udp', port: 53 },
    ]);
  });
});
