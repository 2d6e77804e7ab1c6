import { PORTS } from './names.ts';
import type { ProbeShape } from './pod-shape.ts';

/**
 * Asks the agent whether tailscaled is wedged: alive and answering nobody. Only that word fails the probe. An agent that is away, slow, too old to
 * know the path or says anything else fails nothing, since a restart of tailscaled would not mend the agent. `timeout` ends the question before
 * the kubelet would: a probe that the kubelet has to break off counts as failed. Needs sh, timeout, wget and grep as busybox has them.
 */
const SCRIPT = [
  // An IPv6 address needs brackets in a URL.
  'case "$POD_IP" in *:*) host="[$POD_IP]" ;; *) host=$POD_IP ;; esac',
  // Straight to the agent, whatever proxy the container was given.
  `! http_proxy= timeout 3 wget -q -O - "http://$host:${PORTS.agent}/daemon" 2>/dev/null | grep -qx wedged`,
].join('\n');

/** The tailscale container's livenessProbe: two refusals in a row, 20 seconds apart, restart it. What hangs does not answer SIGTERM either, so the grace is short. */
export const wedgeProbe = (): ProbeShape => ({
  exec: { command: ['/bin/sh', '-c', SCRIPT] },
  periodSeconds: 20,
  timeoutSeconds: 10,
  failureThreshold: 2,
  terminationGracePeriodSeconds: 5,
});
