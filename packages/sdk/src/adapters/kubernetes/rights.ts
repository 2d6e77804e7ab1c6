import type { CallOptions } from '../../ports/store.ts';
import type { KubernetesConnection } from './connection.ts';
import { clusterError } from './errors.ts';

/** One line of what the manager may do. */
export interface Right {
  readonly group: string;
  /** `deployments`, `tailnets/status`. */
  readonly resource: string;
  readonly verb: string;
}

const rights = (group: string, resources: readonly string[], verbs: readonly string[]): readonly Right[] =>
  resources.flatMap((resource) => verbs.map((verb) => ({ group, resource, verb })));

/** What `examples/deploy/rbac.yaml` grants, and these adapters need. A test holds the two together. */
export const MANAGER_RIGHTS: readonly Right[] = [
  ...rights('apps', ['deployments', 'statefulsets', 'daemonsets'], ['get', 'list', 'watch', 'patch']),
  ...rights('batch', ['jobs', 'cronjobs'], ['get', 'list', 'watch']),
  ...rights('networking.k8s.io', ['networkpolicies'], ['list', 'create', 'patch', 'delete']),
  ...rights('', ['services'], ['get']),
  ...rights('apps', ['replicasets'], ['get']),
  ...rights('', ['pods'], ['list', 'watch', 'create']),
  ...rights('', ['namespaces'], ['get']),
  ...rights('', ['secrets'], ['get', 'list', 'create', 'update', 'delete']),
  ...rights('authentication.k8s.io', ['tokenreviews'], ['create']),
  ...rights('', ['nodes'], ['list']),
  ...rights('networking.k8s.io', ['servicecidrs'], ['list']),
  ...rights('network.bifrost.dev', ['tailnets', 'sidecarattachments'], ['get', 'list', 'watch', 'create', 'patch', 'delete']),
  ...rights('network.bifrost.dev', ['tailnets/status', 'sidecarattachments/status'], ['patch']),
];

/** A ServiceAccount whose rights are asked for. */
export interface Account {
  readonly namespace: string;
  readonly name: string;
}

interface Review {
  readonly status?: { readonly allowed?: boolean };
}

/**
 * Which of these rights lack: of that account, or, without one, of whoever asks.
 *
 * @throws {BifrostError} `CLUSTER_DENIED` — who asks may not ask about others; `CLUSTER_UNAVAILABLE`
 */
export async function missingRights(
  connection: KubernetesConnection,
  { wanted, account }: { readonly wanted: readonly Right[]; readonly account?: Account },
  options: CallOptions,
): Promise<readonly Right[]> {
  const answers = await Promise.all(wanted.map(async (right) => ((await mayDo(connection, { right, account }, options)) ? undefined : right)));
  return answers.filter((right) => right !== undefined);
}

async function mayDo(
  connection: KubernetesConnection,
  { right, account }: { readonly right: Right; readonly account: Account | undefined },
  { signal }: CallOptions,
): Promise<boolean> {
  const kind = account === undefined ? 'SelfSubjectAccessReview' : 'SubjectAccessReview';
  const [resource, subresource] = right.resource.split('/');
  const resourceAttributes = { group: right.group, resource, verb: right.verb, ...(subresource === undefined ? {} : { subresource }) };
  const answer = await connection.send<Review>({
    ...{ operation: 'doctor.rights', kind, isStored: false, method: 'POST', path: `/apis/authorization.k8s.io/v1/${kind.toLowerCase()}s` },
    body: { apiVersion: 'authorization.k8s.io/v1', kind, spec: { ...subjectOf(account), resourceAttributes } },
    signal,
  });
  if (!answer.ok) throw clusterError(answer.problem, 'ask for rights');
  return answer.body.status?.allowed === true;
}

const subjectOf = (account: Account | undefined): object =>
  account === undefined
    ? {}
    : {
        user: `system:serviceaccount:${account.namespace}:${account.name}`,
        groups: ['system:serviceaccounts', `system:serviceaccounts:${account.namespace}`, 'system:authenticated'],
      };
