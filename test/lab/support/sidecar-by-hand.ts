/** A sidecar as an engineer would write it without Bifrost, for tests of the lab itself: guard, then tailscale in kernel mode with a key by file. */
export function sidecarByHand({ image, key, hostname }: { readonly image: string; readonly key: string; readonly hostname: string }) {
  const rules = [
    '5000 fwmark 0x80000/0xff0000 lookup main',
    '5010 to 10.96.0.0/16 lookup main',
    '5011 to 10.244.0.0/16 lookup main',
    '5012 to 10.250.0.1/32 lookup main',
    '5110 to 10.0.0.0/8 lookup 52',
    '5120 to 10.0.0.0/8 prohibit',
  ];
  const capabilities = { drop: ['ALL'], add: ['NET_ADMIN'] };
  const environment = {
    TS_AUTHKEY: 'file:/run/key/authkey',
    TS_AUTH_ONCE: 'true',
    TS_KUBE_SECRET: '',
    TS_USERSPACE: 'false',
    TS_STATE_DIR: '/var/lib/tailscale',
    TS_HOSTNAME: hostname,
    TS_EXTRA_ARGS: '--login-server=http://10.244.0.1:9911 --accept-routes',
    TS_DEBUG_FIREWALL_MODE: 'nftables',
    TS_NO_LOGS_NO_SUPPORT: 'true',
    TS_LOCAL_ADDR_PORT: '0.0.0.0:9002',
    TS_ENABLE_HEALTH_CHECK: 'true',
  };
  return {
    initContainers: [
      {
        name: 'guard',
        image,
        command: [
          '/bin/sh',
          '-ec',
          `for r in ${rules.map((rule) => `'${rule}'`).join(' ')}; do ip rule add pref $r; done; printf %s '${key}' > /run/key/authkey`,
        ],
        securityContext: { capabilities },
        volumeMounts: [{ name: 'key', mountPath: '/run/key' }],
      },
      {
        name: 'tailscale',
        image,
        restartPolicy: 'Always',
        env: Object.entries(environment).map(([name, value]) => ({ name, value })),
        securityContext: { capabilities },
        startupProbe: { httpGet: { path: '/healthz', port: 9002 }, periodSeconds: 1, failureThreshold: 60 },
        volumeMounts: [
          { name: 'tun', mountPath: '/dev/net/tun' },
          { name: 'key', mountPath: '/run/key' },
          { name: 'state', mountPath: '/var/lib/tailscale' },
        ],
      },
    ],
    volumes: [
      { name: 'tun', hostPath: { path: '/dev/net/tun' } },
      { name: 'key', emptyDir: { medium: 'Memory' } },
      { name: 'state', emptyDir: { medium: 'Memory' } },
    ],
  };
}
