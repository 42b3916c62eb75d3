import { AsyncLocalStorage } from 'node:async_hooks';
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { createSystemClock } from '../../src/shared/adapters/clock/system-clock.ts';
import { createPromMetrics } from '../../src/shared/adapters/metrics/prom-metrics.ts';
import { createSystemRandom } from '../../src/shared/adapters/random/system-random.ts';

describe('the system clock', () => {
  const clock = createSystemClock();
  const never = new AbortController().signal;

  it('is the monotonic clock that all processes of the machine share', () => {
    const before = Number(process.hrtime.bigint()) / 1e6;
    const now = clock.monotonicMs();
    expect(now).toBeGreaterThanOrEqual(before);
    expect(now - before).toBeLessThan(1_000);
  });

  it('never calls back before the time has passed, fractions of a millisecond included', async () => {
    for (let i = 0; i < 100; i += 1) {
      const delayMs = 1 + (i % 10) / 10;
      const from = clock.monotonicMs();
      await clock.sleep(delayMs, never);
      expect(clock.monotonicMs() - from).toBeGreaterThanOrEqual(delayMs);
    }
  });

  it('does not take a delay of a month for none', async () => {
    let fired = false;
    const timer = clock.after(31 * 86_400_000, () => {
      fired = true;
    });
    await clock.sleep(5, never);
    timer.cancel();
    expect(fired).toBe(false);
  });

  it('calls back no more once cancelled, and ends a sleep with the reason of its signal', async () => {
    let fired = false;
    clock.after(1, () => {
      fired = true;
    }).cancel();
    const abort = new AbortController();
    const sleep = clock.sleep(60_000, abort.signal);
    await clock.sleep(5, never);
    abort.abort(new Error('enough'));
    await expect(sleep).rejects.toThrow('enough');
    await expect(clock.sleep(1, abort.signal)).rejects.toThrow('enough');
    expect(fired).toBe(false);
  });

  /** So many callbacks that are due at the same time; resolves when Node's timer has fired, and what it ran is over. */
  const dueTogether = async (callbacks: readonly (() => void)[]): Promise<void> => {
    for (const callback of callbacks) clock.after(1, callback);
    const until = performance.now() + 5;
    while (performance.now() < until);
    await clock.sleep(5, never);
  };

  it('calls back in order, and does between two all that the first made promises do', async () => {
    const seen: string[] = [];
    const first = async (): Promise<void> => {
      process.nextTick(() => seen.push('tick'));
      for (const hop of ['one', 'two', 'three']) seen.push(await Promise.resolve(hop));
    };
    await dueTogether([() => void first(), () => void seen.push('second'), () => void seen.push('third')]);
    expect(seen.slice(-2)).toEqual(['second', 'third']);
    expect(seen.slice(0, 4).toSorted()).toEqual(['one', 'three', 'tick', 'two']);
  });

  it('has alarms that are set again and again: what they were set to before is forgotten, and nothing comes once cancelled', async () => {
    const seen: string[] = [];
    const alarm = clock.alarm(() => void seen.push('alarm'));
    alarm.set(1);
    clock.after(2, () => void seen.push('timer'));
    alarm.set(4);
    await clock.sleep(5, never);
    expect(seen).toEqual(['timer', 'alarm']);
    alarm.set(1);
    await clock.sleep(2, never);
    expect(seen).toEqual(['timer', 'alarm', 'alarm']);
    alarm.set(1);
    alarm.cancel();
    await clock.sleep(2, never);
    expect(seen).toEqual(['timer', 'alarm', 'alarm']);
  });

  it('calls back no more what a callback cancels that is due as well', async () => {
    const seen: string[] = [];
    let other: { cancel(): void } | null = null;
    clock.after(1, () => other?.cancel());
    other = clock.after(1, () => void seen.push('cancelled'));
    await dueTogether([() => void seen.push('kept')]);
    expect(seen).toEqual(['kept']);
  });

  it.each([0, -1_000, Number.NaN])('lets the rest of the program run between callbacks that ask for more at once (%d ms)', async (delayMs) => {
    let count = 0;
    const again = (): void => {
      if ((count += 1) < 100_000) clock.after(delayMs, again);
    };
    clock.after(delayMs, again);
    await new Promise((done) => setImmediate(done));
    await clock.sleep(5, never);
    expect(count).toBeGreaterThan(0);
    expect(count).toBeLessThan(100);
    count = Infinity;
  });

  it('calls back in the name of nobody, whoever runs when a timer is set', async () => {
    const module = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    await module.run('one', () => clock.sleep(1, never).then(() => undefined));
    await module.run('two', () => new Promise<void>((done) => void clock.after(1, () => (seen.push(module.getStore()), done()))));
    expect(seen).toEqual([undefined]);
  });

  it('goes on after a callback that throws, and lets the process end when nothing is waited for', () => {
    const program = `
      import { createSystemClock } from ${JSON.stringify(new URL('../../src/shared/adapters/clock/system-clock.ts', import.meta.url).href)};
      const clock = createSystemClock();
      process.on('uncaughtException', (error) => console.log(error.message));
      clock.after(1, () => { throw new Error('thrown'); });
      clock.after(1, () => console.log('second'));
      clock.after(20, () => console.log('third'));
      const tomorrow = clock.after(86_400_000, () => undefined);
      setTimeout(() => tomorrow.cancel(), 50);
    `;
    const { status, stdout } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], { encoding: 'utf8', timeout: 10_000 });
    expect([status, ...stdout.trim().split('\n')]).toEqual([0, 'thrown', 'second', 'third']);
  });
});

describe('the metrics', () => {
  it('are read back, and written in the Prometheus text format, apart from those of another node', async () => {
    const metrics = createPromMetrics();
    const other = createPromMetrics();
    metrics.add('holdfast_link_refused_total', { reason: 'wrong-secret' });
    metrics.add('holdfast_link_refused_total', { reason: 'wrong-secret' }, 2);
    metrics.set('holdfast_link_up', { peer: 'berlin' }, 1);
    expect(metrics.read('holdfast_link_refused_total', { reason: 'wrong-secret' })).toBe(3);
    expect(metrics.read('holdfast_link_refused_total', { reason: 'unknown-edge' })).toBe(0);
    expect(other.read('holdfast_link_refused_total', { reason: 'wrong-secret' })).toBe(0);
    const text = await metrics.text();
    expect(text).toContain('# TYPE holdfast_link_refused_total counter');
    expect(text).toContain('holdfast_link_refused_total{reason="wrong-secret"} 3');
    expect(text).toContain('holdfast_link_up{peer="berlin"} 1');
  });
});

describe('randomness', () => {
  it('draws from [0, 1) and gives as many bytes as asked for', () => {
    const random = createSystemRandom();
    const draws = Array.from({ length: 1_000 }, () => random.next());
    expect(draws.every((draw) => draw >= 0 && draw < 1)).toBe(true);
    expect(new Set(draws).size).toBeGreaterThan(990);
    expect(random.hex(32)).toMatch(/^[0-9a-f]{64}$/);
  });
});
