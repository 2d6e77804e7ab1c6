import { bookContainers } from './book-containers.ts';
import type { ServedPort } from './guard.ts';
import type { ContainerShape, PodTemplateShape, ProbeShape } from './pod-shape.ts';

const probesOf = (container: ContainerShape): readonly ProbeShape[] =>
  [container.readinessProbe, container.livenessProbe, container.startupProbe].filter((probe) => probe !== undefined);

/** Ports on which the book answers callers: declared ports, and those that probes ask. A named port is looked up in its own container. Ours do not count. */
export function servedPorts(template: PodTemplateShape): readonly ServedPort[] {
  const found = new Map<string, ServedPort>();
  const add = (protocol: string, port: number): void => {
    if (protocol === 'tcp' || protocol === 'udp') found.set(`${protocol}/${port}`, { protocol, port });
  };
  for (const container of bookContainers(template)) {
    const ports = container.ports ?? [];
    for (const { containerPort, protocol } of ports) add((protocol ?? 'TCP').toLowerCase(), containerPort);
    for (const { httpGet, tcpSocket, grpc } of probesOf(container)) {
      const asked = httpGet?.port ?? tcpSocket?.port ?? grpc?.port;
      const port = typeof asked === 'string' ? ports.find(({ name }) => name === asked)?.containerPort : asked;
      if (port !== undefined) add('tcp', port);
    }
  }
  return [...found.values()].sort((a, b) => a.protocol.localeCompare(b.protocol, 'en') || a.port - b.port);
}
