/** A story as it stands in its file: prose, and blocks of commands with what they answered. */
export interface StoryFile {
  title: string;
  parts: StoryPart[];
}

export type StoryPart = { kind: 'prose'; lines: string[] } | { kind: 'block'; line: number; commands: string[]; output: string[] };

const RULE = '----';

/**
 * Paragraphs are separated by blank lines. One that begins with `#` is prose; any other is commands, `----`, and the
 * golden output. The first line of the file is the title.
 */
export function parseStory(text: string, file: string): StoryFile {
  const lines = text.split('\n');
  const title = /^# (.+)$/.exec(lines[0] ?? '')?.[1];
  if (title === undefined) throw new Error(`${file}:1: a story begins with "# " and its title`);
  const parts = paragraphs(lines).map(({ line, lines: paragraph }) => toPart(paragraph, line, file));
  if (!(lines[1] ?? '').startsWith('# ')) throw new Error(`${file}:2: after the title comes why the story is told`);
  if (!parts.some(({ kind }) => kind === 'block')) throw new Error(`${file}: a story needs at least one command`);
  return { title, parts };
}

export function renderStory({ parts }: StoryFile): string {
  const texts = parts.map((part) => (part.kind === 'prose' ? part.lines : [...part.commands, RULE, ...part.output]).join('\n'));
  return `${texts.join('\n\n')}\n`;
}

function paragraphs(lines: string[]): { line: number; lines: string[] }[] {
  const found: { line: number; lines: string[] }[] = [];
  let open: { line: number; lines: string[] } | null = null;
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '') open = null;
    else if (open === null) found.push((open = { line: index + 1, lines: [line] }));
    else open.lines.push(line);
  }
  return found;
}

function toPart(lines: string[], line: number, file: string): StoryPart {
  if (lines.every((text) => text.startsWith('#'))) return { kind: 'prose', lines };
  const rule = lines.indexOf(RULE);
  if (rule === -1) throw new Error(`${file}:${line}: commands without "${RULE}" after them`);
  if (rule === 0) throw new Error(`${file}:${line}: golden output without commands before it`);
  const commands = lines.slice(0, rule);
  const comment = commands.findIndex((text) => text.startsWith('#'));
  if (comment !== -1) throw new Error(`${file}:${line + comment}: prose goes into its own paragraph`);
  return { kind: 'block', line, commands, output: lines.slice(rule + 1) };
}
