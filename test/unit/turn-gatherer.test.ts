import { describe, expect, it } from 'vitest';
import { TurnGatherer, type Urgency } from '../../src/shared/foundation/turn-gatherer.ts';
import { FakeClock } from '../support/fake-clock.ts';

function world() {
  const clock = new FakeClock();
  let timers = 0;
  const after = (delayMs: number, callback: () => void) => {
    timers += 1;
    return clock.after(delayMs, callback);
  };
  const left: string[] = [];
  let waiting: string[] = [];
  let end: () => void = () => undefined;
  const turn = new TurnGatherer(
    () => {
      if (waiting.length > 0) left.push(waiting.join(' '));
      waiting = [];
    },
    (callback) => (end = callback),
    { clock: { monotonicMs: () => clock.monotonicMs(), after }, restMs: 5 },
  );
  const sendAll = (urgency: Urgency) => (...words: string[]): void => {
    for (const word of words) {
      waiting.push(word);
      turn.sent(urgency);
    }
  };
  const endTurn = (): void => {
    const ended = end;
    end = () => undefined;
    ended();
  };
  /** One a turn. */
  const changes = (...words: string[]): void => {
    for (const word of words) {
      sendAll('soon')(word);
      endTurn();
    }
  };
  return { clock, left, send: sendAll('now'), sendSoon: sendAll('soon'), endTurn, changes, timers: () => timers };
}

describe('what leaves in one event-loop turn', () => {
  it('leaves at once when it is alone, turn after turn', () => {
    const { left, send, endTurn } = world();
    for (const word of ['a', 'b', 'c']) {
      send(word);
      expect(left.at(-1)).toBe(word);
      endTurn();
    }
    expect(left).toEqual(['a', 'b', 'c']);
  });

  it('leaves together from the second of the first busy turn on, until a turn has one only', () => {
    const { left, send, endTurn } = world();
    send('a', 'b', 'c');
    expect(left).toEqual(['a']);
    endTurn();
    send('d', 'e');
    expect(left).toEqual(['a', 'b c']);
    endTurn();
    send('f');
    expect(left).toEqual(['a', 'b c', 'd e']);
    endTurn();
    send('g');
    expect(left).toEqual(['a', 'b c', 'd e', 'f', 'g']);
  });
});

describe('what need only leave soon', () => {
  it('leaves at once after a quiet time, with the others of its turn', async () => {
    const { clock, left, changes, sendSoon, endTurn, timers } = world();
    changes('a');
    await clock.advance(5);
    sendSoon('b', 'c', 'd');
    endTurn();
    expect(left).toEqual(['a', 'b', 'c d']);
    expect(timers()).toBe(0);
  });

  it('leaves together, at intervals, where many come', async () => {
    const { clock, left, changes, timers } = world();
    changes('a', 'b', 'c');
    expect(left).toEqual(['a']);
    expect(timers()).toBe(1);
    await clock.advance(4);
    expect(left).toEqual(['a']);
    await clock.advance(1);
    expect(left).toEqual(['a', 'b c']);
    changes('d');
    await clock.advance(4);
    expect(left).toHaveLength(2);
    await clock.advance(1);
    expect(left).toEqual(['a', 'b c', 'd']);
  });

  it('is not overtaken, but taken along by what leaves now', async () => {
    const { clock, left, changes, send, endTurn } = world();
    changes('a', 'b');
    send('answer');
    endTurn();
    expect(left).toEqual(['a', 'b answer']);
    changes('c');
    await clock.advance(5);
    expect(left).toEqual(['a', 'b answer', 'c']);
  });

  it('leaves with its turn when something of that has left', () => {
    const { left, changes, send, sendSoon, endTurn } = world();
    changes('a');
    send('answer');
    sendSoon('b');
    endTurn();
    expect(left).toEqual(['a', 'answer', 'b']);
  });
});
