import { HoldfastError } from '../../model/errors.ts';

/**
 * What an error of the SDK means for the caller.
 *
 * `unreachable`: it was not done, and may be later. `uncertain`: it may have been done. `refused`: no repetition helps.
 */
export type FailureKind = 'unreachable' | 'uncertain' | 'refused' | 'full';

/** What is to be set right, for the doctor. */
export type Trouble = 'away' | 'credentials' | 'bucket' | 'scope' | 'durability' | 'room' | 'other';

export class KvFailure extends Error {
  readonly kind: FailureKind;
  readonly trouble: Trouble;

  constructor(kind: FailureKind, problem: string, { trouble = 'other', cause }: { trouble?: Trouble; cause?: unknown } = {}) {
    super(problem, { cause });
    this.kind = kind;
    this.trouble = trouble;
  }
}

/** By the names of its classes: what they stand for is documented, their texts are not. */
const meanings: Readonly<Record<string, readonly [FailureKind, string, Trouble?]>> = {
  AmbiguousTimeoutError: ['uncertain', 'no answer in time'],
  DurabilityAmbiguousError: ['uncertain', 'it cannot tell whether the write will last'],
  RequestCanceledError: ['uncertain', 'the connection was cut'],
  UnambiguousTimeoutError: ['unreachable', 'no answer in time', 'away'],
  TimeoutError: ['uncertain', 'no answer in time'],
  TemporaryFailureError: ['unreachable', 'it is overloaded, or its memory or disk is full', 'room'],
  DurableWriteInProgressError: ['unreachable', 'another durable write is under way'],
  DurableWriteReCommitInProgressError: ['unreachable', 'another durable write is under way'],
  DocumentLockedError: ['unreachable', 'the document is locked'],
  ServiceNotAvailableError: ['unreachable', 'its key-value service is not available'],
  ConnectionClosedError: ['unreachable', 'the connection is closed'],
  ClusterClosedError: ['unreachable', 'the connection is closed'],
  NeedOpenBucketError: ['unreachable', 'the bucket is not open'],
  AuthenticationFailureError: ['refused', 'the user or the password is wrong', 'credentials'],
  BucketNotFoundError: ['refused', 'there is no such bucket', 'bucket'],
  ScopeNotFoundError: ['refused', 'there is no such scope', 'scope'],
  CollectionNotFoundError: ['refused', 'the scope lacks a collection', 'scope'],
  DurabilityImpossibleError: ['refused', 'durable writes are impossible: the bucket wants more replicas than there are data nodes', 'durability'],
  DurabilityLevelNotAvailableError: ['refused', 'durable writes are impossible: the bucket is not a couchbase bucket', 'durability'],
  ValueTooLargeError: ['full', 'a document is larger than 20 MB'],
  QuotaLimitedError: ['full', 'its quota is used up', 'room'],
};

export function kvFailure(error: unknown): KvFailure {
  if (error instanceof KvFailure) return error;
  const name = error instanceof Error ? error.name : '';
  // After it was closed the SDK throws plain errors; what is not known may have been done.
  const [kind, problem, trouble = 'other'] = meanings[name] ?? ['uncertain', error instanceof Error ? error.message : String(error)];
  return new KvFailure(kind, problem, { trouble, cause: error });
}

export function toHoldfastError(failure: KvFailure, path: string): HoldfastError {
  const { kind, message: problem } = failure;
  switch (kind) {
    case 'unreachable':
      return new HoldfastError('STORE_UNREACHABLE', { path, problem }, { cause: failure });
    case 'uncertain':
      return new HoldfastError('STORE_UNCERTAIN', { path, problem }, { cause: failure });
    case 'refused':
      return new HoldfastError('STORE_REFUSED', { path, problem }, { cause: failure });
    case 'full':
      return new HoldfastError('STORE_FULL', { path }, { cause: failure });
  }
}
