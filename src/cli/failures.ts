import { type ErrorCode, HoldfastError } from '../shared/model/errors.ts';

export const exitCodes = { ok: 0, failed: 1, usage: 2, unreachable: 3, unauthorised: 4, interrupted: 130 } as const;

export const exitCodeHelp = `
Exit codes: 0 done, 1 the operation failed, 2 wrong usage or a refused value, 3 the server cannot be reached,
4 the key is missing, wrong or not allowed to, 130 interrupted.`;

/** Ends a command with a text, advice and an exit code. */
export class CliFailure extends Error {
  override readonly name = 'CliFailure';
  readonly next: string;
  readonly exitCode: number;

  constructor(message: string, next: string, exitCode: number = exitCodes.failed) {
    super(message);
    this.next = next;
    this.exitCode = exitCode;
  }
}

export const usageFailure = (message: string, next: string): CliFailure => new CliFailure(message, next, exitCodes.usage);

/** What lists things of this kind. */
const lists: ReadonlyMap<string, string> = new Map([
  ['location', 'holdfast location list'],
  ['enrolled edge', 'holdfast location list'],
  ['request', 'holdfast requests'],
  ['roll-out', 'holdfast driver rollouts'],
  ...['system', 'module', 'driver', 'trigger'].map((kind) => [kind, 'holdfast export   # all documents, with their ids'] as const),
]);

/** The user, or a supervisor, ended a command that waited for an answer. */
export const interruption = (): CliFailure => new CliFailure(
  'interrupted before the answer came; a change that was asked for may have been made',
  'holdfast status, or holdfast events --kind audit, shows what was done',
  exitCodes.interrupted,
);

/** Any error as what the user is told. */
export function toFailure(error: unknown): CliFailure {
  if (error instanceof CliFailure) return error;
  if (error instanceof HoldfastError) {
    if (error.code === 'UNREACHABLE') return new CliFailure(error.message, error.help, exitCodes.unreachable);
    if (error.code === 'UNAUTHORISED') {
      return new CliFailure('no valid API key came with the request', 'set HOLDFAST_KEY to a key that this server knows', exitCodes.unauthorised);
    }
    if (error.code === 'CLUSTER_UNREACHABLE') return new CliFailure(error.message, error.help, exitCodes.unreachable);
    const { kind } = error.facts;
    const list = error.code === 'NOT_FOUND' && typeof kind === 'string' ? lists.get(kind) : undefined;
    if (list !== undefined) return new CliFailure(error.message, list);
    // Like a wrong option: it is the line that has to change.
    if (error.code === 'INPUT_INVALID') return usageFailure(error.message, error.help);
    const isRefusal = error.code === 'FORBIDDEN' || error.code === 'TOKEN_EXPIRED';
    const refused = isRefusal || (error.code === 'CLUSTER_REFUSED' && (error.facts['status'] === 401 || error.facts['status'] === 403));
    return new CliFailure(error.message, error.help, refused ? exitCodes.unauthorised : exitCodes.failed);
  }
  return new CliFailure(error instanceof Error ? error.message : String(error), 'holdfast --help');
}

/** For work of this process, where the advice of the table of errors, which is for servers, does not fit: other advice, by code. */
export const advising = <T>(work: Promise<T>, advice: Partial<Record<ErrorCode, string>>): Promise<T> =>
  work.catch((error: unknown) => {
    const next = error instanceof HoldfastError ? advice[error.code] : undefined;
    if (next === undefined) throw error;
    const { message, exitCode } = toFailure(error);
    throw new CliFailure(message, next, exitCode);
  });
