import { formatEpoch } from '../../control/epoch.ts';
import type { JsonObject } from '../../foundation/json.ts';
import { HoldfastError, toHoldfastError } from '../../model/errors.ts';
import { limits } from '../../model/limits.ts';
import { moduleRef, type TriggerFunction, type TriggerWebhook } from '../../model/trigger.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Webhooks } from '../../ports/webhooks.ts';
import type { Firing } from '../../triggers/memory.ts';
import type { CommandDesk } from '../commands/command-desk.ts';
import type { TriggerInstance } from '../documents/directory.ts';

export interface TriggerActionsOptions {
  clock: Clock;
  desk: Pick<CommandDesk, 'exec'>;
  webhooks: Webhooks;
  /** False: this node may not act any more, whether or not it has been told. Asked right before each action. */
  mayAct(): boolean;
  failed(action: string, error: HoldfastError): void;
}

export interface FiringFacts {
  instance: TriggerInstance;
  firing: Firing;
  /** What the comparisons saw: `Display_1.power` and its value. */
  values: JsonObject;
}

/**
 * Carries out what a firing asks for: methods one after the other, webhooks beside them. What fails is reported and
 * holds up nothing. Never throws. Aborting ends what is under way: control is gone.
 */
export async function carryOut(options: TriggerActionsOptions, facts: FiringFacts, signal: AbortSignal): Promise<void> {
  const { functions, webhooks } = facts.instance.trigger.actions;
  const inOrder = async (): Promise<void> => {
    for (const call of functions) await guarded(options, `${call.mod}.${call.method}`, signal, () => exec(options, facts, call, signal));
  };
  await Promise.all([inOrder(), ...webhooks.map((hook) => guarded(options, `POST ${hostOf(hook)}`, signal, () => post(options, facts, hook, signal)))]);
}

async function guarded({ mayAct, failed }: TriggerActionsOptions, action: string, signal: AbortSignal, act: () => Promise<void>): Promise<void> {
  try {
    if (signal.aborted || !mayAct()) throw new HoldfastError('CANCELLED', { fate: 'not-sent' });
    await act();
  } catch (error) {
    failed(action, toHoldfastError(error, action));
  }
}

async function exec({ desk }: TriggerActionsOptions, { instance }: FiringFacts, { mod, method, args }: TriggerFunction, signal: AbortSignal): Promise<void> {
  const { trigger, system } = instance;
  const command = { system: system.id, ...moduleRef(mod), method, args, user: trigger.id, timeoutMs: limits.requestMs };
  await desk.exec(command, signal);
}

const hostOf = ({ url }: TriggerWebhook): string => new URL(url).host;

/** Of what is worth another attempt: no answer, or one that says "later". */
const isPassing = (status: number): boolean => status >= 500 || status === 429 || status === 0;

async function post(options: TriggerActionsOptions, facts: FiringFacts, hook: TriggerWebhook, signal: AbortSignal): Promise<void> {
  const { clock, mayAct } = options;
  const request = { url: hook.url, headers: hook.headers, body: bodyOf(facts) };
  for (let attempt = 1; ; attempt += 1) {
    const { status, problem } = await attemptOnce(options, request, signal);
    if (status >= 200 && status < 300) return;
    const last = signal.aborted || !isPassing(status) || attempt === limits.triggerWebhookAttempts;
    if (last) throw new HoldfastError('WEBHOOK_FAILED', { host: hostOf(hook), problem });
    await clock.sleep(limits.triggerWebhookRetryMs * 2 ** (attempt - 1), signal);
    if (!mayAct()) throw new HoldfastError('CANCELLED', { fate: 'unknown' });
  }
}

async function attemptOnce(
  { clock, webhooks }: TriggerActionsOptions,
  request: Parameters<Webhooks['post']>[0],
  signal: AbortSignal,
): Promise<{ status: number; problem: string }> {
  const abort = new AbortController();
  const end = (): void => abort.abort(signal.reason);
  signal.addEventListener('abort', end, { once: true });
  const deadline = clock.after(limits.triggerWebhookMs, () => abort.abort());
  try {
    const status = await webhooks.post(request, abort.signal);
    return { status, problem: `it answered ${status}` };
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    return { status: 0, problem: abort.signal.aborted && !signal.aborted ? `no answer within ${limits.triggerWebhookMs / 1_000} s` : said };
  } finally {
    deadline.cancel();
    signal.removeEventListener('abort', end);
  }
}

/** `id` names the firing: whoever gets it twice, because an answer was lost, can tell. */
function bodyOf({ instance: { id, trigger, system }, firing, values }: FiringFacts): string {
  const { occurrence, epoch, wallMs } = firing;
  return JSON.stringify({
    id: `${id}/${occurrence}/${formatEpoch(epoch)}`,
    trigger: trigger.id,
    trigger_name: trigger.name,
    system: system.id,
    system_name: system.name,
    occurrence,
    epoch: formatEpoch(epoch),
    time: Math.round(wallMs) / 1_000,
    values,
  });
}
