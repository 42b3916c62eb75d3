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
