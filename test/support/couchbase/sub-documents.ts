import { type Answer, type Status, statuses } from './frames.ts';

/** Sub-document look-ups and mutations: paths into dictionaries only. What else a client asks for is not known here. */

const ops = { wholeGet: 0x00, wholeSet: 0x01, get: 0xc5, exists: 0xc6, add: 0xc7, upsert: 0xc8, remove: 0xc9, replace: 0xca } as const;

interface Spec {
  op: number;
  flags: number;
  path: string;
  value: Buffer;
}

type Tree = { [key: string]: unknown };
const isTree = (value: unknown): value is Tree => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Thrown on what the stand-in does not know: the node answers "unknown command" and the test fails. */
export class NotKnown extends Error {}

function known({ op, flags, path }: Spec): void {
  if (!(Object.values(ops) as number[]).includes(op)) throw new NotKnown(`sub-document operation 0x${op.toString(16)} at ${path}`);
  // 1: make parents. Extended attributes and macros are not known.
  if ((flags & ~0x01) !== 0) throw new NotKnown(`sub-document flags 0x${flags.toString(16)} at ${path}`);
}

function* lookUpSpecs(body: Buffer): Generator<Spec> {
  for (let at = 0; at < body.length; ) {
    const length = body.readUInt16BE(at + 2);
    yield { op: body.readUInt8(at), flags: body.readUInt8(at + 1), path: body.toString('utf8', at + 4, at + 4 + length), value: Buffer.alloc(0) };
    at += 4 + length;
  }
}

function* mutationSpecs(body: Buffer): Generator<Spec> {
  for (let at = 0; at < body.length; ) {
    const [pathEnd, valueBytes] = [at + 8 + body.readUInt16BE(at + 2), body.readUInt32BE(at + 4)];
    yield { op: body.readUInt8(at), flags: body.readUInt8(at + 1), path: body.toString('utf8', at + 8, pathEnd), value: body.subarray(pathEnd, pathEnd + valueBytes) };
    at = pathEnd + valueBytes;
  }
}

export function lookUp(document: Buffer, body: Buffer): Answer {
  const root = JSON.parse(document.toString('utf8')) as unknown;
  let failed = false;
  const fields = [...lookUpSpecs(body)].map((spec) => {
    known(spec);
    if (spec.op === ops.wholeGet) return lookUpField(statuses.success, document);
    const found = walk(root, partsOf(spec.path));
    if (found === undefined) failed = true;
    if (found === undefined) return lookUpField(statuses.pathNotFound, Buffer.alloc(0));
    return lookUpField(statuses.success, spec.op === ops.exists ? Buffer.alloc(0) : Buffer.from(JSON.stringify(found)));
  });
  return { status: failed ? statuses.multiPathFailure : statuses.success, value: Buffer.concat(fields) };
}

export function mutate(document: Buffer, body: Buffer): { value: Buffer } | Answer {
  let root = JSON.parse(document.toString('utf8')) as unknown;
  for (const [i, spec] of [...mutationSpecs(body)].entries()) {
    known(spec);
    if (spec.op === ops.wholeSet) root = JSON.parse(spec.value.toString('utf8')) as unknown;
    const status = spec.op === ops.wholeSet ? statuses.success : change(root, spec);
    if (status !== statuses.success) return { status: statuses.multiPathFailure, value: mutationFailure(i, status) };
  }
  return { value: Buffer.from(JSON.stringify(root)) };
}

function change(root: unknown, { op, flags, path, value }: Spec): Status {
  const parts = partsOf(path);
  const name = parts.pop() ?? '';
  let parent: unknown = root;
  for (const part of parts) {
    if (!isTree(parent)) return statuses.pathMismatch;
    if (!Object.hasOwn(parent, part)) {
      if ((flags & 1) === 0) return statuses.pathNotFound;
      parent[part] = {};
    }
    parent = parent[part];
  }
  if (!isTree(parent)) return statuses.pathMismatch;
  const there = Object.hasOwn(parent, name);
  if (op === ops.add && there) return statuses.pathExists;
  if ((op === ops.replace || op === ops.remove) && !there) return statuses.pathNotFound;
  if (op === ops.remove) delete parent[name];
  else parent[name] = JSON.parse(value.toString('utf8')) as unknown;
  return statuses.success;
}

const walk = (root: unknown, parts: string[]): unknown =>
  parts.reduce<unknown>((at, part) => (isTree(at) && Object.hasOwn(at, part) ? at[part] : undefined), root);

/** `` a.`b.c` ``: dots divide, except between backticks. */
function partsOf(path: string): string[] {
  if (path.includes('[')) throw new NotKnown(`a path into a list: ${path}`);
  return [...path.matchAll(/`((?:[^`]|``)*)`|([^.`]+)/g)].map(([, quoted, plain]) => quoted?.replaceAll('``', '`') ?? plain ?? '');
}

function lookUpField(status: Status, value: Buffer): Buffer {
  const head = Buffer.alloc(6);
  head.writeUInt16BE(status, 0);
  head.writeUInt32BE(value.length, 2);
  return Buffer.concat([head, value]);
}

function mutationFailure(index: number, status: Status): Buffer {
  const failure = Buffer.alloc(3);
  failure.writeUInt8(index, 0);
  failure.writeUInt16BE(status, 1);
  return failure;
}
