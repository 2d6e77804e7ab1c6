import { Secret } from '@bifrost/types/core';
import { expect, it } from 'vitest';
import { LABELS, MANAGED_BY } from '../../domain/names.ts';
import type { Cluster, SecretReference } from '../../ports/cluster.ts';
import { bench, call, fresh, type OpenCluster } from './cluster-support.ts';

const data = (values: Readonly<Record<string, string>>): ReadonlyMap<string, Secret> =>
  new Map(Object.entries(values).map(([key, value]) => [key, new Secret(value)]));

async function read(cluster: Cluster, secret: SecretReference): Promise<Readonly<Record<string, string>> | undefined> {
  const found = await cluster.secrets.get(secret, call());
  return found && Object.fromEntries([...found].map(([key, value]) => [key, value.reveal()]));
}

async function listed(cluster: Cluster, { namespace, name }: SecretReference): Promise<unknown> {
  return (await cluster.secrets.list(call())).find((item) => item.namespace === namespace && item.name === name);
}

export function describeSecrets(open: OpenCluster): void {
  it('C20: put creates, put again replaces all of it, get reads it', () =>
    bench(open, async ({ cluster, namespace }) => {
      const secret = { namespace: await namespace(), name: fresh('bifrost') };
      expect(await read(cluster, secret)).toBeUndefined();
      const labels = { [LABELS.sidecarId]: crypto.randomUUID() };
      await cluster.secrets.put({ ...secret, labels, data: data({ authkey: 'tskey-auth-1', 'ca.crt': 'line\nÜnïcode\n' }) }, call());
      expect(await read(cluster, secret)).toEqual({ authkey: 'tskey-auth-1', 'ca.crt': 'line\nÜnïcode\n' });
      await cluster.secrets.put({ ...secret, labels: {}, data: data({ authkey: 'tskey-auth-2' }) }, call());
      expect(await read(cluster, secret)).toEqual({ authkey: 'tskey-auth-2' });
      expect(await listed(cluster, secret)).toMatchObject({ labels: { [LABELS.managedBy]: MANAGED_BY } });
      expect(await listed(cluster, secret)).not.toMatchObject({ labels });
      await cluster.secrets.remove(secret, call());
    }));

  it('C57: put of what was seen is CLUSTER_CONFLICT once it has changed or gone, and changes nothing; until then it replaces', () =>
    bench(open, async ({ cluster, namespace }) => {
      const secret = { namespace: await namespace(), name: fresh('bifrost') };
      const put = async (value: string, seen?: ReadonlyMap<string, Secret>): Promise<void> =>
        cluster.secrets.put({ ...secret, labels: {}, data: data({ authkey: value }) }, { ...call(), seen });
      await put('first');
      const old = await cluster.secrets.get(secret, call());
      await put('second', await cluster.secrets.get(secret, call()));
      expect(await read(cluster, secret)).toEqual({ authkey: 'second' });
      await expect(put('third', old)).rejects.toMatchObject({ code: 'CLUSTER_CONFLICT' });
      expect(await read(cluster, secret)).toEqual({ authkey: 'second' });
      const last = await cluster.secrets.get(secret, call());
      await cluster.secrets.remove(secret, call());
      await expect(put('third', last)).rejects.toMatchObject({ code: 'CLUSTER_CONFLICT' });
      expect(await read(cluster, secret)).toBeUndefined();
    }));

  it('C21: list has ours in all namespaces, with labels, without data', () =>
    bench(open, async ({ cluster, namespace }) => {
      const secrets = [
        { namespace: await namespace(), name: fresh('bifrost') },
        { namespace: await namespace({}), name: fresh('bifrost') },
      ];
      const labels = { [LABELS.sidecarId]: crypto.randomUUID() };
      for (const secret of secrets) await cluster.secrets.put({ ...secret, labels, data: data({ authkey: 'canary-value' }) }, call());
      for (const secret of secrets) {
        expect(await listed(cluster, secret)).toEqual({ ...secret, labels: { ...labels, [LABELS.managedBy]: MANAGED_BY } });
      }
      expect(JSON.stringify(await cluster.secrets.list(call()))).not.toContain('canary-value');
      for (const secret of secrets) await cluster.secrets.remove(secret, call());
    }));

  it('C22: remove ends ours; absent is success', () =>
    bench(open, async ({ cluster, namespace }) => {
      const secret = { namespace: await namespace(), name: fresh('bifrost') };
      await cluster.secrets.remove(secret, call());
      await cluster.secrets.put({ ...secret, labels: {}, data: data({ authkey: 'x' }) }, call());
      await cluster.secrets.remove(secret, call());
      await cluster.secrets.remove(secret, call());
      expect(await read(cluster, secret)).toBeUndefined();
      expect(await listed(cluster, secret)).toBeUndefined();
    }));

  it('C23: a Secret that is not ours can be read, is not listed, and remove leaves it alone', () =>
    bench(open, async ({ cluster, admin, namespace }) => {
      const secret = { namespace: await namespace(), name: fresh('customer') };
      await admin.createSecret({ ...secret, data: { client_id: 'id', client_secret: 'value' } });
      expect(await read(cluster, secret)).toEqual({ client_id: 'id', client_secret: 'value' });
      expect(await listed(cluster, secret)).toBeUndefined();
      await cluster.secrets.remove(secret, call());
      expect(await read(cluster, secret)).toEqual({ client_id: 'id', client_secret: 'value' });
    }));
}
