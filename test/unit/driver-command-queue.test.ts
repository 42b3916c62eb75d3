import { describe, expect, it } from 'vitest';
import { Call } from '../../src/driver-sdk/call.ts';
import { type AfterTimeout, CommandQueue, type Reply, type SendOptions } from '../../src/driver-sdk/command-queue.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { FakeClock } from '../support/fake-clock.ts';

function setUp(options: { connected?: boolean; delayMs?: number; afterTimeout?: AfterTimeout } = {}) {
  const clock = new FakeClock();
  const sent: string[] = [];
  const line = { ready: false, refusal: null as HoldfastError | null, wanted: false, unanswered: 0 };
  const transport = {
    get ready() {
      return line.ready;
    },
    write(data: Uint8Array) {
      if (line.refusal !== null) throw line.refusal;
      sent.push(Buffer.from(data).toString());
    },
    demand: (wanted: boolean) => void (line.wanted = wanted),
    unanswered: () => void (line.unanswered += 1),
    // Like a socket: it takes nothing from now on, and its end is told of later.
    reset: () => void (line.ready = false),
  };
  const queue = new CommandQueue({ module: 'mod-1', clock, transport, delayMs: options.delayMs ?? 0, afterTimeout: options.afterTimeout ?? 'keep' });
  const connect = (): void => {
    line.ready = true;
    queue.connected();
  };
  const disconnect = (): void => {
    line.ready = false;
    queue.disconnected();
  };
  if (options.connected ?? true) connect();
  /** `<text>` is answered by the same text. */
  const send = (text: string, more: SendOptions = {}, reply?: Reply<string>, call: Call | null = null) => {
    const promise = queue.send(Buffer.from(text), more, reply ?? ((message) => (String(message) === text ? { value: text } : 'ignore')), call);
    promise.catch(() => undefined);
    return promise;
  };
  return { clock, queue, sent, line, connect, disconnect, send, answer: (text: string) => queue.offer(Buffer.from(text)) };
}

const call = (deadlineMs = 60_000): Call => new Call({ user: 'ada', deadlineMs });

describe('command queue', () => {
  it('keeps one command in flight and sends by priority, then in order', async () => {
    const { send, answer, sent } = setUp();
    const first = send('a');
    void send('b');
    void send('low', { priority: 10 });
    void send('c');
    void send('urgent', { priority: 90 });
    expect(sent).toEqual(['a']);
    answer('a');
    await expect(first).resolves.toBe('a');
    for (const text of ['urgent', 'b', 'c', 'low']) {
      expect(sent.at(-1)).toBe(text);
      answer(text);
    }
    expect(sent).toEqual(['a', 'urgent', 'b', 'c', 'low']);
  });

  it('resends 3 times after 5 s each, then says that the fate is unknown', async () => {
    const { clock, send, sent } = setUp();
    const outcome = send('a');
    await clock.advance(4_999);
    expect(sent).toHaveLength(1);
    await clock.advance(15_001);
    expect(sent).toHaveLength(4);
    await expect(outcome).rejects.toMatchObject({ code: 'DEADLINE', facts: { fate: 'unknown' } });
  });

  it('reconnects when an answer did not come in time, if told so: what has a name is sent again, nothing else', async () => {
    const { clock, send, sent, answer, line, connect, disconnect } = setUp({ afterTimeout: 'reconnect' });
    const outcomes = [send('once'), send('named', { name: 'n' }), send('waits')];
    await clock.advance(limits.commandMs);
    // Nothing more over this connection, on which the answer may still come.
    expect(line).toMatchObject({ ready: false, unanswered: 1, wanted: true });
    expect(answer('named')).toBe(false);
    disconnect();
    await expect(outcomes[0]).rejects.toMatchObject({ code: 'DEADLINE', facts: { fate: 'unknown' } });
    await expect(outcomes[2]).rejects.toMatchObject({ code: 'DEVICE_LOST', facts: { fate: 'not-sent' } });
    connect();
    await clock.advance(limits.commandMs);
    disconnect();
    connect();
    expect(sent).toEqual(['once', 'named', 'named']);
    answer('named');
    await expect(outcomes[1]).resolves.toBe('named');
    const late = send('never', { name: 'n', retries: 0 });
    await clock.advance(limits.commandMs);
    await expect(late).rejects.toMatchObject({ code: 'DEADLINE', facts: { fate: 'unknown' } });
  });

  it('obeys what the reply handler says', async () => {
    const { send, answer, sent } = setUp();
    const done = send('done', {}, () => 'done');
    answer('x');
    await expect(done).resolves.toBeNull();
    const refused = send('abort', {}, () => ({ abort: 'too hot' }));
    answer('x');
    await expect(refused).rejects.toMatchObject({ code: 'DEVICE_REFUSED', facts: { problem: 'too hot' } });
    const thrown = send('throw', {}, () => {
      throw new Error('bug');
    });
    answer('x');
    await expect(thrown).rejects.toMatchObject({ code: 'DRIVER_FAILED' });
    const again = send('retry', { retries: 1 }, () => 'retry');
    expect(answer('x')).toBe(true);
    expect(answer('x')).toBe(true);
    await expect(again).rejects.toMatchObject({ code: 'DEVICE_REFUSED' });
    expect(sent).toEqual(['done', 'abort', 'throw', 'retry', 'retry']);
  });

  it('leaves messages to others that answer nothing', () => {
    const { send, answer } = setUp();
    expect(answer('event')).toBe(false);
    void send('a');
    expect(answer('event')).toBe(false);
    expect(answer('a')).toBe(true);
  });

  it('replaces a queued command by a newer one of its name, in its place', async () => {
    const { send, answer, sent } = setUp();
    void send('a');
    const older = send('volume 1', { name: 'volume' });
    void send('b');
    void send('volume 2', { name: 'volume' });
    await expect(older).rejects.toMatchObject({ code: 'COMMAND_REPLACED' });
    answer('a');
    answer('volume 2');
    expect(sent).toEqual(['a', 'volume 2', 'b']);
  });

  it('does not resend a named command when a newer one waits', async () => {
    const { clock, send, sent } = setUp();
    const older = send('volume 1', { name: 'volume' });
    void send('volume 2', { name: 'volume' });
    await clock.advance(5_000);
    await expect(older).rejects.toMatchObject({ code: 'COMMAND_REPLACED' });
    expect(sent).toEqual(['volume 1', 'volume 2']);
  });

  it('offline: refuses unnamed commands, keeps named ones', async () => {
    const { send, sent, connect } = setUp({ connected: false });
    await expect(send('a')).rejects.toMatchObject({ code: 'DEVICE_OFFLINE' });
    void send('power on', { name: 'power' });
    void send('power off', { name: 'power' });
    expect(sent).toEqual([]);
    connect();
    expect(sent).toEqual(['power off']);
  });

  it('a broken connection: unnamed commands end with their fate, a named one is sent again', async () => {
    const { send, sent, connect, disconnect, answer } = setUp();
    const inFlight = send('a');
    const queued = send('b');
    disconnect();
    await expect(inFlight).rejects.toMatchObject({ code: 'DEVICE_LOST', facts: { fate: 'unknown' } });
    await expect(queued).rejects.toMatchObject({ code: 'DEVICE_LOST', facts: { fate: 'not-sent' } });
    connect();
    const named = send('power on', { name: 'power' });
    disconnect();
    connect();
    expect(sent).toEqual(['a', 'power on', 'power on']);
    answer('power on');
    await expect(named).resolves.toBe('power on');
  });

  it('does not wait for an answer when told so, and keeps the pause between commands', async () => {
    const { clock, send, sent } = setUp({ delayMs: 100 });
    await expect(send('a', { wait: false })).resolves.toBeNull();
    void send('b', { wait: false, delayMs: 300 });
    void send('c', { wait: false });
    expect(sent).toEqual(['a']);
    await clock.advance(100);
    expect(sent).toEqual(['a', 'b']);
    await clock.advance(299);
    expect(sent).toEqual(['a', 'b']);
    await clock.advance(1);
    expect(sent).toEqual(['a', 'b', 'c']);
  });

  it('is bounded', async () => {
    const { send } = setUp();
    for (let index = 0; index <= limits.commandQueue; index += 1) void send(`${index}`);
    await expect(send('one too many')).rejects.toMatchObject({ code: 'QUEUE_FULL' });
  });

  it('a refused write rejects that command alone and is not taken for sent', async () => {
    const { send, sent, line } = setUp();
    line.refusal = new HoldfastError('GATE_CLOSED', { module: 'mod-1', reason: 'test' });
    const refused = call();
    await expect(send('a', {}, undefined, refused)).rejects.toMatchObject({ code: 'GATE_CLOSED' });
    refused.cancel();
    expect(refused.error).toMatchObject({ facts: { fate: 'not-sent' } });
    line.refusal = null;
    void send('b');
    expect(sent).toEqual(['b']);
  });

  it('a command that was sent once and may not be repeated is unknown, not retryable', async () => {
    const { clock, send, line } = setUp();
    const outcome = send('a');
    line.refusal = new HoldfastError('GATE_CLOSED', { module: 'mod-1', reason: 'test' });
    await clock.advance(5_000);
    await expect(outcome).rejects.toMatchObject({ code: 'CANCELLED', facts: { fate: 'unknown' } });
  });

  it('never sends a queued command of a call that was given up or is past its deadline', async () => {
    const { clock, queue, send, sent, answer } = setUp();
    void send('a');
    const cancelled = call();
    const dropped = send('b', {}, undefined, cancelled);
    const late = send('c', {}, undefined, call(1_000));
    cancelled.cancel();
    queue.dropAbandoned();
    await expect(dropped).rejects.toMatchObject({ code: 'CANCELLED', facts: { fate: 'not-sent' } });
    await clock.advance(1_000);
    answer('a');
    await expect(late).rejects.toMatchObject({ code: 'DEADLINE', facts: { fate: 'not-sent' } });
    expect(sent).toEqual(['a']);
  });

  it('waits while the transport is congested', () => {
    const { line, queue, send, sent } = setUp();
    line.ready = false;
    void send('a');
    expect(sent).toEqual([]);
    line.ready = true;
    queue.drained();
    expect(sent).toEqual(['a']);
  });

  it('settles everything when it closes, and takes nothing more', async () => {
    const { queue, send, clock } = setUp();
    const inFlight = send('a');
    const queued = send('b');
    queue.close('the module stops');
    await expect(inFlight).rejects.toMatchObject({ code: 'CANCELLED', facts: { fate: 'unknown' } });
    await expect(queued).rejects.toMatchObject({ code: 'GATE_CLOSED' });
    await expect(send('c')).rejects.toMatchObject({ code: 'GATE_CLOSED' });
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('an answer of several messages', () => {
  const list: Reply<string> = (message, parts) => (String(message) === 'end' ? { value: parts.map(String).join(',') } : String(message) === 'push' ? 'ignore' : 'more');

  it('is collected by `more`, with a time-out anew after each, and what is none of it goes elsewhere', async () => {
    const { queue, clock, sent, send } = setUp();
    const answer = send('list', { timeoutMs: 1_000 }, list);
    for (const [message, isPart, afterMs] of [['a', true, 900], ['push', false, 400], ['b', true, 400]] as const) {
      await clock.advance(afterMs);
      expect(queue.offer(Buffer.from(message))).toBe(isPart);
    }
    await clock.advance(900);
    queue.offer(Buffer.from('end'));
    await expect(answer).resolves.toBe('a,b');
    expect(sent).toEqual(['list']);
  });

  it('begins from nothing when the command is sent again', async () => {
    const { queue, clock, sent, send } = setUp();
    const answer = send('list', { timeoutMs: 1_000 }, list);
    queue.offer(Buffer.from('half'));
    await clock.advance(1_000);
    expect(sent).toEqual(['list', 'list']);
    for (const message of ['whole', 'end']) queue.offer(Buffer.from(message));
    await expect(answer).resolves.toBe('whole');
  });
});

describe('an answer without end', () => {
  const endless = () => 'more' as const;

  it.each([
    ['a line every few seconds', 'x', 4_000],
    ['bytes without a pause', 'x'.repeat(100_000), 0],
    ['empty lines without a pause', '', 0],
  ])('is refused, and the connection made anew: %s', async (_, message, pauseMs) => {
    const { clock, send, sent, answer, line, disconnect, connect } = setUp();
    const outcome = send('list', {}, endless);
    const next = send('next', { name: 'next' });
    for (let told = 0; line.ready && told < 100_000; told += 1) {
      answer(message);
      if (pauseMs > 0) await clock.advance(pauseMs);
    }
    await expect(outcome).rejects.toMatchObject({ code: 'DEVICE_REFUSED', facts: { problem: 'its answer has no end' } });
    expect(sent).toEqual(['list']);
    disconnect();
    connect();
    answer('next');
    await expect(next).resolves.toBe('next');
  });

  it('has no more time when its call is given up: the others have their turn', async () => {
    const { clock, queue, send, sent, answer } = setUp();
    const given = call();
    const outcome = send('list', { timeoutMs: 1_000 }, endless, given);
    void send('next');
    answer('x');
    given.cancel();
    queue.dropAbandoned();
    await clock.advance(900);
    answer('x');
    expect(sent).toEqual(['list']);
    await clock.advance(100);
    await expect(outcome).rejects.toMatchObject({ code: 'CANCELLED', facts: { fate: 'unknown' } });
    expect(sent).toEqual(['list', 'next']);
  });
});

describe('a function as data', () => {
  const yes: Reply<string> = (message) => ({ value: String(message) });
  const bytes = (text: string) => Buffer.from(text);

  it('may send: that goes after it', async () => {
    const { queue, send, sent, answer } = setUp();
    let inner: Promise<string | null> | null = null;
    const data = (): Buffer => {
      inner = send('inner');
      return bytes('outer');
    };
    const outer = queue.send(data, {}, yes, null);
    expect(sent).toEqual(['outer']);
    answer('fine');
    answer('inner');
    await expect(outer).resolves.toBe('fine');
    await expect(inner).resolves.toBe('inner');
  });

  it('may end the connection: what has a name waits for the next one, and leaves once', async () => {
    const { queue, line, sent, connect, disconnect, answer } = setUp();
    let isBad = true;
    const data = (text: string) => () => {
      if (isBad) line.ready = false;
      return bytes(text);
    };
    const named = queue.send(data('named'), { name: 'named' }, yes, null);
    line.ready = true;
    const unnamed = queue.send(data('unnamed'), { priority: 99 }, yes, null);
    disconnect();
    await expect(unnamed).rejects.toMatchObject({ code: 'DEVICE_LOST', facts: { fate: 'not-sent' } });
    isBad = false;
    connect();
    expect(sent).toEqual(['named']);
    answer('fine');
    await expect(named).resolves.toBe('fine');
  });

  it('that throws at a repeat leaves the fate unknown: the command left before', async () => {
    const { queue, clock } = setUp();
    let asked = 0;
    const data = (): Buffer => {
      asked += 1;
      if (asked > 1) throw new Error('no session');
      return bytes('a');
    };
    const outcome = expect(queue.send(data, {}, yes, null)).rejects.toMatchObject({ code: 'CANCELLED', facts: { fate: 'unknown' } });
    await clock.advance(limits.commandMs);
    await outcome;
  });
});

it('a reply handler that ends the connection has no say any more: the command goes over the next one', async () => {
  const { queue, sent, connect, disconnect, answer } = setUp();
  let times = 0;
  const reply: Reply<string> = () => {
    times += 1;
    if (times === 1) disconnect();
    return { value: String(times) };
  };
  const outcome = queue.send(Buffer.from('a'), { name: 'a' }, reply, null);
  expect(answer('x')).toBe(true);
  connect();
  answer('x');
  await expect(outcome).resolves.toBe('2');
  expect(sent).toEqual(['a', 'a']);
});

it('a connection is wanted while it is at its beginning, also when nothing waits', () => {
  const { queue, line } = setUp();
  const greeting = queue.greet(true, () => undefined);
  queue.connected();
  expect([queue.opening, line.wanted]).toEqual([true, true]);
  queue.greeted(greeting);
  expect([queue.opening, line.wanted]).toEqual([false, false]);
});

it('a connection that ended is not at its beginning any more', () => {
  const { queue, line } = setUp();
  const greeting = queue.greet(true, () => undefined);
  queue.interrupted();
  expect([queue.opening, queue.isGreeting(greeting), line.wanted]).toEqual([false, false, false]);
});
