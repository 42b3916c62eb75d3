import { describe, expect, it } from 'vitest';
import { Canceller, type CancelSignal } from '../../src/shared/foundation/cancel.ts';

/** The promises of an AbortController that commands rely on: kept by ours as by Node's. */
describe.each([
  ['Canceller', () => new Canceller()],
  ['AbortController', () => new AbortController()],
])('%s', (_, create: () => { signal: CancelSignal; abort(reason?: unknown): void }) => {
  it('calls each listener once, in order, with the first reason', () => {
    const control = create();
    const calls: string[] = [];
    control.signal.addEventListener('abort', () => calls.push(`a ${String(control.signal.reason)}`), { once: true });
    control.signal.addEventListener('abort', () => calls.push('b'), { once: true });
    expect(control.signal.aborted).toBe(false);
    control.abort('first');
    control.abort('second');
    expect(calls).toEqual(['a first', 'b']);
    expect(control.signal.aborted).toBe(true);
    expect(control.signal.reason).toBe('first');
  });

  it('calls no listener that was removed, also by another one', () => {
    const control = create();
    const calls: string[] = [];
    const late = (): void => void calls.push('late');
    const gone = (): void => void calls.push('gone');
    control.signal.addEventListener('abort', gone);
    control.signal.removeEventListener('abort', gone);
    control.signal.addEventListener('abort', () => control.signal.removeEventListener('abort', late));
    control.signal.addEventListener('abort', late);
    control.abort();
    expect(calls).toEqual([]);
  });

  it('keeps the order when the first is removed and another comes, and calls nobody twice', () => {
    const control = create();
    const calls: string[] = [];
    const [first, second, third] = ['first', 'second', 'third'].map((name) => () => void calls.push(name)) as [() => void, () => void, () => void];
    for (const listener of [first, second, second, first]) control.signal.addEventListener('abort', listener);
    control.signal.removeEventListener('abort', first);
    control.signal.addEventListener('abort', third);
    control.signal.addEventListener('abort', first);
    control.abort();
    expect(calls).toEqual(['second', 'third', 'first']);
  });

  it('never calls who comes too late', () => {
    const control = create();
    control.abort();
    control.signal.addEventListener('abort', () => expect.unreachable());
    expect(control.signal.aborted).toBe(true);
  });
});
