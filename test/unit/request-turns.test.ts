import { createServer, IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { expect, it } from 'vitest';
import { RequestTurns } from '../../src/shared/adapters/http/request-turns.ts';
import { Strangers } from '../../src/shared/adapters/http/strangers.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** Who opens many connections from one address gets no more than others do. */

let port = 0;
const from = (remoteAddress: string): Socket =>
  Object.defineProperties(new Socket(), { remoteAddress: { value: remoteAddress }, remotePort: { value: (port += 1) } });

it('requests of strangers from one address, or network of IPv6, have one turn together; whoever has shown a key has one alone', async () => {
  const done: string[] = [];
  const turns = new RequestTurns(new FakeClock());
  const listening = createServer().removeAllListeners('connection');
  turns.letIn(listening);
  const listener = turns.listener(({ url }) => void done.push(url ?? ''));
  const ask = (socket: Socket, url: string): void => {
    const request = Object.assign(new IncomingMessage(socket), { url });
    listener(request, new ServerResponse(request));
  };
  const [crowd, other, proved, gone] = [['2001:db8::1', '2001:db8::2', '2001:db8::3'].map(from), from('192.0.2.1'), from('2001:db8::4'), from('192.0.2.2')];
  turns.proved(proved);
  const turn = async (): Promise<string[]> => {
    await new Promise((resolve) => setImmediate(resolve));
    return done.splice(0);
  };
  // Somebody has come, so that each has one request in this turn.
  listening.emit('connection', other);
  for (const socket of crowd) for (const n of [1, 2]) ask(socket, `crowd ${n}`);
  for (const n of [1, 2]) ask(other, `other ${n}`);
  for (const n of [1, 2]) ask(proved, `proved ${n}`);
  ask(gone, 'gone');
  gone.destroy();
  expect(await turn()).toEqual(['crowd 1', 'other 1', 'proved 1']);
  listening.emit('connection', other);
  expect(await turn()).toEqual(['crowd 1', 'other 2', 'proved 2']);
  expect(await turn()).toEqual(['crowd 1', 'crowd 2', 'crowd 2', 'crowd 2']);
});

it('the stranger who makes room is one of the address that has most, idle if one is, and of these the one that is quiet for longest', () => {
  const strangers = new Strangers();
  const arrive = (address: string): Socket => {
    const socket = from(address);
    strangers.arrived(socket);
    return socket;
  };
  const other = arrive('192.0.2.1');
  // The network of IPv6 counts; an IPv4 address in the form of IPv6 is itself.
  const crowd = ['2001:db8::1', '2001:db8::2', '2001:db8::3'].map(arrive);
  const [first, second, third] = crowd;
  arrive('::ffff:192.0.2.1');
  const newest = arrive('2001:db8:0:1::1');
  expect(strangers.size).toBe(6);
  expect(strangers.toMakeRoom(newest)).toBe(first);
  expect(strangers.toMakeRoom(newest, (socket) => socket !== first)).toBe(second);
  expect(strangers.toMakeRoom(newest, () => false)).toBe(first);
  if (first !== undefined) strangers.asked(first);
  expect(strangers.toMakeRoom(newest)).toBe(second);
  if (second !== undefined) expect([strangers.known(second), strangers.known(second)]).toEqual([true, false]);
  // Both have two now: the one goes that is quiet for longest.
  expect(strangers.toMakeRoom(newest)).toBe(other);
  other.emit('close');
  expect([strangers.size, strangers.toMakeRoom(newest)]).toEqual([4, third]);
});
