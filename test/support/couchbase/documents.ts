import { type Answer, type Request, statuses } from './frames.ts';
import { lookUp, mutate } from './sub-documents.ts';

interface Item {
  value: Buffer;
  flags: number;
  cas: bigint;
  /** Unix seconds by the clock of the node; 0: never. */
  expires: number;
  /** The part of the key space that the client has found it in. */
  vbucket: number;
}

/** What the documents of a node share: one clock for expiry and for versions. */
export interface NodeState {
  nowSeconds: number;
  lastCas: bigint;
  sequence: number;
  /** Bytes that may be stored; beyond them the node says that it has no memory. */
  room: number;
}

const MAX_VALUE = 20 * 1024 * 1024;
const THIRTY_DAYS = 30 * 86_400;

/** The documents of one collection, with versions and expiry. */
export class Collection {
  readonly name: string;
  readonly #node: NodeState;
  readonly #items = new Map<string, Item>();

  constructor(name: string, node: NodeState) {
    this.name = name;
    this.#node = node;
  }

  ids(): string[] {
    return [...this.#items.keys()].filter((id) => this.#live(id) !== null);
  }

  /** For tests that look behind the back of the client. */
  read(id: string): unknown {
    const item = this.#live(id);
    return item === null ? null : (JSON.parse(item.value.toString('utf8')) as unknown);
  }

  write(id: string, value: unknown): void {
    this.#store(id, { value: Buffer.from(JSON.stringify(value)), flags: 0x02_00_00_06, expires: 0, vbucket: this.#items.get(id)?.vbucket ?? 0 });
  }

  /** Keys of one part, as a scan lists them. */
  idsIn(vbucket: number): string[] {
    return this.ids().filter((id) => this.#items.get(id)?.vbucket === vbucket);
  }

  drop(id: string): void {
    this.#items.delete(id);
  }

  get(id: string): Answer {
    const item = this.#live(id);
    if (item === null) return { status: statuses.notFound };
    const extras = Buffer.alloc(4);
    extras.writeUInt32BE(item.flags);
    return { status: statuses.success, cas: item.cas, extras, value: item.value };
  }

  put(id: string, mode: 'insert' | 'replace' | 'upsert', request: Request): Answer {
    const item = this.#live(id);
    if (mode === 'insert' && item !== null) return { status: statuses.exists };
    const refused = mode === 'insert' ? null : this.#unlessMatching(item, request.cas, mode === 'replace');
    if (refused !== null) return refused;
    const flags = request.extras.readUInt32BE(0);
    const expires = this.#expiry(request.extras.readUInt32BE(4));
    return this.#store(id, { value: Buffer.from(request.value), flags, expires, vbucket: request.vbucket });
  }

  remove(id: string, cas: bigint): Answer {
    const refused = this.#unlessMatching(this.#live(id), cas, true);
    if (refused !== null) return refused;
    this.#items.delete(id);
    return this.#written();
  }

  lookIn(id: string, request: Request): Answer {
    const item = this.#live(id);
    if (item === null) return { status: statuses.notFound };
    return { cas: item.cas, ...lookUp(item.value, request.value) };
  }

  mutateIn(id: string, request: Request): Answer {
    const { extras, cas } = request;
    const documentFlags = extras.length === 1 || extras.length === 5 || extras.length === 9 ? extras.readUInt8(extras.length - 1) : 0;
    const [mayCreate, mustCreate] = [(documentFlags & 3) !== 0, (documentFlags & 2) !== 0];
    const item = this.#live(id);
    if (mustCreate && item !== null) return { status: statuses.exists };
    const refused = this.#unlessMatching(item, cas, !mayCreate);
    if (refused !== null) return refused;
    const done = mutate(item?.value ?? Buffer.from('{}'), request.value);
    if ('status' in done) return done;
    const expires = extras.length >= 4 ? this.#expiry(extras.readUInt32BE(0)) : 0;
    return this.#store(id, { value: done.value, flags: item?.flags ?? 0x02_00_00_06, expires, vbucket: request.vbucket });
  }

  #unlessMatching(item: Item | null, cas: bigint, mustExist: boolean): Answer | null {
    if (item === null) return mustExist || cas !== 0n ? { status: statuses.notFound } : null;
    return cas === 0n || cas === item.cas ? null : { status: statuses.exists };
  }

  #store(id: string, item: Omit<Item, 'cas'>): Answer {
    if (item.value.length > MAX_VALUE) return { status: statuses.tooBig };
    this.#node.room -= item.value.length - (this.#items.get(id)?.value.length ?? 0);
    if (this.#node.room < 0) {
      this.#node.room += item.value.length - (this.#items.get(id)?.value.length ?? 0);
      return { status: statuses.noMemory };
    }
    const answer = this.#written();
    this.#items.set(id, { ...item, cas: answer.cas ?? 0n });
    return answer;
  }

  /** Versions of a node rise with time, as those of the real one do. */
  #written(): Answer & { cas: bigint } {
    const node = this.#node;
    const byClock = BigInt(node.nowSeconds) * 1_000_000_000n;
    node.lastCas = byClock > node.lastCas ? byClock : node.lastCas + 1n;
    node.sequence += 1;
    const extras = Buffer.alloc(16);
    extras.writeBigUInt64BE(0x5eedn, 0);
    extras.writeBigUInt64BE(BigInt(node.sequence), 8);
    return { status: statuses.success, cas: node.lastCas, extras };
  }

  #live(id: string): Item | null {
    const item = this.#items.get(id);
    if (item === undefined) return null;
    if (item.expires === 0 || item.expires > this.#node.nowSeconds) return item;
    this.#items.delete(id);
    return null;
  }

  #expiry(given: number): number {
    return given === 0 || given > THIRTY_DAYS ? given : this.#node.nowSeconds + given;
  }
}
