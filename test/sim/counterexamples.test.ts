import { describe, expect, it } from 'vitest';
import { bootEdge, type EdgeControl, type EdgeEvent, type EdgeStep } from '../../src/shared/control/edge-control.ts';
import { stepEdge } from '../../src/shared/control/edge-step.ts';
import { defaultTimings as timings } from '../../src/shared/control/lease.ts';
import { bootMaster, type MasterControl, type MasterEvent, type MasterStep } from '../../src/shared/control/master-control.ts';
import { stepMaster } from '../../src/shared/control/master-step.ts';
import type { EdgeState, FromEdge, FromMaster } from '../../src/shared/control/messages.ts';
import type { Terms } from '../../src/shared/model/control.ts';

/** Ways to two holders, to none or to a wrong one that the model found once. Each is the shortest part that matters. */

const available: Terms = { failover: true, policy: 'available', timeoutMs: 20_000, paused: false };
const exclusive: Terms = { ...available, policy: 'exclusive' };
const noFailover: Terms = { ...available, failover: false };
const epoch = (number: number) => ({ generation: 0, number });

class MasterScript {
  state: MasterControl;
  last: MasterStep | null = null;

  constructor(terms: Terms) {
    this.state = bootMaster(null, terms, 0, timings);
  }

  on(event: MasterEvent): this {
    this.last = stepMaster(this.state, event, timings);
    this.state = this.last.state;
    return this;
  }

  hears(link: number, message: FromEdge, nowMs: number): this {
    return this.on({ type: 'message', nowMs, link, message });
  }

  hello(link: number, negotiation: number, state: EdgeState, nowMs: number, number = 0): this {
    return this.hears(link, { t: 'hello', negotiation, epoch: epoch(number), state, held: [] }, nowMs);
  }

  /** Booted alone, waited for the timeout, took over at 21 s. */
  static holding(terms: Terms): MasterScript {
    const script = new MasterScript(terms).on({ type: 'booted', nowMs: 6_000 }).on({ type: 'timer', nowMs: 21_000, timer: 'due' });
    return script.on({ type: 'modules-started', nowMs: 21_000, run: script.state.run });
  }

  sent(): string[] {
    return (this.last?.effects.thenSend ?? []).map(({ message }) => message.t);
  }

  actions(): string[] {
    return (this.last?.effects.thenRun ?? []).map(({ type }) => type);
  }
}

class EdgeScript {
  state: EdgeControl;
  last: EdgeStep | null = null;

  constructor(terms: Terms) {
    this.state = bootEdge(null, terms);
    this.on({ type: 'loaded', nowMs: 0 });
  }

  on(event: EdgeEvent): this {
    this.last = stepEdge(this.state, event, timings);
    this.state = this.last.state;
    return this;
  }

  /** The record of what this event leads to could not be stored: it did not happen. */
  refused(event: Extract<EdgeEvent, { link: number }>): this {
    return this.on({ type: 'journal-failed', nowMs: event.nowMs, link: event.link });
  }

  hears(message: FromMaster, nowMs: number): this {
    return this.on({ type: 'message', nowMs, link: this.state.link?.number ?? 0, message });
  }

  granted(terms: Terms, nowMs: number): this {
    const negotiation = this.state.negotiation;
    const leaseMs = terms.policy === 'exclusive' ? timings.leaseMs : null;
    this.hears({ t: 'negotiate', negotiation, winner: 'edge', reason: 'no-takeover-happened', epoch: epoch(0), terms }, nowMs);
    return this.hears({ t: 'control.granted', negotiation, epoch: epoch(0), leaseMs, snapshot: null }, nowMs);
  }

  sent(): string[] {
    return (this.last?.effects.thenSend ?? []).map(({ message }) => message.t);
  }

  actions(): string[] {
    return (this.last?.effects.thenRun ?? []).map(({ type }) => type);
  }

  static holding(terms: Terms): EdgeScript {
    const script = new EdgeScript(terms).on({ type: 'link-up', nowMs: 0, link: 1 }).granted(terms, 0);
    return script.on({ type: 'modules-started', nowMs: 0, run: script.state.run });
  }
}

describe('a master that holds', () => {
  it('is not made suspect by a released that crosses its wish for a new hello', () => {
    const master = MasterScript.holding(available).hello(1, 1, 'claiming', 22_000, 2);
    master.on({ type: 'window', nowMs: 23_000, open: true, occurrence: 1 });
    expect(master.sent()).toEqual(['control.renegotiate']);
    master.hears(1, { t: 'control.released', negotiation: 1, epoch: epoch(2), reason: 'master-holds', snapshot: null }, 23_001);
    expect(master.state.state).toBe('holding');
    expect(master.state.durable.holder).toBe('master');
  });

  it('goes on above the epoch of an edge that claimed meanwhile', () => {
    const master = MasterScript.holding(available);
    expect(master.state.durable.epoch.number).toBe(1);
    master.hello(1, 1, 'claiming', 22_000, 2);
    expect(master.state.durable.epoch.number).toBe(3);
    expect(master.last?.effects.persist?.record.epoch.number).toBe(3);
    expect(master.actions()).toContain('restamp');
  });

  it('does not hand back twice in a window after a hand-back was cut by a new connection', () => {
    const master = MasterScript.holding(available).on({ type: 'window', nowMs: 22_000, open: true, occurrence: 1 });
    master.hello(1, 1, 'standby', 23_000).on({ type: 'modules-stopped', nowMs: 24_000, run: master.state.run, snapshot: null });
    expect(master.sent()).toEqual(['control.granted']);
    master.hello(2, 1, 'standby', 25_000);
    expect(master.state.spentWindow).toBe(1);
  });

  it('grants what the verdict announced, though the document changed while it stopped', () => {
    const master = MasterScript.holding(exclusive).hello(1, 1, 'standby', 22_000).on({ type: 'order', nowMs: 23_000, order: 'handback' });
    master.hello(1, 2, 'standby', 23_001).on({ type: 'terms', nowMs: 23_002, terms: available });
    master.on({ type: 'modules-stopped', nowMs: 24_000, run: master.state.run, snapshot: null });
    const [grant] = master.last?.effects.thenSend ?? [];
    expect(grant?.message).toMatchObject({ t: 'control.granted', leaseMs: timings.leaseMs });
  });
});

describe('a master that fails to take over', () => {
  it('closes its write gate before it has stored that it lets go', () => {
    const master = new MasterScript(available).on({ type: 'booted', nowMs: 6_000 }).on({ type: 'timer', nowMs: 21_000, timer: 'due' });
    master.on({ type: 'modules-failed', nowMs: 22_000, run: master.state.run });
    expect(master.last?.effects.atOnce).toEqual([{ type: 'close-gate' }]);
  });
});

describe('a master that does not hold', () => {
  it('hears no hello of an older connection', () => {
    const master = new MasterScript(available).hello(2, 1, 'connecting', 1_000).hello(1, 7, 'connecting', 1_001);
    expect(master.state.link).toMatchObject({ number: 2, negotiation: 1 });
    expect(master.sent()).toEqual([]);
  });

  it('gives an edge that kept its devices the whole timeout to confirm it', () => {
    const master = new MasterScript(available).hello(1, 1, 'connecting', 1_000).hears(1, { t: 'control.claimed', negotiation: 1, epoch: epoch(2) }, 2_000);
    master.on({ type: 'booted', nowMs: 3_000 }).on({ type: 'link-down', nowMs: 7_000, link: 1, lastHeardMs: 4_000 });
    expect(master.state.dueMs).toBe(24_000);
    master.hello(2, 1, 'holding', 23_999, 2).on({ type: 'timer', nowMs: 24_000, timer: 'due' });
    expect(master.sent()).toEqual([]);
    expect(master.state.dueMs).toBe(43_999);
  });

  it('still gives one that only claims no more than what is left', () => {
    const master = new MasterScript(available).on({ type: 'booted', nowMs: 6_000 }).hello(1, 1, 'claiming', 19_999, 2);
    expect(master.on({ type: 'timer', nowMs: 20_000, timer: 'due' }).sent()).toEqual(['control.release']);
  });

  it('puts in force what the edge was told, and tells it what the document says by now', () => {
    const master = new MasterScript(noFailover).hello(1, 1, 'connecting', 1_000).on({ type: 'terms', nowMs: 1_001, terms: available });
    master.hears(1, { t: 'control.claimed', negotiation: 1, epoch: epoch(2) }, 2_000);
    expect(master.state.durable.terms).toEqual(noFailover);
    expect(master.sent()).toEqual(['control.renegotiate']);
  });

  it('takes looser terms for granted only while it never heard of an edge', () => {
    const never = new MasterScript(noFailover).on({ type: 'terms', nowMs: 1_000, terms: available });
    expect(never.state.durable.terms).toEqual(available);
    const met = new MasterScript(noFailover).hello(1, 1, 'connecting', 1_000).on({ type: 'link-down', nowMs: 2_000, link: 1, lastHeardMs: 2_000 });
    expect(met.on({ type: 'terms', nowMs: 3_000, terms: available }).state.durable.terms).toEqual(noFailover);
  });

  it('does not take over on a release when failover was switched off meanwhile', () => {
    const master = new MasterScript(available).hello(1, 1, 'connecting', 1_000).on({ type: 'booted', nowMs: 6_000 });
    master.on({ type: 'order', nowMs: 7_000, order: 'takeover' }).on({ type: 'terms', nowMs: 7_001, terms: noFailover });
    master.hears(1, { t: 'control.released', negotiation: 1, epoch: epoch(0), reason: 'operator-takeover', snapshot: null }, 7_002);
    expect(master.state.state).toBe('suspect');
    expect(master.actions()).toContain('close-link');
  });

  it('does not carry out a takeover that waited for a lease when failover was switched off meanwhile', () => {
    const master = new MasterScript(exclusive).on({ type: 'booted', nowMs: 6_000 }).on({ type: 'order', nowMs: 7_000, order: 'takeover' });
    master.on({ type: 'terms', nowMs: 8_000, terms: noFailover }).on({ type: 'timer', nowMs: 12_000, timer: 'due' });
    expect(master.state.state).toBe('suspect');
  });

  it('waits for a lease that it granted, though the document asks for another policy by now', () => {
    const master = new MasterScript(exclusive).hello(1, 1, 'connecting', 1_000).on({ type: 'terms', nowMs: 1_001, terms: available });
    const soon = { ...available, timeoutMs: 1_000 };
    master.on({ type: 'terms', nowMs: 1_002, terms: soon }).on({ type: 'booted', nowMs: 6_000 });
    master.on({ type: 'link-down', nowMs: 6_001, link: 1, lastHeardMs: 6_001 }).on({ type: 'timer', nowMs: 12_100, timer: 'due' });
    expect(master.state.state).toBe('suspect');
  });

  it('does not forget a claim that was confirmed while it loaded', () => {
    const claimed: FromEdge = { t: 'control.claimed', negotiation: 1, epoch: epoch(2) };
    const lost = new MasterScript(available).hello(1, 1, 'connecting', 1_000).hears(1, claimed, 2_000).on({ type: 'order', nowMs: 3_000, order: 'pause' });
    expect(lost.state.link?.phase).toBe('rehello');
    lost.on({ type: 'link-down', nowMs: 5_000, link: 1, lastHeardMs: 4_000 }).on({ type: 'booted', nowMs: 6_000 });
    expect(lost.state).toMatchObject({ state: 'suspect', dueMs: 24_000 });
    const kept = new MasterScript(available).hello(1, 1, 'connecting', 1_000).hears(1, claimed, 2_000).on({ type: 'order', nowMs: 3_000, order: 'pause' });
    expect(kept.on({ type: 'booted', nowMs: 6_000 }).state.state).toBe('standby');
  });
});

describe('an edge', () => {
  it('whose lease ended while it was paused lets go before it says hello', () => {
    const edge = EdgeScript.holding(exclusive).on({ type: 'link-down', nowMs: 3_000, link: 1 });
    edge.on({ type: 'link-up', nowMs: 9_000, link: 2 });
    expect(edge.state.state).toBe('releasing');
    expect(edge.last?.effects.atOnce).toEqual([{ type: 'close-gate' }]);
    expect(edge.sent()).toEqual([]);
    edge.on({ type: 'modules-stopped', nowMs: 9_100, run: edge.state.run, snapshot: null });
    expect(edge.last?.effects.thenSend[0]?.message).toMatchObject({ t: 'hello', state: 'standby' });
  });

  it('whose lease ended does not get it back by an answer that was under way', () => {
    const edge = EdgeScript.holding(exclusive).on({ type: 'timer', nowMs: 7_000, timer: 'renew' });
    const { negotiation } = edge.state;
    edge.hears({ t: 'control.renewed', negotiation, epoch: epoch(0), renewal: 1 }, 8_001);
    expect(edge.state).toMatchObject({ state: 'releasing', lease: null });
    expect(edge.actions()).toContain('stop-modules');
  });

  it('that could not store its claim at the end of a link knows of that end, and claims at the next attempt', () => {
    const edge = new EdgeScript(available).on({ type: 'link-up', nowMs: 5_000, link: 1 });
    edge.refused({ type: 'link-down', nowMs: 8_000, link: 1 });
    expect(edge.state).toMatchObject({ state: 'connecting', link: null });
    expect(edge.on({ type: 'dial-failed', nowMs: 10_000 }).state.state).toBe('claiming');
  });

  it('that is letting go says hello afterwards when it is asked for one', () => {
    const edge = EdgeScript.holding(available);
    const { negotiation } = edge.state;
    edge.hears({ t: 'control.release', negotiation, epoch: epoch(2), reason: 'timeout' }, 1_000);
    edge.hears({ t: 'control.renegotiate', negotiation, epoch: epoch(2), reason: 'window-open' }, 1_001);
    edge.on({ type: 'modules-stopped', nowMs: 2_000, run: edge.state.run, snapshot: null });
    expect(edge.sent()).toEqual(['hello']);
  });
});
