import { describe, expect, it } from 'vitest';
import { gateError, WriteGate } from '../../src/shared/control/write-gate.ts';

const epoch = (number: number, generation = 0) => ({ generation, number });

describe('write gate', () => {
  it('is shut for a location that nobody opened', () => {
    expect(new WriteGate().check('hq', epoch(2), 0)).toBe('closed');
  });

  it('lets the epoch pass that it was opened at, and no other', () => {
    const gate = new WriteGate();
    gate.open('hq', epoch(4));
    expect(gate.check('hq', epoch(4), 0)).toBeNull();
    expect(gate.check('hq', epoch(2), 0)).toBe('stale-epoch');
    expect(gate.check('hq', epoch(6), 0)).toBe('epoch-not-open');
    expect(gate.check('hq', epoch(9, -1), 0)).toBe('stale-epoch');
    expect(gate.check('branch', epoch(4), 0)).toBe('closed');
  });

  it('refuses everything once closed, and opens again', () => {
    const gate = new WriteGate();
    gate.open('hq', epoch(4));
    gate.close('hq');
    expect(gate.check('hq', epoch(4), 0)).toBe('closed');
    gate.open('hq', epoch(4));
    expect(gate.check('hq', epoch(4), 0)).toBeNull();
  });

  it('makes the old epoch stale when re-stamped, without opening a closed gate', () => {
    const gate = new WriteGate();
    gate.open('hq', epoch(4));
    gate.restamp('hq', epoch(6));
    expect(gate.check('hq', epoch(4), 0)).toBe('stale-epoch');
    expect(gate.check('hq', epoch(6), 0)).toBeNull();
    gate.close('hq');
    gate.restamp('hq', epoch(8));
    expect(gate.check('hq', epoch(8), 0)).toBe('closed');
  });

  it('ends writes exactly at the end of the lease, also of one that was set before it opened', () => {
    const gate = new WriteGate();
    gate.setLease('hq', 1_000);
    gate.open('hq', epoch(2));
    expect(gate.check('hq', epoch(2), 999.9)).toBeNull();
    expect(gate.check('hq', epoch(2), 1_000)).toBe('lease-ended');
    gate.setLease('hq', 2_000);
    expect(gate.check('hq', epoch(2), 1_000)).toBeNull();
    gate.setLease('hq', null);
    expect(gate.check('hq', epoch(2), 1e9)).toBeNull();
  });

  it('never takes a lower epoch', () => {
    const gate = new WriteGate();
    gate.open('hq', epoch(4));
    expect(() => gate.open('hq', epoch(2))).toThrow(/lower epoch/);
    expect(() => gate.restamp('hq', epoch(2))).toThrow(/lower epoch/);
  });

  it('says why in an operating error', () => {
    const write = { location: 'hq', module: 'mod-1', epoch: epoch(2), floor: epoch(4) };
    expect(gateError('stale-epoch', write)).toMatchObject({ code: 'STALE_EPOCH', facts: { location: 'hq', epoch: '0.2', floor: '0.4' } });
    expect(gateError('lease-ended', write)).toMatchObject({ code: 'GATE_CLOSED', facts: { module: 'mod-1', reason: 'the lease has ended' } });
  });
});
