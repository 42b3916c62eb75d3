import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { runStory } from '../support/story/run-story.ts';

const folder = new URL('./', import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, folder), 'utf8');
const stories = readdirSync(folder)
  .filter((name) => name.endsWith('.txt'))
  .sort();
const update = process.env['UPDATE_STORIES'] === '1';

describe('golden conversations', () => {
  it.each(stories)('%s reads as it always did', async (name) => {
    const text = read(name);
    const played = await runStory(text, name);
    expect(played.violations).toEqual([]);
    if (update && played.text !== text) writeFileSync(new URL(name, folder), played.text);
    expect(played.text).toBe(update ? played.text : text);
  });
});
