/** Frames of the binary protocol of a data node, as far as the stand-in needs them. */

export const opcodes = {
  get: 0x00,
  upsert: 0x01,
  insert: 0x02,
  replace: 0x03,
  remove: 0x04,
  noop: 0x0a,
  hello: 0x1f,
  saslListMechs: 0x20,
  saslAuth: 0x21,
  saslStep: 0x22,
  selectBucket: 0x89,
  clusterConfig: 0xb5,
  collectionsManifest: 0xba,
  collectionId: 0xbb,
  lookupIn: 0xd0,
  mutateIn: 0xd1,
  scanCreate: 0xda,
  scanContinue: 0xdb,
  errorMap: 0xfe,
} as const;

export const statuses = {
  success: 0x00,
  notFound: 0x01,
  exists: 0x02,
  tooBig: 0x03,
  invalid: 0x04,
  noBucket: 0x08,
  authError: 0x20,
  authContinue: 0x21,
  noAccess: 0x24,
  unknownFrame: 0x80,
  unknownCommand: 0x81,
  noMemory: 0x82,
  temporaryFailure: 0x86,
  unknownCollection: 0x88,
  unknownScope: 0x8c,
  durabilityImpossible: 0xa1,
  scanComplete: 0xa7,
  durabilityAmbiguous: 0xa3,
  pathNotFound: 0xc0,
  pathMismatch: 0xc1,
  notJson: 0xc6,
  pathExists: 0xc9,
  multiPathFailure: 0xcc,
} as const;
export type Status = (typeof statuses)[keyof typeof statuses];

export const features = { nodelay: 0x03, mutationSeqno: 0x04, xattr: 0x06, xerror: 0x07, selectBucket: 0x08, json: 0x0b, altRequest: 0x10, syncReplication: 0x11, collections: 0x12, preserveTtl: 0x14 };

export interface Request {
  opcode: number;
  vbucket: number;
  opaque: number;
  cas: bigint;
  frames: Map<number, Buffer>;
  extras: Buffer;
  key: Buffer;
  value: Buffer;
}

export interface Answer {
  status: Status;
  cas?: bigint;
  extras?: Buffer;
  key?: Buffer;
  value?: Buffer;
  json?: boolean;
}

const HEADER = 24;
const REQUEST = 0x80;
const REQUEST_WITH_FRAMES = 0x08;
const RESPONSE = 0x81;

/** Takes whole requests from the front of the bytes. Throws on what is no request. */
export function takeRequests(bytes: Buffer): { requests: Request[]; rest: Buffer } {
  const requests: Request[] = [];
  let rest = bytes;
  while (rest.length >= HEADER) {
    const magic = rest.readUInt8(0);
    if (magic !== REQUEST && magic !== REQUEST_WITH_FRAMES) throw new Error(`no request: magic 0x${magic.toString(16)}`);
    const bodyLength = rest.readUInt32BE(8);
    if (rest.length < HEADER + bodyLength) break;
    requests.push(parse(rest.subarray(0, HEADER), rest.subarray(HEADER, HEADER + bodyLength), magic === REQUEST_WITH_FRAMES));
    rest = rest.subarray(HEADER + bodyLength);
  }
  return { requests, rest };
}

function parse(header: Buffer, body: Buffer, withFrames: boolean): Request {
  const frameBytes = withFrames ? header.readUInt8(2) : 0;
  const keyBytes = withFrames ? header.readUInt8(3) : header.readUInt16BE(2);
  const extrasEnd = frameBytes + header.readUInt8(4);
  return {
    opcode: header.readUInt8(1),
    vbucket: header.readUInt16BE(6),
    opaque: header.readUInt32BE(12),
    cas: header.readBigUInt64BE(16),
    frames: parseFrames(body.subarray(0, frameBytes)),
    extras: body.subarray(frameBytes, extrasEnd),
    key: body.subarray(extrasEnd, extrasEnd + keyBytes),
    value: body.subarray(extrasEnd + keyBytes),
  };
}

function parseFrames(bytes: Buffer): Map<number, Buffer> {
  const frames = new Map<number, Buffer>();
  for (let at = 0; at < bytes.length; ) {
    const head = bytes.readUInt8(at);
    const length = head & 0x0f;
    frames.set(head >> 4, bytes.subarray(at + 1, at + 1 + length));
    at += 1 + length;
  }
  return frames;
}

export function encodeAnswer(request: Request, answer: Answer): Buffer {
  const none = Buffer.alloc(0);
  const { status, cas = 0n, extras = none, key = none, value = none, json = false } = answer;
  const header = Buffer.alloc(HEADER);
  header.writeUInt8(RESPONSE, 0);
  header.writeUInt8(request.opcode, 1);
  header.writeUInt16BE(key.length, 2);
  header.writeUInt8(extras.length, 4);
  header.writeUInt8(json ? 1 : 0, 5);
  header.writeUInt16BE(status, 6);
  header.writeUInt32BE(extras.length + key.length + value.length, 8);
  header.writeUInt32BE(request.opaque, 12);
  header.writeBigUInt64BE(cas, 16);
  return Buffer.concat([header, extras, key, value]);
}

/** A key carries the id of its collection in front (LEB128). */
export function splitKey(key: Buffer): { collection: number; id: string } {
  let collection = 0;
  let at = 0;
  for (let shift = 0; at < key.length; shift += 7) {
    const byte = key.readUInt8(at);
    at += 1;
    collection += (byte & 0x7f) * 2 ** shift;
    if ((byte & 0x80) === 0) break;
  }
  return { collection, id: key.toString('utf8', at) };
}
