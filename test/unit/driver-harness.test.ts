import { describe, expect, it } from 'vitest';
import { createHarness, defineDriver, method, z } from '../../src/driver-sdk/index.ts';

/** A scene controller with an HTTP API. */
const scenes = defineDriver({
  name: 'scenes',
  role: 'service',
  settings: z.strictObject({}),
  setup: (ctx) => ({
    recall: method(z.tuple([z.int()]), async (scene) => {
      const { status, body } = await ctx.http.request({ path: `/scenes/${scene}`, method: 'POST', body: '{}' });
      ctx.status.set('scene', scene);
      return [status, body.toString()];
    }),
    list: async () => JSON.parse((await ctx.http.request({ path: '/scenes', timeoutMs: 1_000 })).body.toString()) as string[],
  }),
});

describe('the test harness of the SDK: a driver of a service is tested without one', () => {
  it('sees each request, and answers it when the test says so', async () => {
    const service = createHarness(scenes);
    await service.start();
    expect(service.status['connected']).toBe(true);
    const recalled = service.exec('recall', 3);
    expect(service.expectRequest({ method: 'POST', path: '/scenes/3' }).body).toBe('{}');
    expect(service.status['scene']).toBeUndefined();
    await service.respond({ status: 202, body: 'soon' });
    expect(await recalled).toEqual([202, 'soon']);
    expect(service.status['scene']).toBe(3);

    const listed = service.exec('list');
    expect(() => service.expectNoRequest()).toThrow('expected no request, got GET /scenes ""');
    service.expectRequest({ path: '/scenes' });
    await service.respond({ body: ['day', 'night'] });
    expect(await listed).toEqual(['day', 'night']);
    service.expectNoRequest();
    expect(() => service.respond({})).toThrow('no request waits');
  });

  it('says what was asked instead', async () => {
    const service = createHarness(scenes);
    await service.start();
    void service.exec('list').catch(() => undefined);
    expect(() => service.expectRequest({ method: 'POST', path: '/scenes' })).toThrow('expected the request POST /scenes "", got GET /scenes ""');
    expect(() => service.expectRequest({ path: '/scenes' })).toThrow('got none');
    await service.stop();
  });

  it('lets a request run out of time, and lose its service', async () => {
    const service = createHarness(scenes);
    await service.start();
    const late = expect(service.exec('list')).rejects.toMatchObject({ code: 'DEADLINE' });
    await service.advance(1_000);
    await late;
    const lost = expect(service.exec('list')).rejects.toMatchObject({ code: 'DEVICE_LOST' });
    await service.disconnect();
    await lost;
    expect(service.status['connected']).toBe(false);
    const again = service.exec('list');
    await service.respond({ body: [] });
    await again;
    expect(service.status['connected']).toBe(true);
  });
});
