import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lab } from './command.ts';

/** One IPv4 packet of a capture. */
export interface Packet {
  readonly source: string;
  readonly destination: string;
  readonly protocol: 'tcp' | 'udp' | 'other';
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload: Buffer;
}

/** What passed the pods' bridge between start and stop. */
export interface Capture {
  readonly packets: readonly Packet[];
  /** True when these bytes were seen in clear anywhere in the capture, also across packets of one TCP direction. */
  contains(text: string): boolean;
  /** Packets that are WireGuard's, by their first bytes and length. */
  readonly wireGuard: readonly Packet[];
  between(one: string, other: string): readonly Packet[];
}

/** Captures on the node's bridge (or `interfaceName` of the node) while `action` runs, whole packets. */
export async function capture<T>(action: () => Promise<T>, interfaceName = 'cni0'): Promise<{ readonly result: T; readonly capture: Capture }> {
  const folder = await mkdtemp(join(tmpdir(), 'lab-capture-'));
  const file = join(folder, 'capture.pcap');
  try {
    await lab(['capture', 'start', file, interfaceName]);
    const result = await action().finally(() => lab(['capture', 'stop']));
    return { result, capture: readCapture(await readFile(file)) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Reads a pcap file as tcpdump writes it on this kind of machine: little-endian, Ethernet. */
export function readCapture(file: Buffer): Capture {
  if (file.length < 24 || ![0xa1b2c3d4, 0xa1b23c4d].includes(file.readUInt32LE(0))) throw new Error('not a pcap file of this byte order');
  if (file.readUInt32LE(20) !== 1) throw new Error('not an Ethernet capture');
  const packets: Packet[] = [];
  const streams = new Map<string, Buffer[]>();
  for (let at = 24; at + 16 <= file.length; ) {
    const length = file.readUInt32LE(at + 8);
    const packet = parseFrame(file.subarray(at + 16, at + 16 + length));
    at += 16 + length;
    if (!packet) continue;
    packets.push(packet);
    const stream = `${packet.protocol} ${packet.source} ${packet.sourcePort} ${packet.destination} ${packet.destinationPort}`;
    streams.set(stream, [...(streams.get(stream) ?? []), packet.payload]);
  }
  return {
    packets,
    contains: (text) => file.includes(text) || [...streams.values()].some((parts) => Buffer.concat(parts).includes(text)),
    wireGuard: packets.filter(isWireGuard),
    between: (one, other) =>
      packets.filter(({ source, destination }) => (source === one && destination === other) || (source === other && destination === one)),
  };
}

const address = (frame: Buffer, at: number): string => [...frame.subarray(at, at + 4)].join('.');

function parseFrame(frame: Buffer): Packet | undefined {
  if (frame.length < 34 || frame.readUInt16BE(12) !== 0x0800) return undefined;
  const transport = 14 + ((frame[14] ?? 0) & 0x0f) * 4;
  const end = Math.min(frame.length, 14 + frame.readUInt16BE(16));
  const protocol = frame[23] === 6 ? 'tcp' : frame[23] === 17 ? 'udp' : 'other';
  const ported = protocol !== 'other' && frame.length >= transport + 8;
  const header = protocol === 'tcp' ? ((frame[transport + 12] ?? 0) >> 4) * 4 : protocol === 'udp' ? 8 : 0;
  return {
    source: address(frame, 26),
    destination: address(frame, 30),
    protocol,
    sourcePort: ported ? frame.readUInt16BE(transport) : 0,
    destinationPort: ported ? frame.readUInt16BE(transport + 2) : 0,
    payload: frame.subarray(Math.min(transport + header, end), end),
  };
}

/** Message types 1 to 4 with three zero bytes after them and the length that each type has. @see Source: https://www.wireguard.com/protocol/ */
function isWireGuard({ protocol, payload }: Packet): boolean {
  if (protocol !== 'udp' || payload.length < 32 || payload.readUIntLE(1, 3) !== 0) return false;
  const fixed = { 1: 148, 2: 92, 3: 64 }[payload[0] ?? 0];
  return fixed === undefined ? payload[0] === 4 && payload.length % 16 === 0 : payload.length === fixed;
}
