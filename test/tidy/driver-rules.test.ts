import { describe, expect, it } from 'vitest';
import { exists, read } from './support/sources.ts';

const rows = [...read('test/unit/drivers/README.md').matchAll(/^\| (.+?) \| `([^`]+)` \| (.+) \|$/gm)].map(([, rule = '', file = '', title = '']) => ({
  rule,
  file: `test/${file}`,
  title,
}));

describe('what drivers may rely on', () => {
  it('is a table with a test for each rule', () => {
    expect(rows.length).toBeGreaterThan(40);
    const lost = rows.filter(({ file, title }) => !exists(file) || !read(file).includes(title));
    expect(lost).toEqual([]);
  });
});
