import { describe, expect, it } from 'vitest';
import { Town } from './support/town.ts';

const available = { policy: 'available', timeout: 8 } as const;
const exclusive = { policy: 'exclusive', timeout: 20 } as const;

describe('a master whose disk is full', () => {
  it('takes no control away from an edge that lets go for it', async () => {
    const t = await Town.settled({ a: exclusive });
    t.master.disk.full = true;
    t.order('a', 'takeover');
    await t.run('5s');
    expect([t.holder('a'), t.edge('a').view('a')?.state, t.master.view('a')?.link]).toEqual(['edge', 'holding', 'up']);
    t.master.disk.full = false;
    t.order('a', 'takeover');
    await t.until(() => t.holder('a') === 'master', '5s');
  });
});

describe('a master that stands still', () => {
  const standStill = async (t: Town): Promise<void> => {
    t.master.pause();
    await t.run('30s');
    t.master.resume();
    await t.run('15s');
    expect(t.master.view('a')).toMatchObject({ holder: 'edge', state: 'standby', dualControlSeconds: 0 });
    expect(t.writers('a')).toEqual(['edge']);
  };

  it('for longer than a timeout takes nobody over who is there when it goes on', async () => {
    const t = await Town.settled({ a: available });
    await standStill(t);
  });

  it('nor while it waits for edges at its start', async () => {
    const t = await Town.settled({ a: available });
    t.master.crash();
    t.link('a').cut();
    t.master.boot();
    await t.run('2s');
    t.link('a').heal();
    await standStill(t);
  });
});
