import { describe, expect, it } from 'vitest';
import { exists, read } from './support/sources.ts';

const rows = [...read('test/unit/drivers/README.md').matchAll(/^\| (.+?) \| `([^`]+)` \| (.+) \|$/gm)].map(([, rule = '', file = '', title = '']) => ({
  rule,
  file: `test/${file}`,
  title,
}));

/** Is there a test that runs, or a group of them, whose title begins so? */
const isTitleIn = (text: string, title: string): boolean =>
  text.split('\n').some((line) => /^\s*(?:it|describe)\b(?!\.(?:skip|todo))/.test(line) && (line.includes(`('${title}`) || line.includes(`(\`${title}`)));

describe('what drivers may rely on', () => {
  it('is a table with a test for each rule', () => {
    expect(rows.length).toBeGreaterThan(40);
    const lost = rows.filter(({ file, title }) => !exists(file) || !isTitleIn(read(file), title));
    expect(lost).toEqual([]);
  });
});
