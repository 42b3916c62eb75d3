/** Control characters, and those that turn text around: whatever a device or a name holds, it must not drive the terminal. */
const UNSAFE = /[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/** The text in one line, with everything that could drive a terminal written as `\u001b`. */
export const clean = (text: string): string =>
  text.replaceAll(UNSAFE, (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`);

/** Like `clean`, but lines stay lines. */
export const cleanLines = (text: string): string => text.split('\n').map(clean).join('\n');

/** JSON that is safe to print: outside of strings the value holds no such character, so it stays the same value. */
export const json = (value: unknown, indent = 0): string => cleanLines(JSON.stringify(value, null, indent));

export type Colour = 'red' | 'green' | 'yellow' | 'dim' | 'bold';
const codes: Record<Colour, number> = { red: 31, green: 32, yellow: 33, dim: 2, bold: 1 };
export type Paint = (text: string, colour: Colour) => string;
export const painter = (enabled: boolean): Paint => (text, colour) => (enabled ? `\u001b[${codes[colour]}m${text}\u001b[0m` : text);

export type Cell = string | { text: string; colour: Colour };
interface Painted {
  text: string;
  colour: Colour | null;
}

/** Columns that line up, two spaces apart. */
export function table(headings: string[], rows: Cell[][], paint: Paint): string {
  const lines = [headings.map((text): Painted => ({ text, colour: 'dim' })), ...rows.map((row) => row.map(painted))];
  const widths = headings.map((_, x) => Math.max(...lines.map((line) => widthOf(line[x]?.text ?? ''))));
  const render = ({ text, colour }: Painted, x: number, line: Painted[]): string => {
    const padding = x === line.length - 1 ? '' : ' '.repeat((widths[x] ?? 0) - widthOf(text) + 2);
    return `${colour === null ? text : paint(text, colour)}${padding}`;
  };
  return lines.map((line) => `${line.map(render).join('').trimEnd()}\n`).join('');
}

const painted = (cell: Cell): Painted =>
  typeof cell === 'string' ? { text: clean(cell), colour: null } : { text: clean(cell.text), colour: cell.colour };

const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u;

/** Columns on a terminal: East Asian wide characters and emoji take two, combining marks none. */
function widthOf(text: string): number {
  let width = 0;
  for (const character of text) {
    if (/\p{Mn}|\p{Me}|\u200d/u.test(character)) continue;
    width += WIDE.test(character) ? 2 : 1;
  }
  return width;
}

/** `45s`, `3m12s`, `2h5m`, `4d3h`: the two largest units. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes, rest] = [Math.floor(whole / 86_400), Math.floor(whole / 3_600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  if (days > 0) return `${days}d${hours}h`;
  if (hours > 0) return `${hours}h${minutes}m`;
  if (minutes > 0) return `${minutes}m${rest}s`;
  return `${rest}s`;
}

export const instant = (unixSeconds: number): string => `${new Date(unixSeconds * 1_000).toISOString().slice(0, 19)}Z`;

/** `1 module`, `2 modules`. */
export const plural = (count: number, what: string, many = `${what}s`): string => `${count} ${count === 1 ? what : many}`;
