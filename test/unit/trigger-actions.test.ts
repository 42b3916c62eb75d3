import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { nodeWebhooks } from '../../src/shared/adapters/webhooks/node-webhooks.ts';
import { Scope } from '../../src/shared/foundation/scope.ts';
import { systemSchema } from '../../src/shared/model/documents.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { limits } from '../../src/shared/model/limits.ts';
import { triggerSchema } from '../../src/shared/model/trigger.ts';
import type { Webhooks } from '../../src/shared/ports/webhooks.ts';
import type { ExecRequest } from '../../src/shared/runtime/node.ts';
import { carryOut } from '../../src/shared/runtime/triggers/trigger-actions.ts';
import { FakeClock } from '../support/fake-clock.ts';

const URL_WITH_SECRET = 'https://hooks.example.org/services/SECRET';
const epoch = { generation: 0, number: 4 };

/** Carries out the actions; webhooks answer one after the other what `answers` says, an error for a text. */
function setUp(actions: object, answers: (number | string)[] = [], mayAct = true) {
  const clock = new FakeClock();
  const posts: Parameters<Webhooks['post']>[0][] = [];
  const execs: ExecRequest[] = [];
  const failures: string[] = [];
  const world = { mayAct };
  const abort = new AbortController();
  const trigger = triggerSchema.parse({ id: 'trig', type: 'trigger', name: 'Too hot', actions });
  const system = systemSchema.parse({ id: 'sys', type: 'sys', name: 'Room 1' });
  const options = {
    clock,
    desk: {
      exec: async (request: ExecRequest) => {
        execs.push(request);
        if (request.method === 'fail') throw new HoldfastError('DEVICE_OFFLINE', { module: 'mod-1' });
        return { value: null, servedBy: 'edge' };
      },
    },
    webhooks: {
      post: (request: Parameters<Webhooks['post']>[0], signal: AbortSignal) =>
        new Promise<number>((resolve, reject) => {
          posts.push(request);
          const answer = answers.shift();
          if (typeof answer === 'number') resolve(answer);
          else if (typeof answer === 'string') reject(new Error(answer));
          signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
        }),
    },
    mayAct: () => world.mayAct,
    failed: (action: string, error: HoldfastError) => void failures.push(`${action}: ${error.message}`),
  };
  const firing = { occurrence: 'rise-3', epoch, wallMs: Date.UTC(2025, 0, 1) };
  const done = carryOut(options, { instance: { id: 'trig~sys', trigger, system }, firing, values: { 'Sensor_1.level': 81 } }, abort.signal);
  return { clock, posts, execs, failures, world, abort, done };
}

it('methods are run in their order, under the name of the trigger; one that fails holds up nothing', async () => {
  const { done, execs, failures } = setUp({ functions: [{ mod: 'Display_2', method: 'power', args: [true] }, { mod: 'Lamp', method: 'fail' }, { mod: 'Lamp', method: 'on' }] });
  await done;
  expect(execs.map(({ module, index, method, args }) => [module, index, method, args])).toEqual([
    ['Display', 2, 'power', [true]], ['Lamp', 1, 'fail', []], ['Lamp', 1, 'on', []],
  ]);
  expect(execs[0]).toMatchObject({ system: 'sys', user: 'trig', timeoutMs: limits.requestMs });
  expect(failures).toEqual(['Lamp.fail: The device of mod-1 is not connected']);
});

it('a webhook says which trigger fired where, when and why, and carries its headers', async () => {
  const { done, posts, failures } = setUp({ webhooks: [{ url: URL_WITH_SECRET, headers: { authorization: 'Bearer x' } }] }, [204]);
  await done;
  expect(failures).toEqual([]);
  expect(posts[0]).toMatchObject({ url: URL_WITH_SECRET, headers: { authorization: 'Bearer x' } });
  expect(JSON.parse(posts[0]?.body ?? '')).toEqual({
    id: 'trig~sys/rise-3/0.4', trigger: 'trig', trigger_name: 'Too hot', system: 'sys', system_name: 'Room 1', occurrence: 'rise-3', epoch: '0.4',
    time: Date.UTC(2025, 0, 1) / 1_000, values: { 'Sensor_1.level': 81 },
  });
});

describe('a webhook that fails', () => {
  const hooks = { webhooks: [{ url: URL_WITH_SECRET }] };

  it.each([
    ['no answer and 503', ['connect ECONNREFUSED', 503, 200], 3, []],
    ['an answer that no second attempt changes', [404, 200], 1, ['POST hooks.example.org: The webhook at hooks.example.org failed: it answered 404']],
    ['a redirect, which is not followed', [302, 200], 1, ['POST hooks.example.org: The webhook at hooks.example.org failed: it answered 302']],
    ['for good', [500, 502, 429, 200], limits.triggerWebhookAttempts, ['POST hooks.example.org: The webhook at hooks.example.org failed: it answered 429']],
  ])('with %s', async (_, answers, attempts, failed) => {
    const { clock, done, posts, failures } = setUp(hooks, answers);
    await clock.advance(60_000);
    await done;
    expect([posts.length, failures]).toEqual([attempts, failed]);
    expect(failures.join()).not.toContain('SECRET');
  });

  it('because nobody answers is given up after its deadline, each time', async () => {
    const { clock, done, posts, failures } = setUp(hooks);
    await clock.advance(limits.triggerWebhookAttempts * limits.triggerWebhookMs + 10_000);
    await done;
    expect(posts).toHaveLength(limits.triggerWebhookAttempts);
    expect(failures[0]).toContain(`no answer within ${limits.triggerWebhookMs / 1_000} s`);
  });

  it('is not tried again once control is gone', async () => {
    const aborted = setUp(hooks, [503, 200]);
    await aborted.clock.advance(10);
    aborted.abort.abort(new HoldfastError('CONTROL_CHANGING', { location: 'a', retryAfterMs: 1 }));
    await aborted.done;
    const lapsed = setUp(hooks, [503, 200]);
    await lapsed.clock.advance(10);
    lapsed.world.mayAct = false;
    await lapsed.clock.advance(10_000);
    await lapsed.done;
    expect([aborted.posts.length, lapsed.posts.length]).toEqual([1, 1]);
  });
});

it('nothing is done by a node that may not act any more', async () => {
  const { done, execs, posts, failures } = setUp({ functions: [{ mod: 'Lamp', method: 'on' }], webhooks: [{ url: URL_WITH_SECRET }] }, [200], false);
  await done;
  expect([execs, posts, failures.length]).toEqual([[], [], 2]);
});

it('over a real connection: the body arrives, a redirect is an answer, and waiting can be ended', async () => {
  const scope = new Scope();
  const seen: [IncomingMessage, string][] = [];
  const server = createServer((request, response) => {
    request.setEncoding('utf8').on('data', (text: string) => seen.push([request, text]));
    if (request.url === '/moved') response.writeHead(302, { location: '/elsewhere' }).end();
    else if (request.url === '/ok') response.writeHead(204).end();
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => void server.once('listening', resolve));
  scope.defer('server', () => {
    server.closeAllConnections();
    server.close();
  });
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const post = (path: string, signal = new AbortController().signal) => nodeWebhooks.post({ url: `${origin}${path}`, headers: { 'x-who': 'me' }, body: '{"ä":1}' }, signal);
  expect([await post('/ok'), await post('/moved')]).toEqual([204, 302]);
  expect(seen.map(([{ url, method, headers }, text]) => [url, method, headers['x-who'], headers['content-type'], text])).toEqual([
    ['/ok', 'POST', 'me', 'application/json', '{"ä":1}'], ['/moved', 'POST', 'me', 'application/json', '{"ä":1}'],
  ]);
  const abort = new AbortController();
  const hanging = post('/hang', abort.signal);
  abort.abort();
  await expect(hanging).rejects.toThrow();
  await expect(nodeWebhooks.post({ url: 'http://127.0.0.1:1/SECRET', headers: {}, body: '' }, new AbortController().signal)).rejects.toThrow(/^(?!.*SECRET)/);
  await scope.close();
});
