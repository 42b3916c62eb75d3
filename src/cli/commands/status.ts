import type { Command } from 'commander';
import { type Client, routes } from '../../client-sdk/index.ts';
import { follow } from '../follow.ts';
import { duration, json } from '../format.ts';
import { locationTable } from '../location-text.ts';
import type { Session } from '../session.ts';

const REFRESH_MS = 5_000;
/** A server that has not answered by then may be frozen: what is shown must not pass for what is so. */
const DRAW_MS = 5_000;
const CLEAR = '\u001b[H\u001b[2J';

export function addStatus(program: Command, session: Session): void {
  program
    .command('status')
    .description('who holds each location, since when and why')
    .option('-w, --watch', 'keep showing it, anew at each move of control')
    .action(async (options: { watch?: boolean }) => {
      if (options.watch === true) return await watchStatus(session);
      const client = await session.client();
      const locations = await client.all(routes.edgeList);
      const age = session.asJson ? '' : await ageText(client);
      session.result(locations, () => `${locationTable(session, locations)}${age}`);
    });
}

/** Empty while the documents of the server are those of its database. */
async function ageText(client: Client): Promise<string> {
  const { headers } = await client.request(routes.version, {});
  const seconds = Number(headers['x-holdfast-store-age'] ?? 0);
  if (!(seconds > 0)) return '';
  return `The documents of this server are ${duration(seconds)} old: its database is away, or nothing is replicated to it. See holdfast doctor.\n`;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function watchStatus(session: Session): Promise<void> {
  const { stdout, clock, signal } = session.deps;
  const client = await session.client();
  const draw = async (): Promise<void> => {
    const locations = await client.all(routes.edgeList, '', { signal, timeoutMs: DRAW_MS });
    if (session.asJson) stdout.write(`${json(locations)}\n`);
    else stdout.write(`${stdout.isTTY ? CLEAR : ''}${locationTable(session, locations)}${stdout.isTTY ? '' : '\n'}`);
  };

  // One drawing at a time; what happens meanwhile asks for one more, however much it is.
  let wanted = false;
  let drawing = false;
  let shown = true;
  const redraw = (): void => {
    wanted = true;
    if (!drawing) void drawWhileWanted();
  };
  const drawWhileWanted = async (): Promise<void> => {
    drawing = true;
    while (wanted && !signal.aborted) {
      wanted = false;
      const failed = await draw().then(() => null, messageOf);
      // Once: the stream says what follows, and asks for a drawing when it is open again.
      if (failed !== null && shown && !signal.aborted) session.note(`${failed}; what is shown is older`);
      shown = failed === null;
    }
    drawing = false;
  };
  const tick = (): void => {
    redraw();
    timer = clock.after(REFRESH_MS, tick);
  };
  // Modules and windows change without a move of control.
  let timer = clock.after(REFRESH_MS, tick);
  try {
    await follow(session, (signal) => client.stream(routes.events, { query: { kind: 'control' } }, { signal }), { opened: redraw, event: redraw });
  } finally {
    timer.cancel();
  }
}
