import { describe, expect, it } from 'vitest';
import { SharedAnswers } from '../../src/shared/runtime/commands/shared-answers.ts';
import { later } from '../support/link-pipe.ts';

/** Questions that are answered one by one. */
function setUp() {
  const asked: ReturnType<typeof later<string>>[] = [];
  const shared = new SharedAnswers<string>();
  const ask = (key = 'mod-1'): Promise<string> =>
    shared.ask(key, () => {
      const answer = later<string>();
      asked.push(answer);
      return answer.promise;
    });
  return { asked, ask };
}

describe('questions that are asked by many', () => {
  it('are asked once more for all who came since the one under way was sent', async () => {
    const { asked, ask } = setUp();
    const first = ask();
    const others = Array.from({ length: 200 }, () => ask());
    const different = ask('mod-2');
    expect(asked).toHaveLength(2);
    asked[0]?.resolve('before');
    asked[1]?.resolve('of another');
    expect([await first, await different]).toEqual(['before', 'of another']);
    // Not that one: it may be from before a command that they have given.
    await expect.poll(() => asked.length).toBe(3);
    const late = ask();
    asked[2]?.resolve('after');
    expect(new Set(await Promise.all(others))).toEqual(new Set(['after']));
    await expect.poll(() => asked.length).toBe(4);
    asked[3]?.resolve('last');
    expect(await late).toBe('last');
    void ask();
    expect(asked).toHaveLength(5);
  });

  it('that fail do so for who shares them, and are asked again for the others', async () => {
    const { asked, ask } = setUp();
    const first = ask();
    const second = ask();
    asked[0]?.reject(new Error('lost'));
    await expect(first).rejects.toThrow('lost');
    await expect.poll(() => asked.length).toBe(2);
    asked[1]?.resolve('there');
    expect(await second).toBe('there');
  });
});
