import type { Json } from '../foundation/json.ts';
import { limits } from './limits.ts';

interface ErrorRow<Facts extends string> {
  /** HTTP status of the REST answer. */
  status: number;
  /** What happened, in one sentence; `{fact}` is replaced by the fact of that name. */
  message: string;
  /** What to do next, in one sentence; facts as in the message. */
  help: string;
  facts: readonly Facts[];
}

const row = <const Facts extends string>(status: number, facts: readonly Facts[], message: string, help: string): ErrorRow<Facts> => ({
  status,
  message,
  help,
  facts,
});

/**
 * Every operating error of the system. The same object is thrown, logged, sent over the link and returned by REST.
 * `docs/errors.md` lists the same rows; a test compares them both ways.
 */
export const errorTable = {
  // Input
  INPUT_INVALID: row(422, ['field', 'problem'], '{field}: {problem}', 'Correct the named field and send it again.'),
  BODY_TOO_LARGE: row(413, ['limitBytes'], 'The body is larger than {limitBytes} bytes', 'Send less at a time.'),
  ANSWER_TOO_LARGE: row(
    413,
    ['limitBytes'],
    'The answer would be longer than {limitBytes} bytes',
    'Ask for less at a time: a page of a list (`limit` and `offset`), or one variable of a module instead of all.',
  ),
  NOT_FOUND: row(404, ['kind', 'id'], 'There is no {kind} {id}', 'List what exists with the matching list command.'),
  UNAUTHORISED: row(401, [], 'No valid API key or token came with the request', 'Send a key in the X-API-Key header, or a token as Authorization: Bearer.'),
  TOKEN_EXPIRED: row(401, ['token', 'at'], 'The token {token} expired at {at}', 'Ask whoever issues tokens for a new one.'),
  FORBIDDEN: row(
    403,
    ['needs'],
    'This key may not do that: it needs {needs}',
    'Ask an administrator for a key with that role.',
  ),
  RATE_LIMITED: row(429, ['retryAfterMs'], 'Too many attempts; wait {retryAfterMs} ms', 'Wait, then try again.'),
  VERSION_CONFLICT: row(
    409,
    ['id', 'expected', 'actual'],
    '{id} is at version {actual}, not {expected}',
    'Read it again and repeat the change on what is there now.',
  ),
  IN_USE: row(409, ['id', 'by'], '{id} is used by {by}', 'Take it out there first.'),
  LAST_ADMIN_KEY: row(
    409,
    ['id'],
    '{id} is the last key of an administrator: without it nobody could make another one',
    'Make one first with `holdfast key add --name <name> --role admin`, and use it.',
  ),
  MASTER_ONLY: row(409, ['action'], 'This server is an edge: {action} is done at the master', 'Send it to the master.'),
  STREAMS_FULL: row(503, ['limit'], 'More than {limit} event streams are open', 'Close one, or try again later.'),
  LIMIT_REACHED: row(503, ['what', 'limit'], 'No more than {limit} {what}', 'Close what is not needed, wait for answers, or send slower.'),
  INTERNAL: row(
    500,
    ['requestId'],
    'Something failed inside the server (request {requestId})',
    'Look for the request id in the log of the server.',
  ),
  UNREACHABLE: row(
    503,
    ['origin', 'problem'],
    'Cannot reach {origin}: {problem}',
    'Check HOLDFAST_SERVER or --server, and that the server is running.',
  ),
  CONFIG_INVALID: row(
    500,
    ['variable', 'problem'],
    '{variable}: {problem}',
    'Correct the environment variable; docs/operations.md lists them all.',
  ),

  // Settings at rest
  SETTINGS_KEY_MISSING: row(
    409,
    [],
    'This server has no key to seal settings with',
    'Make one with `holdfast settings new-key --file settings.keys`, and name the file in HOLDFAST_SETTINGS_KEYS_FILE.',
  ),
  SETTINGS_SEALED: row(
    409,
    ['place', 'problem'],
    '{place} {problem}; nothing was changed',
    'Put the key back into the file of this server, or write the value anew with `holdfast apply`.',
  ),

  // Control
  CONTROL_CHANGING: row(
    503,
    ['location', 'retryAfterMs'],
    'Control of {location} is changing hands',
    'Try again after {retryAfterMs} ms.',
  ),
  NO_HOLDER: row(503, ['location', 'reason'], 'Nobody controls {location}: {reason}', 'See `holdfast location show {location}`.'),
  STALE_EPOCH: row(
    409,
    ['location', 'epoch', 'floor'],
    'Epoch {epoch} of {location} is over; the floor is {floor}',
    'Nothing: the sender has lost control and will notice.',
  ),
  EPOCH_MISSING: row(400, ['type'], 'A {type} message must carry a control epoch', 'Upgrade the other side.'),
  ORDER_REFUSED: row(
    409,
    ['location', 'reason'],
    'The order for {location} is refused: {reason}',
    'See `holdfast location show {location}` for who holds it and why.',
  ),
  ORDER_VOID: row(
    409,
    ['location', 'reason'],
    'The order for {location} is void, before it was carried out: {reason}',
    'See `holdfast location show {location}`, and give the order again if it is still wanted: from an edge that is away the master takes over unasked.',
  ),
  GATE_CLOSED: row(
    503,
    ['module', 'reason'],
    'Writes to the device of {module} are closed: {reason}',
    'Try again; control is moving or its lease has ended.',
  ),
  NOT_READY: row(
    503,
    ['waitingFor', 'retryAfterMs'],
    'The server is starting and waits for {waitingFor}',
    'Try again after {retryAfterMs} ms.',
  ),
  SHUTTING_DOWN: row(503, [], 'The server is shutting down', 'Try the other server, or this one again shortly.'),

  // Link
  LINK_LOST: row(
    502,
    ['fate'],
    'The link was lost before the answer came; the command is {fate}',
    'If the fate is `unknown`, look at the device before repeating.',
  ),
  LINK_DOWN: row(503, ['peer'], 'There is no link to {peer}', 'See `holdfast status`.'),
  DIAL_FAILED: row(
    503,
    ['address', 'problem'],
    'Cannot reach the master at {address}: {problem}',
    'Check the address, the network, and that the master is running.',
  ),
  LINK_BUSY: row(503, ['limit'], 'More than {limit} requests are under way on the link', 'Try again shortly.'),
  LINK_PROTOCOL: row(
    502,
    ['problem'],
    'The peer broke the link protocol: {problem}',
    'Compare the versions of both sides.',
  ),
  LINK_REFUSED: row(
    401,
    ['reason'],
    'The link was refused: {reason}',
    'Enrol the edge again with `holdfast edge rotate`.',
  ),
  UNKNOWN_TYPE: row(400, ['type'], 'Message type {type} is unknown here', 'Compare the versions of both sides.'),
  DEADLINE: row(
    504,
    ['fate'],
    'No answer came before the deadline; the command is {fate}',
    'If the fate is `unknown`, look at the device before repeating.',
  ),
  CANCELLED: row(499, ['fate'], 'The caller gave up; the command is {fate}', 'Nothing.'),

  COMMAND_CANCELLED: row(
    409,
    ['by', 'fate'],
    'An operator ({by}) cancelled the command, which is {fate}',
    'Ask why before you repeat it; if the fate is `unknown`, look at the device first.',
  ),

  // Drivers and devices
  MODULE_NOT_RUNNING: row(
    503,
    ['module', 'reason'],
    'Module {module} is not running: {reason}',
    'See its state in `holdfast get`.',
  ),
  METHOD_NOT_FOUND: row(404, ['module', 'method'], 'Module {module} has no method {method}', 'See `holdfast methods`.'),
  DRIVER_FAILED: row(
    500,
    ['module', 'problem'],
    'The driver of {module} failed: {problem}',
    'See the log of the module.',
  ),
  DRIVER_INVALID: row(
    422,
    ['place', 'problem'],
    '{place}: {problem}',
    'Correct the file; `holdfast driver check` finds the same.',
  ),
  DEVICE_OFFLINE: row(
    503,
    ['module'],
    'The device of {module} is not connected',
    'Check the power and the network of the device.',
  ),
  DEVICE_REFUSED: row(
    502,
    ['module', 'problem'],
    'The device of {module} refused: {problem}',
    'Check the command against the manual of the device.',
  ),
  QUEUE_FULL: row(503, ['module', 'limit'], 'More than {limit} commands wait for {module}', 'Send slower.'),
  DEVICE_LOST: row(
    502,
    ['module', 'fate'],
    'The connection to the device of {module} broke; the command is {fate}',
    'If the fate is `unknown`, look at the device before repeating.',
  ),
  COMMAND_REPLACED: row(
    409,
    ['module', 'name'],
    'A newer command {name} for {module} took the place of this one',
    'Nothing: the newer one counts.',
  ),
  DRIVER_HOST_LOST: row(
    502,
    ['module', 'fate'],
    'The process of the driver of {module} ended; the command is {fate}',
    'It restarts by itself; see the log of the module.',
  ),

  // Repository of drivers
  REPOSITORY_UNSET: row(
    409,
    ['server'],
    '{server} has no repository of drivers',
    'Name one in HOLDFAST_DRIVERS_REPOSITORY of that server, and restart it.',
  ),
  REPOSITORY_FAILED: row(
    502,
    ['problem'],
    'The repository of drivers: {problem}',
    'What was checked out stays. Check the address in HOLDFAST_DRIVERS_REPOSITORY, and the way there.',
  ),
  REPOSITORY_DIRTY: row(
    409,
    ['files'],
    'The working copy has edits that no commit has: {files}',
    'Commit them elsewhere if they are worth it, then throw them away with `holdfast driver reset`.',
  ),
  COMMIT_UNKNOWN: row(
    404,
    ['commit'],
    'The repository of drivers has no commit {commit}',
    'Push it, or correct its name; what was checked out stays.',
  ),
  COMMIT_REFUSED: row(
    422,
    ['commit', 'problem'],
    'Commit {commit} is refused: {problem}',
    'Correct it in the repository, and push; what was checked out stays.',
  ),
  ROLLOUT_REFUSED: row(409, ['reason'], 'The roll-out does not go on: {reason}', 'See `holdfast driver rollouts`.'),

  // Triggers
  WEBHOOK_REFUSED: row(
    403,
    ['id'],
    'There is no webhook {id}, or it was called without its secret or with a wrong one',
    'Send the secret as X-Webhook-Secret or as the last part of the path, to the master or to the edge of the location.',
  ),
  WEBHOOK_FAILED: row(
    502,
    ['host', 'problem'],
    'The webhook at {host} failed: {problem}',
    'Check the address in the trigger, and the server there.',
  ),

  // Store
  STORE_BUSY: row(
    503,
    ['path'],
    '{path} is in use by another process',
    'Stop the other process; only one server may use a data directory.',
  ),
  STORE_DAMAGED: row(
    500,
    ['path', 'problem'],
    '{path} is damaged: {problem}',
    'Restore a backup with `holdfast restore`; an edge may delete it and pull a fresh copy.',
  ),
  STORE_FULL: row(507, ['path'], 'No space is left for {path}', 'Free disk space; nothing was changed.'),
  STORE_OVERLOADED: row(
    503,
    ['path', 'limit'],
    'More than {limit} calls wait for {path}',
    'Try again shortly; if it stays, the disk is too slow.',
  ),
  STORE_UNREACHABLE: row(
    503,
    ['path', 'problem'],
    'The database {path} cannot be reached: {problem}',
    'Nothing was changed. Control goes on and reads are served as of the last contact; repeat the change when the database is back.',
  ),
  STORE_UNCERTAIN: row(
    504,
    ['path', 'problem'],
    'The database {path} did not say whether it stored the change: {problem}',
    'Read what is there now before you repeat the change.',
  ),
  STORE_REFUSED: row(
    500,
    ['path', 'problem'],
    'The database {path} refuses: {problem}',
    'Run `holdfast doctor`, which says what to set right and how.',
  ),
  CLUSTER_UNREACHABLE: row(
    503,
    ['address', 'problem'],
    'Cannot reach the cluster at {address}: {problem}',
    'Check the address, the port of its administration (18091 with TLS), and the file of the authority that signed its certificate.',
  ),
  CLUSTER_REFUSED: row(
    502,
    ['call', 'status', 'problem'],
    '{call} was answered with {status}: {problem}',
    'Correct what it names, and repeat the command: what is there already stays as it is.',
  ),
  STORE_FAILED: row(500, ['path', 'problem'], 'The store {path} failed: {problem}', 'Check the disk.'),
} as const;

export type ErrorCode = keyof typeof errorTable;
export type ErrorFacts<C extends ErrorCode> = Record<(typeof errorTable)[C]['facts'][number], Json>;

/** The wire form: link answers, log fields and REST bodies alike. */
export interface WireError {
  code: string;
  message: string;
  help: string;
  facts: Record<string, Json>;
}

/** A code together with exactly the facts that its row requires. */
type ErrorArguments = {
  [C in ErrorCode]: [code: C, facts: ErrorFacts<C>, options?: { cause?: unknown }];
}[ErrorCode];

/** An operating error: expected in a working system, handled by somebody. */
export class HoldfastError extends Error {
  override readonly name = 'HoldfastError';
  readonly code: ErrorCode;
  readonly facts: Readonly<Record<string, Json>>;

  constructor(...[code, facts, options]: ErrorArguments) {
    super(fill(errorTable[code].message, facts), options);
    this.code = code;
    this.facts = facts;
  }

  get status(): number {
    return errorTable[this.code].status;
  }

  get help(): string {
    return fill(errorTable[this.code].help, this.facts);
  }

  toJSON(): WireError {
    return { code: this.code, message: this.message, help: this.help, facts: { ...this.facts } };
  }
}

function fill(template: string, facts: Record<string, Json>): string {
  return template.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const fact = facts[name];
    return typeof fact === 'string' ? fact : JSON.stringify(fact);
  });
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorTable, code);
}

/** Turns what came over a wire into an error again. A code of a newer version becomes `LINK_PROTOCOL` with the text. */
export function fromWire(error: WireError): HoldfastError {
  const { code, facts } = error;
  if (isErrorCode(code) && errorTable[code].facts.every((fact) => Object.hasOwn(facts, fact))) {
    // The facts were checked against the row of this very code just above; the types cannot follow that.
    return new HoldfastError(...([code, facts] as ErrorArguments));
  }
  return new HoldfastError('LINK_PROTOCOL', { problem: `${code}: ${error.message}` });
}

/**
 * What a module heard of another one that it asked. Of the command that asked it says that it failed, and not that it was never
 * begun: who would repeat that one must see the difference (`nested`).
 */
export function nestedError(error: WireError): HoldfastError {
  const { facts } = error;
  return fromWire({ ...error, facts: { ...facts, nested: true, ...('fate' in facts ? { fate: 'unknown' } : {}) } });
}

/** Any thrown thing as an operating error; what is not one already came out of driver code. */
export function toHoldfastError(error: unknown, module: string): HoldfastError {
  if (error instanceof HoldfastError && fitsAnAnswer(error)) return error;
  return new HoldfastError('DRIVER_FAILED', { module, problem: textOfThrown(error) }, { cause: error });
}

/** Drivers make errors of ours too, and fill them with what they like: circles, or more than an answer can hold. */
function fitsAnAnswer(error: HoldfastError): boolean {
  try {
    return JSON.stringify(error).length <= limits.errorBytes;
  } catch {
    return false;
  }
}

/** What a driver throws need not be an error, nor have a text, nor an end. */
export function textOfThrown(thrown: unknown): string {
  try {
    return String(thrown instanceof Error ? thrown.message : thrown).slice(0, limits.logLineBytes);
  } catch {
    return 'something without a text was thrown';
  }
}

/** Where it was thrown, if that can be told. */
export function stackOfThrown(thrown: unknown): string {
  try {
    if (thrown instanceof Error && typeof thrown.stack === 'string') return thrown.stack;
  } catch {
    // Whoever throws something with a stack that throws has no stack.
  }
  return textOfThrown(thrown);
}

export const isLinkLoss = (error: unknown): boolean => error instanceof HoldfastError && (error.code === 'LINK_LOST' || error.code === 'LINK_DOWN');
