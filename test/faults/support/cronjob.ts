import type { Customer } from './books.ts';
import type { Life } from './steps.ts';
import type { World } from './world.ts';

const NAME = 'nightly';
const pathOf = ({ id }: Pick<Customer, 'id'>, plural: string): string => `/apis/batch/v1/namespaces/${id}/${plural}`;

/** A workload whose pods have two owners between them and it in a row; at its hour it makes no Job by itself within a run of the suite. */
const manifestOf = ({ id }: Customer) => {
  const spec = { restartPolicy: 'Never', serviceAccountName: 'default', containers: [{ name: 'book', image: 'book' }] };
  return {
    ...{ apiVersion: 'batch/v1', kind: 'CronJob', metadata: { name: NAME, namespace: id } },
    spec: { schedule: '0 0 1 1 *', jobTemplate: { spec: { backoffLimit: 0, template: { spec } } } },
  };
};

/** A CronJob is created with its sidecar in it, and its hour comes: one Job. */
export async function runCronJob(world: World, life: Life): Promise<void> {
  const { customer } = life;
  const { tailnetName, hostname } = customer;
  const wish = { manifest: manifestOf(customer), tailnetName, config: { hostname } };
  const { manifest, sidecarId } = (await world.call('injectSidecar', wish)) as {
    readonly manifest: ReturnType<typeof manifestOf>;
    readonly sidecarId: string;
  };
  life.sidecarId = sidecarId;
  life.keys = 1;
  const { metadata } = await world.admin.must('POST', pathOf(customer, 'cronjobs'), manifest);
  const owner = { apiVersion: 'batch/v1', kind: 'CronJob', name: NAME, uid: metadata.uid, controller: true };
  await world.admin.must('POST', pathOf(customer, 'jobs'), {
    metadata: { name: `${NAME}-1`, ownerReferences: [owner] },
    spec: manifest.spec.jobTemplate.spec,
  });
}

export const endJob = ({ node }: World, { customer }: Life): Promise<void> => node.endJobs(customer.id);

/** Its Job and that one's pod go with it. */
export async function deleteCronJob({ admin }: World, { customer }: Life): Promise<void> {
  await admin.must('DELETE', `${pathOf(customer, 'cronjobs')}/${NAME}`, { propagationPolicy: 'Background' });
}
