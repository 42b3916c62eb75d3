import { setImmediate as endOfTurn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { Flusher } from '../../src/shared/adapters/client-ws/client-connection.ts';
import { FakeClock } from '../support/fake-clock.ts';

it('answers leave while status rests after a long telling; status leaves when the rest is over', async () => {
  const clock = new FakeClock();
  const flusher = new Flusher(clock);
  const left: string[] = [];
  const connection = (name: string) => ({
    flush: () => {
      left.push(name);
      clock.work(8);
    },
  });
  flusher.told(connection('first'));
  await endOfTurn();
  flusher.told(connection('second'));
  flusher.told(connection('third'));
  flusher.answered(connection('answer'));
  await endOfTurn();
  expect(left).toEqual(['first', 'answer']);
  await clock.advance(8);
  expect(left).toEqual(['first', 'answer', 'second', 'third']);
});
