import { runCommand } from './commands.ts';
import { parseStory, renderStory, type StoryPart } from './story-file.ts';
import { World } from './world.ts';

export interface StoryResult {
  /** The file as it would have to read. */
  text: string;
  /** Invariants of control.md that the story broke; no golden text makes up for one. */
  violations: string[];
}

/** Plays a story from its beginning. Deterministic: the same file gives the same text. */
export async function runStory(text: string, file: string): Promise<StoryResult> {
  const story = parseStory(text, file);
  const world = new World();
  const parts: StoryPart[] = [];
  for (const part of story.parts) {
    if (part.kind === 'prose') {
      parts.push(part);
      continue;
    }
    world.transcript.begin();
    for (const [index, command] of part.commands.entries()) {
      try {
        await runCommand(world, command);
      } catch (error) {
        throw new Error(`${file}:${part.line + index}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      }
    }
    parts.push({ ...part, output: world.transcript.end() });
  }
  return { text: renderStory({ ...story, parts }), violations: world.violations() };
}
