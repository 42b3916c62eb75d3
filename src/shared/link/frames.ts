import { z } from 'zod';
import type { Json } from '../foundation/json.ts';
import type { Urgency } from '../foundation/turn-gatherer.ts';
import { type ControlMessage, controlMessageSchemas, type ControlMessageType } from '../control/messages.ts';
import { type Epoch, HIGHEST_EPOCH } from '../model/control.ts';
import type { WireError } from '../model/errors.ts';
import { type CancelledBy, readOperator } from './cancelled-by.ts';

/** Everything that edge and master say to each other: JSON text, one message a frame. */

/** Version range of the link protocol that this node speaks. */
export const PROTOCOL: readonly [min: number, max: number] = [1, 1];

/** What may be asked of the other node, and whether it needs the authority of an epoch. */
export const requestKinds = {
  exec: { epoch: true, bulk: false },
  // Of an edge for a user of its own. It claims no authority: the master stamps the epoch of whoever holds on the way there.
  relay: { epoch: false, bulk: false },
  status: { epoch: false, bulk: false },
  functions: { epoch: false, bulk: false },
  // A wish too: it is carried out where control is when it comes, under the epoch of that moment.
  reload: { epoch: false, bulk: false },
  // Wishes too, judged where they come: `wanted` by the master, whose documents it changes, the others wherever control is.
  wanted: { epoch: false, bulk: false },
  modules: { epoch: false, bulk: false },
  expire: { epoch: false, bulk: false },
  // The working copy is the node's, whoever has control.
  repository: { epoch: false, bulk: false },
  watch: { epoch: false, bulk: false },
  unwatch: { epoch: false, bulk: false },
  // A webhook of a trigger was called: not bound to an epoch, whoever drives when it comes is meant.
  trigger: { epoch: false, bulk: false },
  debug: { epoch: false, bulk: false },
  ignore: { epoch: false, bulk: false },
  // A wish, judged by what the master finds when it comes: an edge that let go may not know the epoch that followed.
  order: { epoch: false, bulk: false },
  certificate: { epoch: false, bulk: false },
  'replicate.pull': { epoch: false, bulk: true },
  'replicate.snapshot': { epoch: false, bulk: true },
} as const;
export type RequestKind = keyof typeof requestKinds;

/** Their answers may be megabytes, and may be asked for again: none is written while much waits. */
export const largeAnswers: ReadonlySet<RequestKind> = new Set(['status']);

/** What is told without an answer. `urgency`: what changes all the time need not leave each time. */
export const postTypes = {
  status: { epoch: true, urgency: 'soon' },
  watched: { epoch: false, urgency: 'soon' },
  // How far values of a location can be trusted that the peer watches.
  staleness: { epoch: false, urgency: 'now' },
  // What a side remembers of a trigger: of the past, whose epochs it names.
  trigger: { epoch: false, urgency: 'now' },
  commit: { epoch: false, urgency: 'now' },
  log: { epoch: false, urgency: 'now' },
  // How far a start or stop of modules has come, and which of them run edited code.
  modules: { epoch: false, urgency: 'now' },
  ready: { epoch: false, urgency: 'now' },
  origin: { epoch: false, urgency: 'now' },
  'replicate.head': { epoch: false, urgency: 'now' },
} as const satisfies Record<string, { epoch: boolean; urgency: Urgency }>;
export type PostType = keyof typeof postTypes;

export const isRequestKind = (kind: string): kind is RequestKind => Object.hasOwn(requestKinds, kind);
export const isPostType = (type: string): type is PostType => Object.hasOwn(postTypes, type);

/** ◆ Claims, not authority: the gate lets them pass whatever their epoch, and the control machines judge them. */
const claims: ReadonlySet<ControlMessageType> = new Set(['hello', 'negotiate', 'control.released', 'control.claimed', 'control.accepted']);
export const isClaim = (type: ControlMessageType): boolean => claims.has(type);

/** The part of `hello` and `negotiate` that belongs to the link, not to control. */
const sessionSchema = z.strictObject({
  v: z.tuple([z.int(), z.int()]),
  /** Of the process that sends it. */
  boot: z.string().max(64),
  /** Of the process that it talked to in the session it wants to resume; empty: none. */
  peerBoot: z.string().max(64),
  id: z.string().max(64),
  /** Sequence number of the last frame received in that session. */
  received: z.int().min(0),
  resumed: z.boolean(),
});
export type SessionOffer = z.output<typeof sessionSchema>;

/** What a node says to the other, besides control: numbered, kept until acknowledged. */
export type Message =
  | { t: 'request'; seq: number; ack: number; id: number; kind: string; body: Json; ep: Epoch | null; ttl: number }
  | { t: 'response'; seq: number; ack: number; re: number; value: Json; error?: never }
  | { t: 'response'; seq: number; ack: number; re: number; error: WireError; value?: never }
  | { t: 'cancel'; seq: number; ack: number; re: number; by: CancelledBy | null }
  | { t: 'post'; seq: number; ack: number; type: string; body: Json; ep: Epoch | null }
  /** Stands for a frame that is not sent again, so that no number is missing. */
  | { t: 'skip'; seq: number; ack: number };

/** A piece of the body of the next message of type `of`; `at`: how much of it came before. */
export interface PartFrame {
  t: 'part';
  seq: number;
  ack: number;
  of: MessageType;
  at: number;
  text: string;
}

/** A message without its body, which came before in parts. */
export interface LastFrame {
  t: 'last';
  seq: number;
  ack: number;
  of: MessageType;
  bodyField: BodyField;
  fields: Record<string, unknown>;
}

export type SequencedFrame = Message | PartFrame | LastFrame;
export type MessageType = Message['t'];

/** The field of a message that holds what others gave us to carry. */
export type BodyField = 'body' | 'value' | 'error';

/** A message as it waits to be sent: its number is not given yet. */
export interface OutgoingFrame {
  readonly t: MessageType | 'part';
  /** Its own fields as JSON text, each after a comma. Asked each time that it is sent: what is left of a deadline changes. */
  head(): string;
  readonly bodyField: BodyField | 'text';
  /** JSON text, written once however often the frame is sent. Empty: it has no body. */
  readonly body: string;
}

export function encodeFrame(frame: OutgoingFrame, seq: number, ack: number): string {
  const { t, bodyField, body } = frame;
  const field = body === '' ? '' : `,"${bodyField}":${body}`;
  return `{"t":"${t}","seq":${seq},"ack":${ack}${frame.head()}${field}}`;
}

export type Frame =
  | { t: 'hb' | 'hba'; n: number; ack: number }
  | { t: 'error'; code: string; about: string }
  | { t: 'control'; message: ControlMessage; session: SessionOffer | null }
  | { t: 'unknown'; type: string }
  | SequencedFrame;

/** A frame that breaks the protocol; the reason names what was wrong. */
export interface InvalidFrame {
  t: 'invalid';
  reason: string;
}

const invalid = (reason: string): InvalidFrame => ({ t: 'invalid', reason });

export function decodeFrame(text: string): Frame | InvalidFrame {
  let frame: unknown;
  try {
    frame = JSON.parse(text);
  } catch {
    return invalid('not-json');
  }
  if (!isRecord(frame) || !isWord(frame['t'])) return invalid('no-type');
  const type = frame['t'];
  switch (type) {
    case 'hb':
    case 'hba':
      return isCount(frame['n']) && isCount(frame['ack']) ? { t: type, n: frame['n'], ack: frame['ack'] } : invalid('heartbeat');
    case 'error':
      return isWord(frame['code']) && isWord(frame['about']) ? { t: 'error', code: frame['code'], about: frame['about'] } : invalid('error');
    case 'request':
    case 'response':
    case 'cancel':
    case 'post':
    case 'skip':
      return decodeSequenced(type, frame);
    case 'part':
      return decodePart(frame);
    default:
      return isControlType(type) ? decodeControl(type, frame) : { t: 'unknown', type };
  }
}

const isControlType = (type: string): type is ControlMessageType => Object.hasOwn(controlMessageSchemas, type);
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
const isCount = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
/** Refused, not cut, when it is long: V8 would keep the whole text with the piece, and each new word is remembered. */
const isWord = (value: unknown): value is string => typeof value === 'string' && value.length <= 100;
/** Anything that came out of `JSON.parse`. */
const isJson = (value: unknown): value is Json => value !== undefined;

function decodeControl(type: ControlMessageType, frame: Record<string, unknown>): Frame | InvalidFrame {
  const { session, ...message } = frame;
  const parsed = controlMessageSchemas[type].safeParse(message);
  if (!parsed.success) return invalid(`${type}: ${parsed.error.issues[0]?.path.join('.') ?? ''}`);
  if (session === undefined) return { t: 'control', message: parsed.data, session: null };
  const offer = sessionSchema.safeParse(session);
  return offer.success ? { t: 'control', message: parsed.data, session: offer.data } : invalid(`${type}: session`);
}

const messageTypes: ReadonlySet<string> = new Set<MessageType>(['request', 'response', 'cancel', 'post', 'skip']);
const isMessageType = (type: unknown): type is MessageType => typeof type === 'string' && messageTypes.has(type);
const isBodyField = (field: unknown): field is BodyField => field === 'body' || field === 'value' || field === 'error';

function decodePart(frame: Record<string, unknown>): PartFrame | InvalidFrame {
  const { seq, ack, of, at, text } = frame;
  if (!isCount(seq) || !isCount(ack) || !isMessageType(of) || !isCount(at) || typeof text !== 'string') return invalid('part');
  return { t: 'part', seq, ack, of, at, text };
}

/** By hand, not by schema: these are the frames of the hot path. Bodies are checked by whoever handles them. */
function decodeSequenced(type: MessageType, frame: Record<string, unknown>): Message | LastFrame | InvalidFrame {
  const { seq, ack, parts } = frame;
  if (!isCount(seq) || !isCount(ack)) return invalid(`${type}: seq`);
  if (parts === undefined) return decodeMessage(type, frame, { seq, ack });
  return isBodyField(parts) ? { t: 'last', seq, ack, of: type, bodyField: parts, fields: frame } : invalid(`${type}: parts`);
}

/** The message whose body came in parts; `body` is their text. */
export function completeFrame({ of, bodyField, fields, seq, ack }: LastFrame, body: string): Message | InvalidFrame {
  try {
    return decodeMessage(of, { ...fields, [bodyField]: JSON.parse(body) as unknown }, { seq, ack });
  } catch {
    return invalid(`${of}: parts`);
  }
}

function decodeMessage(type: MessageType, frame: Record<string, unknown>, { seq, ack }: { seq: number; ack: number }): Message | InvalidFrame {
  const { id, re, kind, body, value, error, ttl } = frame;
  const ep = readEpoch(frame['ep']);
  if (ep === undefined) return invalid(`${type}: ep`);
  switch (type) {
    case 'request':
      return isCount(id) && isWord(kind) && isJson(body) && isCount(ttl) ? { t: type, seq, ack, id, kind, body, ep, ttl } : invalid(type);
    case 'response':
      if (!isCount(re)) return invalid(type);
      if (isWireError(error)) return { t: type, seq, ack, re, error };
      return isJson(value) ? { t: type, seq, ack, re, value } : invalid(type);
    case 'cancel': {
      const by = readOperator(frame['by']);
      return isCount(re) && by !== undefined ? { t: type, seq, ack, re, by } : invalid(type);
    }
    case 'post':
      return isWord(frame['type']) && isJson(body) ? { t: type, seq, ack, type: frame['type'], body, ep } : invalid(type);
    case 'skip':
      return { t: type, seq, ack };
  }
}

/** undefined: not an epoch; null: none was sent. */
function readEpoch(value: unknown): Epoch | null | undefined {
  if (value === undefined || value === null) return null;
  if (!isRecord(value)) return undefined;
  const { generation, number } = value;
  return isEpochPart(generation) && isEpochPart(number) ? { generation, number } : undefined;
}

const isEpochPart = (value: unknown): value is number => isCount(value) && value <= HIGHEST_EPOCH;

function isWireError(value: unknown): value is WireError {
  if (!isRecord(value)) return false;
  const { code, message, help, facts } = value;
  return typeof code === 'string' && typeof message === 'string' && typeof help === 'string' && isRecord(facts);
}
