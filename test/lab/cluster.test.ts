import { kubernetes, kubernetesCluster } from '@bifrost/sdk/kubernetes';
import { describeCluster } from '@bifrost/sdk/testing/conformance';
import { afterAll, beforeAll } from 'vitest';
import { adminOf, kubeconfigOf } from '../support/api-server.ts';
import { KubernetesAdmin } from './conformance/kubernetes-admin.ts';
import { Stage } from './support/stage.ts';

// The Cluster port's suite where controllers, a scheduler and a kubelet make and run the pods, by the deployed manager's own account and with its rights.
const stage = new Stage();
const { url, token } = stage.kubernetes;
const admin = adminOf({ url, token });
const API_AUDIENCE = 'https://kubernetes.default.svc';
let kubeconfig = '';

beforeAll(async () => {
  await stage.open();
  kubeconfig = kubeconfigOf({ url, token: await stage.kubernetes.serviceAccountToken({ namespace: 'bifrost', name: 'bifrost' }, API_AUDIENCE) });
});
afterAll(async () => {
  await admin[Symbol.asyncDispose]();
  await stage[Symbol.asyncDispose]();
});

describeCluster('kubernetes, on a node', async () => ({
  cluster: kubernetesCluster({ connection: kubernetes({ kubeconfig }) }),
  admin: new KubernetesAdmin({ call: admin.call, controllers: true, image: stage.image }),
}));
