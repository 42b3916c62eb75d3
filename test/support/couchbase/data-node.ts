import { createServer, type Server, type Socket } from 'node:net';
import { Collection, type NodeState } from './documents.ts';
import { z } from 'zod';
import { type Answer, encodeAnswer, features, opcodes, type Request, splitKey, statuses, takeRequests } from './frames.ts';
import { isMechanism, ScramServer } from './scram.ts';
import { NotKnown } from './sub-documents.ts';

/**
 * One Couchbase data node, as far as the store of Holdfast speaks to it: the real SDK connects, and every test reads the
 * same data. It says no to what it does not know, and `unknown` then fails the test: it cannot lie by silence.
 */

export interface DataNodeOptions {
  user?: string;
  password?: string;
  bucket?: string;
  /** `scope.collection`. */
  collections?: readonly string[];
}

/**
 * What befalls a request that carries a document: it is lost before or after it took effect, the connection is cut before
 * or after, the node has no time, or it cannot tell whether a durable write will last.
 */
export const faults = ['lose-request', 'lose-answer', 'cut-before', 'cut-after', 'busy', 'ambiguous-done', 'ambiguous-not-done'] as const;
export type Fault = (typeof faults)[number];

export interface Seen {
  opcode: number;
  collection: string;
  id: string;
  durable: boolean;
}

const VBUCKETS = 64;

const scanSchema = z.strictObject({
  collection: z.string().default('0'),
  key_only: z.literal(true),
  range: z.strictObject({ start: z.literal(''), end: z.string() }),
});
const granted = Object.values(features);
const json = (value: unknown): Answer => ({ status: statuses.success, value: Buffer.from(JSON.stringify(value)), json: true });

export class DataNode {
  /** What a client asked that the stand-in does not know. Must be empty at the end of each test. */
  readonly unknown: string[] = [];
  /** Asked for each request that carries a document. */
  fault: (request: Seen) => Fault | null = () => null;
  /** As with one replica on a single node: no durable write is possible. */
  durable = true;
  readonly #options: Required<DataNodeOptions>;
  readonly #state: NodeState = { nowSeconds: 1_700_000_000, lastCas: 0n, sequence: 0, room: Infinity };
  readonly #collections = new Map<number, Collection>();
  readonly #scans = new Map<string, string[]>();
  readonly #sockets = new Map<Socket, { wake(): void }>();
  #server: Server | null = null;
  #port = 0;
  #frozen = false;

  constructor(options: DataNodeOptions = {}) {
    this.#options = { user: 'holdfast', password: 'pw-holdfast', bucket: 'holdfast', collections: [], ...options };
    for (const name of ['_default._default', ...this.#options.collections]) this.addCollection(name);
  }

  get port(): number {
    return this.#port;
  }

  /** Bytes that may still be stored. */
  set room(bytes: number) {
    this.#state.room = bytes;
  }

  addCollection(name: string): void {
    const id = name === '_default._default' ? 0 : 8 + this.#collections.size;
    this.#collections.set(id, new Collection(name, this.#state));
  }

  collection(name: string): Collection {
    const found = [...this.#collections.values()].find((collection) => collection.name === name);
    if (found === undefined) throw new Error(`the node has no collection ${name}`);
    return found;
  }

  /** The clock of expiry. */
  advance(seconds: number): void {
    this.#state.nowSeconds += seconds;
  }

  /** On the port that it had before, if any. */
  async start(): Promise<void> {
    const server = createServer((socket) => this.#serve(socket));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#port, '127.0.0.1', resolve);
    });
    const address = server.address();
    if (typeof address === 'object' && address !== null) this.#port = address.port;
    this.#server = server;
  }

  /** Connections are cut; the documents stay. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    this.cut();
    if (server !== null) await new Promise((resolve) => server.close(resolve));
  }

  cut(): void {
    for (const socket of this.#sockets.keys()) socket.destroy();
  }

  /** Connections stay open, new ones too, and nothing is answered. */
  freeze(): void {
    this.#frozen = true;
  }

  thaw(): void {
    this.#frozen = false;
    for (const { wake } of this.#sockets.values()) wake();
  }

  #serve(socket: Socket): void {
    const session = new Session(this.#options);
    let waiting: Buffer = Buffer.alloc(0);
    const wake = (): void => {
      if (this.#frozen || socket.destroyed) return;
      try {
        const { requests, rest } = takeRequests(waiting);
        waiting = rest;
        socket.cork();
        for (const request of requests) this.#handle(session, socket, request);
        socket.uncork();
      } catch (error) {
        this.unknown.push(String(error));
        socket.destroy();
      }
    };
    this.#sockets.set(socket, { wake });
    socket.setNoDelay(true);
    socket.on('error', () => undefined);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('data', (chunk) => {
      waiting = waiting.length === 0 ? chunk : Buffer.concat([waiting, chunk]);
      wake();
    });
  }

  #handle(session: Session, socket: Socket, request: Request): void {
    if (socket.destroyed) return;
    const send = (answer: Answer): void => void socket.write(encodeAnswer(request, answer));
    const answer = session.answer(request) ?? this.#describe(request);
    if (answer !== null) return send(answer);
    if (!session.open) return send({ status: statuses.noAccess });
    const { collection: number, id } = splitKey(request.key);
    const collection = this.#collections.get(number);
    const durable = request.frames.has(1);
    const fault = this.fault({ opcode: request.opcode, collection: collection?.name ?? '', id, durable });
    if (fault === 'lose-request') return;
    if (fault === 'cut-before') return void socket.destroy();
    if (fault === 'busy') return send({ status: statuses.temporaryFailure });
    if (fault === 'ambiguous-not-done') return send({ status: statuses.durabilityAmbiguous });
    if (durable && !this.durable) return send({ status: statuses.durabilityImpossible });
    const done = collection === undefined ? { status: statuses.unknownCollection } : this.#onDocument(collection, id, request);
    if (fault === 'lose-answer') return;
    if (fault === 'cut-after') return void socket.destroy();
    send(fault === 'ambiguous-done' && done.status === statuses.success ? { status: statuses.durabilityAmbiguous } : done);
  }

  #onDocument(collection: Collection, id: string, request: Request): Answer {
    // Durability and "keep the expiry" are all that a frame may ask for.
    const strange = [...request.frames.keys()].filter((frame) => frame !== 1 && frame !== 5);
    if (strange.length > 0) return this.#refuse(`frame ${strange.join(', ')} of opcode 0x${request.opcode.toString(16)}`, statuses.unknownFrame);
    try {
      switch (request.opcode) {
        case opcodes.get:
          return collection.get(id);
        case opcodes.insert:
          return collection.put(id, 'insert', request);
        case opcodes.replace:
          return collection.put(id, 'replace', request);
        case opcodes.upsert:
          return collection.put(id, 'upsert', request);
        case opcodes.remove:
          return collection.remove(id, request.cas);
        case opcodes.lookupIn:
          return collection.lookIn(id, request);
        case opcodes.mutateIn:
          return collection.mutateIn(id, request);
        default:
          return this.#refuse(`opcode 0x${request.opcode.toString(16)}`, statuses.unknownCommand);
      }
    } catch (error) {
      if (error instanceof NotKnown) return this.#refuse(error.message, statuses.unknownCommand);
      throw error;
    }
  }

  #refuse(what: string, status: typeof statuses.unknownFrame | typeof statuses.unknownCommand): Answer {
    this.unknown.push(what);
    return { status };
  }

  /** What is asked of the node rather than of a document. */
  #describe(request: Request): Answer | null {
    switch (request.opcode) {
      case opcodes.clusterConfig:
        return json(this.#clusterConfig());
      case opcodes.collectionsManifest:
        return json({ uid: '1', scopes: this.#scopes() });
      case opcodes.collectionId:
        return this.#collectionId(request.value.toString('utf8') || request.key.toString('utf8'));
      case opcodes.scanCreate:
        return this.#beginScan(request);
      case opcodes.scanContinue:
        return this.#scan(request.extras.subarray(0, 16).toString('hex'));
      default:
        return null;
    }
  }

  /** Of keys alone, and of all of them: nothing else is known here. */
  #beginScan({ value, vbucket }: Request): Answer {
    const asked = scanSchema.safeParse(JSON.parse(value.toString('utf8')));
    if (!asked.success) return this.#refuse(`scan ${value.toString('utf8')}`, statuses.unknownCommand);
    const ids = this.#collections.get(parseInt(asked.data.collection, 16))?.idsIn(vbucket) ?? [];
    if (ids.length === 0) return { status: statuses.notFound };
    const uuid = Buffer.alloc(16);
    uuid.writeUInt32BE(this.#scans.size + 1, 12);
    this.#scans.set(uuid.toString('hex'), ids);
    return { status: statuses.success, value: uuid };
  }

  #scan(uuid: string): Answer {
    const keys = (this.#scans.get(uuid) ?? []).map((id) => {
      const key = Buffer.from(id);
      // Lengths up to 127 are one byte; ids of documents have at most 120 letters.
      return Buffer.concat([Buffer.from([key.length]), key]);
    });
    return { status: statuses.scanComplete, extras: Buffer.alloc(4), value: Buffer.concat(keys) };
  }

  #scopes(): unknown[] {
    const scopes = new Map<string, unknown[]>();
    for (const [id, { name }] of this.#collections) {
      const [scope = '', collection = ''] = name.split('.');
      scopes.set(scope, [...(scopes.get(scope) ?? []), { uid: id.toString(16), name: collection }]);
    }
    return [...scopes].map(([name, collections], i) => ({ uid: String(i), name, collections }));
  }

  #collectionId(path: string): Answer {
    const found = [...this.#collections].find(([, { name }]) => name === path);
    const extras = Buffer.alloc(12);
    extras.writeBigUInt64BE(1n, 0);
    if (found !== undefined) {
      extras.writeUInt32BE(found[0], 8);
      return { status: statuses.success, extras };
    }
    const scopeIsThere = [...this.#collections.values()].some(({ name }) => name.split('.')[0] === path.split('.')[0]);
    return { status: scopeIsThere ? statuses.unknownCollection : statuses.unknownScope };
  }

  #clusterConfig(): unknown {
    const { bucket } = this.#options;
    const capabilities = ['collections', 'durableWrite', 'tombstonedUserXAttrs', 'couchapi', 'cbhello', 'touch', 'cccp', 'xdcrCheckpointing', 'nodesExt', 'xattr', 'rangeScan'];
    return {
      rev: 1,
      revEpoch: 1,
      name: bucket,
      uuid: '5eed5eed5eed5eed5eed5eed5eed5eed',
      nodeLocator: 'vbucket',
      bucketCapabilitiesVer: '',
      bucketCapabilities: capabilities,
      clusterCapabilitiesVer: [1, 0],
      clusterCapabilities: {},
      nodes: [{ hostname: `127.0.0.1:8091`, ports: { direct: this.#port } }],
      nodesExt: [{ services: { kv: this.#port }, thisNode: true, hostname: '127.0.0.1' }],
      vBucketServerMap: {
        hashAlgorithm: 'CRC',
        numReplicas: 0,
        serverList: [`127.0.0.1:${this.#port}`],
        vBucketMap: Array.from({ length: VBUCKETS }, () => [0]),
      },
    };
  }
}

/** One connection: who it is, and which bucket it has selected. */
class Session {
  readonly #options: Required<DataNodeOptions>;
  #scram: ScramServer | null = null;
  #authenticated = false;
  #bucket = false;

  constructor(options: Required<DataNodeOptions>) {
    this.#options = options;
  }

  get open(): boolean {
    return this.#authenticated && this.#bucket;
  }

  /** null: nothing that belongs to the session. */
  answer(request: Request): Answer | null {
    const { user, password, bucket } = this.#options;
    switch (request.opcode) {
      case opcodes.hello:
        return { status: statuses.success, value: shared(request.value) };
      case opcodes.noop:
        return { status: statuses.success };
      case opcodes.errorMap:
        return json({ version: 2, revision: 1, errors: {} });
      case opcodes.saslListMechs:
        return { status: statuses.success, value: Buffer.from('SCRAM-SHA512 SCRAM-SHA256 SCRAM-SHA1 PLAIN') };
      case opcodes.saslAuth:
        return this.#begin(request.key.toString('utf8'), request.value.toString('utf8'), (name) => (name === user ? password : null));
      case opcodes.saslStep: {
        const proof = this.#scram?.finish(request.value.toString('utf8')) ?? null;
        this.#authenticated = proof !== null;
        return proof === null ? { status: statuses.authError } : { status: statuses.success, value: Buffer.from(proof) };
      }
      case opcodes.selectBucket:
        this.#bucket = this.#authenticated && request.key.toString('utf8') === bucket;
        return { status: this.#bucket ? statuses.success : statuses.noAccess };
      default:
        return this.#authenticated ? null : { status: statuses.noAccess };
    }
  }

  #begin(mechanism: string, message: string, password: (user: string) => string | null): Answer {
    if (mechanism === 'PLAIN') {
      const [, name = '', given = ''] = message.split('\0');
      this.#authenticated = password(name) === given;
      return { status: this.#authenticated ? statuses.success : statuses.authError };
    }
    if (!isMechanism(mechanism)) return { status: statuses.authError };
    this.#scram = new ScramServer(mechanism, password);
    return { status: statuses.authContinue, value: Buffer.from(this.#scram.begin(message)) };
  }
}

function shared(wanted: Buffer): Buffer {
  const both: number[] = [];
  for (let at = 0; at + 1 < wanted.length; at += 2) if (granted.includes(wanted.readUInt16BE(at))) both.push(wanted.readUInt16BE(at));
  const bytes = Buffer.alloc(both.length * 2);
  for (const [i, feature] of both.entries()) bytes.writeUInt16BE(feature, i * 2);
  return bytes;
}
