import type { OpenCluster } from './connect.ts';
import { usage } from './connect.ts';

export const connectCluster: OpenCluster = async () => {
  throw usage('not yet');
};
