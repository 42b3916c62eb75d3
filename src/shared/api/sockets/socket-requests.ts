import type { z } from 'zod';
import { prototypeKeyIn, prototypeKeyProblem } from '../../foundation/json.ts';
import { HoldfastError } from '../../model/errors.ts';
import { parseInput } from '../../client-api/parse.ts';
import { isRequestId, type RequestId, socketCommands } from '../../client-api/socket.ts';
import type { SocketErrorName, SocketFrame, SocketMeta, SocketRequest } from '../../client-api/socket.ts';
import { JsonText } from '../reply.ts';

/** What a frame of a client says, step by step, and what its answers repeat. */

export interface Identified {
  id: RequestId;
  cmd: string;
}

export const metaOf = ({ sys, mod, index, name }: SocketRequest<'bind'>): Required<SocketMeta> => ({ sys, mod, index, name });
export const logMetaOf = ({ sys, mod, index, name }: SocketRequest<'debug'>): SocketMeta => ({ sys, mod, index, ...(name === undefined ? {} : { name }) });
export const logKeyOf = ({ sys, mod, index }: SocketRequest<'debug'>): string => JSON.stringify([sys, mod, index]);

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Also of a request that is wrong otherwise: its error is to reach whoever asked. */
export function idOf(input: unknown): RequestId | null {
  const id = isRecord(input) ? input['id'] : undefined;
  return isRequestId(id) ? id : null;
}

export function identified(input: unknown, id: RequestId | null): Identified {
  const wrong = (field: string, problem: string): HoldfastError => new HoldfastError('INPUT_INVALID', { field, problem });
  if (!isRecord(input)) throw wrong('frame', 'must be a JSON object');
  if (id === null) throw wrong('id', 'must be a number or a text of at most 200 characters');
  if (typeof input['cmd'] !== 'string') throw wrong('cmd', 'must be the name of a command');
  return { id, cmd: input['cmd'] };
}

export const read = <S extends z.ZodType>(schema: S, input: unknown): z.output<S> => parseInput(schema, input, 'request');

/** A REST request in a frame. What would change what is inherited is refused by its name, as over REST; the schemas of routes would not see it. */
export function readRequest(input: unknown): SocketRequest<'request'> {
  const request = read(socketCommands.request.request, input);
  for (const field of ['params', 'query', 'body'] as const) {
    const key = prototypeKeyIn(request[field]);
    if (key !== null) throw new HoldfastError('INPUT_INVALID', { field, problem: prototypeKeyProblem(key) });
  }
  return request;
}

/** The text of the answer to a `request`; that of a body which is text already goes in as it is. */
export function requestAnswer(id: RequestId, status: number, body: unknown): string {
  const frame = (inner: unknown): string => JSON.stringify({ id, type: 'success', status, body: inner } satisfies SocketFrame);
  if (!(body instanceof JsonText)) return frame(body);
  return `${frame(null).slice(0, -'null}'.length)}${body.text}}`;
}

/** What a published client is told an error is. */
export function errorNameOf(error: HoldfastError): SocketErrorName {
  switch (error.code) {
    case 'INPUT_INVALID':
      return 'bad-request';
    case 'UNAUTHORISED':
    case 'TOKEN_EXPIRED':
    case 'FORBIDDEN':
      return 'access-denied';
    case 'UNKNOWN_TYPE':
      return 'unknown-command';
    case 'INTERNAL':
      return 'unexpected-failure';
    case 'NOT_FOUND':
      return error.facts['kind'] === 'system' ? 'system-not-found' : 'module-not-found';
    default:
      return 'request-failed';
  }
}
