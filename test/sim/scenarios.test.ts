import { describe, expect, it } from 'vitest';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { Town } from './support/town.ts';

const available = { policy: 'available', timeout: 20 } as const;
const exclusive = { policy: 'exclusive', timeout: 20 } as const;

describe('an edge and its master', () => {
  it('boot, negotiate, and the edge drives its devices', async () => {
    const t = await Town.settled({ a: available, b: exclusive });
    for (const id of ['a', 'b']) {
      expect(t.holder(id)).toBe('edge');
      expect(t.edge(id).view(id)).toMatchObject({ holder: 'edge', state: 'holding', link: 'up', modules: { total: 2, running: 2 } });
      expect(t.writers(id)).toEqual(['edge']);
    }
    const answer = t.set('a', 42);
    await t.run('1s');
    expect(answer.ended).toBe('ok 42');
    expect(await t.master.value('a')).toBe(42);
  });

  it('an edge that is gone is replaced after the timeout, waits when it is back, and gets control back by an order', async () => {
    const t = await Town.settled({ a: available });
    t.edge('a').crash();
    await t.run('19s');
    expect(t.holder('a')).toBe('edge');
    await t.run('6s');
    expect(t.holder('a')).toBe('master');
    t.edge('a').boot();
    await t.run('10s');
    expect(t.holder('a')).toBe('master');
    expect(t.edge('a').view('a')).toMatchObject({ holder: 'master', state: 'standby' });
    t.order('a', 'handback');
    await t.run('3s');
    expect(t.holder('a')).toBe('edge');
    expect(t.writers('a')).toEqual(['edge']);
  });

  it('the history of the master says under which epoch the holder holds, whichever side that is', async () => {
    const t = await Town.settled({ a: available });
    t.order('a', 'takeover');
    await t.run('3s');
    t.order('a', 'handback');
    await t.run('3s');
    const rows = (await t.master.seat.node?.history('a', 100))?.toReversed().map(({ state, holder, epoch }) => [state, holder, epoch.number]);
    expect(rows).toEqual([
      ['loading', 'edge', 2], ['standby', 'edge', 2], ['suspect', 'edge', 2], ['taking-over', 'master', 3], ['holding', 'master', 3],
      ['releasing', 'none', 3], ['standby', 'edge', 4],
    ]);
    // What is read at the boot stays what this side took for itself.
    t.master.crash();
    t.master.boot();
    await t.run('20s');
    expect(t.master.view('a')).toMatchObject({ holder: 'edge', state: 'standby', epoch: { number: 4 } });
  });

  it('the history of the edge says under which epoch the master holds, as soon as it hears of it', async () => {
    const t = await Town.settled({ a: available });
    t.order('a', 'takeover');
    await t.run('3s');
    t.order('a', 'handback');
    await t.run('3s');
    const history = (await t.edge('a').seat.node?.history('a', 100))?.toReversed() ?? [];
    const rows = history.map(({ state, holder, epoch, reason }) => [state, holder, epoch.number, reason]);
    expect(rows.slice(rows.findIndex(([state]) => state === 'holding'))).toEqual([
      ['holding', 'edge', 2, 'master-loading'], ['releasing', 'master', 2, 'operator-takeover'], ['standby', 'master', 2, 'operator-takeover'],
      ['standby', 'master', 3, 'operator-takeover'], ['claiming', 'edge', 4, 'operator-handback'], ['holding', 'edge', 4, 'operator-handback'],
    ]);
    // The next boot reads it back: nothing of it is a time of its own.
    t.edge('a').crash();
    t.edge('a').boot();
    await t.run('20s');
    expect(t.edge('a').view('a')).toMatchObject({ holder: 'edge', state: 'holding', dualControlSeconds: 0 });
  });

  it('after a crash the history says until when the crashed side held, also while the other one was connected', async () => {
    const t = await Town.settled({ a: available });
    /** What the boot after the crash wrote about the end of the one before. */
    const ended = async (who: typeof t.master): Promise<number> => {
      const history = (await who.seat.node?.history('a', 100)) ?? [];
      const held = history.findIndex(({ state }) => state === 'holding');
      return history[held - 1]?.holder === 'none' ? (history[held - 1]?.wallMs ?? 0) : 0;
    };
    await t.run('10min');
    const edgeDiedMs = t.edge('a').seat.machine.diskClock().wallMs();
    t.edge('a').powerCut();
    await t.run('1min');
    t.edge('a').boot();
    await t.run('10min');
    expect(t.edge('a').view('a')).toMatchObject({ holder: 'master', state: 'standby', link: 'up' });
    expect(edgeDiedMs - (await ended(t.edge('a')))).toBeLessThan(10_500);
    const masterDiedMs = t.master.seat.machine.diskClock().wallMs();
    t.master.crash();
    t.master.boot();
    await t.run('20s');
    expect(masterDiedMs - (await ended(t.master))).toBeLessThan(10_500);
  });

  it('an edge boots alone from its own store and drives', async () => {
    const t = await Town.settled({ a: available });
    t.link('a').cut();
    t.edge('a').powerCut();
    await t.run('1s');
    t.edge('a').boot();
    const seconds = await t.until(() => t.edge('a').view('a')?.state === 'holding', '10s');
    expect(seconds).toBeGreaterThan(3);
    expect(t.writers('a')).toContain('edge');
  });

  it('a master that restarts finds the edge holding', async () => {
    const t = await Town.settled({ a: exclusive });
    t.master.crash();
    await t.run('4s');
    t.master.boot();
    await t.run('20s');
    expect(t.master.view('a')).toMatchObject({ holder: 'edge', state: 'standby' });
    expect(t.world.devices.of('a').map(({ connects }) => connects)).toEqual([1, 1]);
  });

  it('a master that is stopped while it waits for its edges leaves nothing running', async () => {
    const t = await Town.dark({ a: available });
    t.master.boot();
    await t.run('1s');
    t.master.shutDown();
    await t.run('30s');
    expect(t.master.seat.running).toBe(false);
    expect(t.world.trace.last(30).join('\n')).not.toContain('taking-over');
  });
});

describe('a cut', () => {
  it('available: both drive, the time is reported exactly, and it ends at heal', async () => {
    const t = await Town.settled({ a: available }, { drift: 0 });
    t.link('a').cut();
    await t.run('60s');
    expect(t.writers('a')).toEqual(['edge', 'master']);
    t.link('a').heal();
    await t.until(() => t.world.judge.settled('a'), '10s');
    expect(t.writers('a')).toEqual(['edge']);
    const reported = t.master.view('a')?.dualControlSeconds ?? 0;
    const measured = t.world.judge.dualControlMs('a') / 1_000;
    expect(measured).toBeGreaterThan(30);
    expect(Math.abs(reported - measured)).toBeLessThan(0.1);
  });

  it('exclusive: the edge lets go before the master takes over', async () => {
    const t = await Town.settled({ a: exclusive });
    t.link('a').cut();
    await t.until(() => t.writers('a').length === 0, '12s');
    await t.until(() => t.holder('a') === 'master', '15s');
    expect(t.writers('a')).toEqual(['master']);
    expect(t.world.judge.dualControlMs('a')).toBe(0);
  });

  it('failover off: the edge goes on and the master never takes over', async () => {
    const t = await Town.settled({ a: { failover: false } });
    t.link('a').cut();
    await t.run('2min');
    expect(t.writers('a')).toEqual(['edge']);
    expect(t.holder('a')).toBe('edge');
  });

  it.each(['to-master', 'to-edge'] as const)('one way (%s): both ends notice within 3 s', async (direction) => {
    const t = await Town.settled({ a: available });
    t.link('a').cut(direction);
    await t.run('4.2s');
    expect(t.master.view('a')?.link).toBe('down');
    expect(t.edge('a').view('a')?.link).toBe('down');
  });

  it('half-open: both ends notice within 3 s and a new link is made', async () => {
    const t = await Town.settled({ a: available });
    t.link('a').halfOpen();
    await t.until(() => t.master.view('a')?.link === 'down' || t.edge('a').view('a')?.link === 'down', '4.2s');
    await t.until(() => t.master.view('a')?.link === 'up' && t.world.judge.settled('a'), '10s');
  });

  it('that heals before the timeout costs no device connection', async () => {
    const t = await Town.settled({ a: available });
    t.link('a').cut();
    await t.run('10s');
    t.link('a').heal();
    await t.run('10s');
    expect(t.holder('a')).toBe('edge');
    expect(t.world.devices.of('a').map(({ connects }) => connects)).toEqual([1, 1]);
  });

  it('short: a command under way is answered once, after the link is back', async () => {
    const t = await Town.settled({ a: available });
    const answer = t.set('a', 7, t.master, 15_000);
    t.link('a').reset();
    await t.run('9s');
    expect(answer.ended).toBe('ok 7');
  });

  it('long: a command under way is answered with its fate', async () => {
    const t = await Town.settled({ a: available });
    t.link('a').cut('to-edge');
    const answer = t.set('a', 7, t.master, 60_000);
    await t.run('20s');
    expect(answer.ended).toBe('LINK_LOST unknown');
  });
});

describe('sessions', () => {
  it('what an edge acknowledged in the session before takes nothing from the new one', async () => {
    const t = await Town.settled({ a: available });
    // Much was heard in the first session.
    for (let i = 0; i < 20; i += 1) t.set('a', i);
    await t.run('5s');
    t.master.crash();
    await t.run('1s');
    t.master.boot();
    // The verdict is slow, so that heartbeats leave the edge before it knows of the new session.
    await t.until(() => t.edge('a').seat.node?.links()[0]?.state === 'negotiating', '10s');
    t.link('a').lanes['to-edge'].slowMs = 4_000;
    await t.until(() => t.master.view('a')?.link === 'up', '5s');
    // Sent in the new session, and lost with its connection right after the verdict has come.
    t.world.edit('a', { description: 'changed' });
    await t.until(() => t.edge('a').view('a')?.link === 'up', '5s');
    t.link('a').halfOpen();
    t.link('a').heal();
    await t.run('30s');
    expect(t.world.trace.last(50).join('\n')).not.toContain('sequence-gap');
    expect(t.world.judge.settled('a')).toBe(true);
  });
});

describe('values', () => {
  it('that the edge reported before a partition reach the master after it, under the new epoch', async () => {
    const t = await Town.settled({ a: available });
    t.link('a').cut();
    await t.run('1s');
    t.set('a', 5, t.edge('a'));
    await t.run('30s');
    expect(t.holder('a')).toBe('master');
    t.link('a').heal();
    await t.until(() => t.world.judge.settled('a'), '10s');
    await t.run('1s');
    expect(await t.master.value('a')).toBe(5);
  });

  it('that the master set while it held are known at an edge that was restarted', async () => {
    const t = await Town.settled({ a: available });
    t.edge('a').crash();
    await t.until(() => t.holder('a') === 'master', '30s');
    t.set('a', 9);
    await t.run('1s');
    t.edge('a').boot();
    await t.run('10s');
    expect(await t.edge('a').value('a')).toBe(9);
    t.order('a', 'handback');
    await t.run('3s');
    expect(await t.edge('a').value('a')).toBe(9);
  });

  it('that the edge kept through a restart of the master are known there again', async () => {
    const t = await Town.settled({ a: exclusive });
    t.set('a', 3, t.edge('a'));
    await t.run('1s');
    t.master.crash();
    // Longer than the lease: the edge lets go and is granted control anew.
    await t.run('15s');
    t.master.boot();
    await t.until(() => t.world.judge.settled('a'), '30s');
    await t.run('1s');
    expect(await t.master.value('a')).toBe(3);
  });

  it('that the edge sets are shown there, also when only reports told it of the last epoch of the master', async () => {
    const t = await Town.settled({ a: exclusive });
    t.order('a', 'takeover');
    await t.until(() => t.holder('a') === 'master', '10s');
    await t.run('2s');
    const before = t.master.view('a')?.epoch.number ?? 0;
    // Another policy is a new epoch of the same holder: no control message tells of it.
    t.world.edit('a', { policy: 'available' });
    await t.until(() => (t.master.view('a')?.epoch.number ?? 0) > before, '10s');
    t.set('a', 7);
    await t.run('1s');
    expect(await t.edge('a').value('a')).toBe(7);
    const last = t.master.view('a')?.epoch.number ?? 0;
    t.master.powerCut();
    await t.until(() => t.edge('a').view('a')?.state === 'holding', '15s');
    expect(t.edge('a').view('a')?.epoch.number).toBeGreaterThan(last);
    const answer = t.set('a', 8, t.edge('a'));
    await t.run('1s');
    expect([answer.ended, await t.edge('a').value('a')]).toEqual(['ok 8', 8]);
  });

  it('that an edge reports before it has announced its claim raise the epoch of a takeover that follows', async () => {
    const t = await Town.settled({ a: available });
    t.order('a', 'takeover');
    await t.until(() => t.holder('a') === 'master', '10s');
    await t.run('2s');
    // One device answers at once, the claim waits for the other.
    const [, second] = t.world.devices.of('a');
    if (second !== undefined) second.dead = true;
    t.order('a', 'handback');
    await t.until(() => t.edge('a').view('a')?.state === 'claiming', '5s');
    const claimed = t.edge('a').view('a')?.epoch.number ?? 0;
    await t.until(() => t.master.view('a')?.epoch.number === claimed, '1s');
    expect(t.edge('a').view('a')?.state).toBe('claiming');
    t.edge('a').crash();
    await t.until(() => t.holder('a') === 'master', '40s');
    expect(t.master.view('a')?.epoch.number).toBeGreaterThan(claimed);
  });
});

describe('disks, clocks and pauses', () => {
  it('a full disk at the end of the boot of a master puts a takeover off, not away', async () => {
    const t = await Town.dark({ a: { ...available, timeout: 6 } });
    t.master.boot();
    await t.run('1s');
    t.master.disk.full = true;
    await t.run('20s');
    expect(t.holder('a')).toBe('none');
    t.master.disk.full = false;
    await t.until(() => t.holder('a') === 'master', '5s');
  });

  it('a timeout that is raised while the edge is suspected counts at once', async () => {
    const t = await Town.settled({ a: { ...available, timeout: 8 } });
    t.edge('a').crash();
    await t.run('5s');
    t.world.edit('a', { timeout: 20 });
    await t.run('13s');
    expect(t.holder('a')).toBe('edge');
    await t.until(() => t.holder('a') === 'master', '6s');
  });

  it('an edge that keeps crashing while it claims does not put the takeover off', async () => {
    const t = await Town.settled({ a: available });
    t.edge('a').crash();
    for (let i = 0; i < 8; i += 1) {
      await t.run('2.5s');
      t.edge('a').boot();
      await t.until(() => ['claiming', 'standby', 'holding'].includes(t.edge('a').view('a')?.state ?? ''), '5s');
      t.edge('a').crash();
    }
    await t.run('5s');
    expect(t.holder('a')).toBe('master');
  });

  it('exclusive: an edge that stands still loses its devices at the end of its lease', async () => {
    const t = await Town.settled({ a: exclusive });
    t.edge('a').pause();
    await t.until(() => t.holder('a') === 'master', '30s');
    expect(t.writers('a')).toEqual(['master']);
    t.edge('a').resume();
    await t.run('15s');
    expect(t.writers('a')).toEqual(['master']);
    expect(t.world.judge.dualControlMs('a')).toBe(0);
  });

  it('a wall clock that jumps moves no control', async () => {
    const t = await Town.settled({ a: exclusive });
    t.edge('a').jumpWall('60min');
    t.master.jumpWall('300min');
    await t.run('1min');
    expect(t.holder('a')).toBe('edge');
    expect(t.world.devices.of('a').map(({ connects }) => connects)).toEqual([1, 1]);
  });

  it('a master that runs for long keeps nothing of each second', async () => {
    const warnings: string[] = [];
    const note = (warning: Error): void => void warnings.push(warning.message);
    process.on('warning', note);
    const t = await Town.settled({ a: available });
    await t.run('5min');
    process.off('warning', note);
    expect(warnings).toEqual([]);
  });

  it('power loss takes back what was not synced, never what was', async () => {
    const t = await Town.settled({ a: available });
    const before = t.edge('a').view('a')?.epoch.number ?? 0;
    t.edge('a').disk.slowMs = 5_000;
    t.edge('a').powerCut();
    await t.run('1s');
    t.edge('a').boot();
    await t.until(() => t.edge('a').view('a')?.state === 'claiming', '20s');
    expect(t.edge('a').view('a')?.epoch.number).toBeGreaterThan(before);
  });
});

describe('orders', () => {
  it('take over and hand back again, both ways without a moment of two', async () => {
    const t = await Town.settled({ a: exclusive });
    t.order('a', 'takeover');
    await t.run('3s');
    expect(t.writers('a')).toEqual(['master']);
    t.order('a', 'handback');
    await t.run('3s');
    expect(t.writers('a')).toEqual(['edge']);
    expect(t.world.judge.dualControlMs('a')).toBe(0);
  });

  /** How an order at the master ends, and after how many seconds. */
  const ordered = (t: Town, kind: 'takeover' | 'handback') => {
    const result: { ended: string | null; seconds: number } = { ended: null, seconds: 0 };
    const fromMs = t.world.timeline.nowMs;
    const { node } = t.master.seat;
    if (node === null) throw new Error('the master runs');
    const end = (ended: string): void => void Object.assign(result, { ended, seconds: (t.world.timeline.nowMs - fromMs) / 1_000 });
    node.order({ location: 'a', kind, by: 'anna', requestId: 'r', dryRun: false }, new AbortController().signal).then(
      ({ summary }) => end(summary),
      (error: unknown) => end(error instanceof HoldfastError ? `${error.code} ${JSON.stringify(error.facts)}` : String(error)),
    );
    return result;
  };

  const linkLost = 'ORDER_VOID {"location":"a","reason":"the link to the edge was lost first"}';

  it('are answered as soon as they are void: the link was found dead before the edge had let go', async () => {
    const t = await Town.settled({ a: available });
    // Nothing comes any more, and nobody knows it yet.
    t.link('a').cut();
    const answer = ordered(t, 'takeover');
    await t.until(() => answer.ended !== null, '20s');
    expect(answer.ended).toBe(linkLost);
    expect(answer.seconds).toBeLessThan(5);
    // What it says to do next is done at once.
    t.edge('a').crash();
    const again = ordered(t, 'takeover');
    await t.until(() => again.ended !== null, '3s');
    expect([again.ended, t.holder('a')]).toEqual(['control of a moves from edge to the master', 'master']);
  });

  it('to hand back are void when the edge is gone before the master has let go, and otherwise carried out', async () => {
    const t = await Town.settled({ a: available });
    const taken = ordered(t, 'takeover');
    await t.until(() => taken.ended !== null && t.master.view('a')?.state === 'waiting-window', '10s');
    expect(taken.ended).toBe('control of a moves from edge to the master');
    t.link('a').cut();
    const answer = ordered(t, 'handback');
    await t.until(() => answer.ended !== null, '20s');
    expect([answer.ended, answer.seconds < 5]).toEqual([linkLost, true]);
    t.link('a').heal();
    await t.until(() => t.master.view('a')?.state === 'waiting-window', '20s');
    const again = ordered(t, 'handback');
    await t.until(() => again.ended !== null, '10s');
    expect(again.ended).toBe('control of a moves from the master to the edge');
    for (const kind of ['pause', 'resume'] as const) t.order('a', kind);
    await t.run('1s');
    expect(t.writers('a')).toEqual(['edge']);
  });

  it('to take over wait for the lease of an edge that is away, and are not void meanwhile', async () => {
    const t = await Town.settled({ a: exclusive });
    t.edge('a').crash();
    await t.until(() => t.master.view('a')?.link === 'down', '5s');
    const answer = ordered(t, 'takeover');
    await t.until(() => answer.ended !== null, '15s');
    expect(answer.ended).toContain('to the master');
    expect(answer.seconds).toBeGreaterThan(2);
    // Back before its lease has ended, it claims.
    const back = await Town.settled({ a: exclusive });
    back.link('a').cut();
    await back.until(() => back.master.view('a')?.link === 'down', '5s');
    const crossed = ordered(back, 'takeover');
    await back.run('100ms');
    back.link('a').heal();
    await back.until(() => crossed.ended !== null, '14s');
    expect(crossed.ended).toContain('ORDER_VOID');
  });

  it('the person on site takes over while the master cannot be reached', async () => {
    const t = await Town.settled({ a: exclusive });
    t.link('a').cut();
    await t.until(() => t.edge('a').view('a')?.state === 'standby', '12s');
    t.order('a', 'takeover', t.edge('a'));
    await t.run('2s');
    expect(t.writers('a')).toContain('edge');
  });

  it('a window that opens gives control back by itself', async () => {
    const t = await Town.settled({ a: available });
    t.order('a', 'takeover');
    await t.run('3s');
    expect(t.holder('a')).toBe('master');
    const opens = new Date(t.world.master.machine.wallMs() + 60_000);
    t.world.edit('a', { window_start: `${opens.getUTCMinutes()} ${opens.getUTCHours()} * * *`, window_length: 60 });
    await t.until(() => t.holder('a') === 'edge', '65s');
  });
});
