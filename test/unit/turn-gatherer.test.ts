import { describe, expect, it } from 'vitest';
import { TurnGatherer } from '../../src/shared/foundation/turn-gatherer.ts';

function world() {
  const left: string[] = [];
  let waiting: string[] = [];
  let end: () => void = () => undefined;
  const turn = new TurnGatherer(
    () => {
      if (waiting.length > 0) left.push(waiting.join(' '));
      waiting = [];
    },
    (callback) => (end = callback),
  );
  const send = (...words: string[]): void => {
    for (const word of words) {
      waiting.push(word);
      turn.sent();
    }
  };
  return { left, send, endTurn: () => end() };
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
