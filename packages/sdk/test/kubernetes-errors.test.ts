import { describe, expect, it } from 'vitest';
import { clusterError, conflictingManager, problemOf } from '../src/adapters/kubernetes/errors.ts';

/** Recorded from kube-apiserver 1.34.4. */
const RECORDED = {
  fieldConflict: {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message:
      'Apply failed with 2 conflicts: conflicts with "other":\n- .spec.template.spec.initContainers[name="g"].image\n- .spec.template.spec.initContainers[name="t"].image',
    reason: 'Conflict',
    details: {
      causes: [
        { reason: 'FieldManagerConflict', message: 'conflict with "other"', field: '.spec.template.spec.initContainers[name="g"].image' },
        { reason: 'FieldManagerConflict', message: 'conflict with "other"', field: '.spec.template.spec.initContainers[name="t"].image' },
      ],
    },
    code: 409,
  },
  gone: {
    kind: 'Status',
    message:
      'Operation cannot be fulfilled on deployments.apps "d9": uid mismatch: the provided object specified uid 1dfb310e, and no existing object was found',
    reason: 'Conflict',
    details: { name: 'd9', group: 'apps', kind: 'deployments' },
    code: 409,
  },
  invalid: {
    kind: 'Status',
    message: 'Deployment.apps "d1" is invalid: [...]',
    reason: 'Invalid',
    details: {
      name: 'd1',
      group: 'apps',
      kind: 'Deployment',
      causes: [
        {
          reason: 'FieldValueInvalid',
          message:
            "Invalid value: \"canary: A_B\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
          field: 'spec.template.spec.initContainers[0].name',
        },
        { reason: 'FieldValueRequired', message: 'Required value', field: 'spec.template.spec.initContainers[1].image' },
        { reason: 'FieldValueDuplicate', message: 'Duplicate value: "canary: book"', field: 'spec.template.spec.initContainers[1].name' },
        {
          reason: 'FieldValueNotSupported',
          message: 'Unsupported value: "canary": supported values: "Always", "Never"',
          field: 'spec.template.spec.restartPolicy',
        },
        { reason: 'FieldValueInvalid', message: 'Invalid value: "canary"', field: 'spec.x' },
      ],
    },
    code: 422,
  },
};

describe('errors of the API server', () => {
  it('a conflict of field managers names the other manager and every path', () => {
    const error = clusterError(problemOf(409, RECORDED.fieldConflict, undefined), 'attach');
    expect(error).toMatchObject({ code: 'FIELD_CONFLICT', retry: 'never', details: { manager: 'other' } });
    expect(error.issues.map(({ path }) => path)).toEqual([
      'spec.template.spec.initContainers[name="g"].image',
      'spec.template.spec.initContainers[name="t"].image',
    ]);
  });

  it.each([
    ['conflict with "kubectl-client-side-apply" using apps/v1', 'kubectl-client-side-apply'],
    ['conflict with "argocd-controller" using apps/v1 at 2026-11-23T07:27:48Z', 'argocd-controller'],
    ['conflict with "kubelet" with subresource "status" using v1', 'kubelet'],
    ['conflict with "a \\"quoted\\" name" using apps/v1', 'a "quoted" name'],
    ['conflict with "tab\\x09name"', 'tab\\x09name'],
    ['conflicts in some other words', undefined],
    ['', undefined],
  ])('the manager in %j is %j', (message, manager) => {
    expect(conflictingManager(message)).toBe(manager);
  });

  it('issues have paths and reasons, and no value', () => {
    const error = clusterError(problemOf(422, RECORDED.invalid, undefined), 'attach');
    expect(error.code).toBe('CLUSTER_REJECTED');
    expect(JSON.stringify(error)).not.toContain('canary');
    expect(error.issues.map(({ path, message }) => [path, message.slice(0, 40)])).toEqual([
      ['spec.template.spec.initContainers[0].name', 'Invalid value: a lowercase RFC 1123 label'.slice(0, 40)],
      ['spec.template.spec.initContainers[1].image', 'Required value'],
      ['spec.template.spec.initContainers[1].name', 'Duplicate value'],
      ['spec.template.spec.restartPolicy', 'Unsupported value: supported values: "Al'],
      ['spec.x', 'Invalid value'],
    ]);
  });

  it.each([
    [400, 'CLUSTER_REJECTED'],
    [401, 'CLUSTER_DENIED'],
    [403, 'CLUSTER_DENIED'],
    [404, 'CLUSTER_REJECTED'],
    [409, 'CLUSTER_CONFLICT'],
    [410, 'CLUSTER_UNAVAILABLE'],
    [413, 'CLUSTER_REJECTED'],
    [422, 'CLUSTER_REJECTED'],
    [429, 'CLUSTER_UNAVAILABLE'],
    [500, 'CLUSTER_UNAVAILABLE'],
    [503, 'CLUSTER_UNAVAILABLE'],
    [504, 'CLUSTER_UNAVAILABLE'],
  ])('HTTP %i is %s', (status, code) => {
    expect(clusterError(problemOf(status, {}, undefined), 'x').code).toBe(code);
  });

  it('bug: a refusal has the words of whoever refused, and none of the values', () => {
    const webhook = { message: 'admission webhook "guard.example.org" denied the request: frozen until Monday' };
    const policy = { reason: 'Invalid', message: 'ValidatingAdmissionPolicy denied it', details: { causes: [{ message: 'frozen until Monday' }] } };
    for (const [status, body] of [
      [400, webhook],
      [422, webhook],
      [422, policy],
    ] as const) {
      const { code, message } = clusterError(problemOf(status, body, undefined), 'detach');
      expect([code, message]).toEqual(['CLUSTER_REJECTED', expect.stringContaining('frozen until Monday')]);
    }
    expect(clusterError(problemOf(422, RECORDED.invalid, undefined), 'attach').message).toContain('Invalid value: a lowercase RFC 1123 label');
  });

  it('a lost race is CLUSTER_CONFLICT; a namespace that ends is CLUSTER_REJECTED', () => {
    expect(clusterError(problemOf(409, RECORDED.gone, undefined), 'x').code).toBe('CLUSTER_CONFLICT');
    const terminating = { reason: 'Forbidden', details: { causes: [{ reason: 'NamespaceTerminating', field: 'metadata.namespace' }] } };
    expect(clusterError(problemOf(403, terminating, undefined), 'x').code).toBe('CLUSTER_REJECTED');
  });

  it('the time to wait is the document’s, else the header’s, else unknown', () => {
    const waitOf = (body: object, header?: string): number | undefined => clusterError(problemOf(429, body, header), 'x').retryAfterMs;
    expect(waitOf({ details: { retryAfterSeconds: 3 } }, '9')).toBe(3_000);
    expect(waitOf({}, '9')).toBe(9_000);
    expect(waitOf({}, 'Wed, 21 Oct 2026 07:28:00 GMT')).toBeUndefined();
    expect(waitOf({})).toBeUndefined();
  });
});
