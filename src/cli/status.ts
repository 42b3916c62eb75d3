import type { Command } from 'commander';
import { routes } from '../client-sdk/index.ts';
import { follow } from './follow.ts';
import { json } from './format.ts';
import { locationTable } from './location-text.ts';
import type { Session } from './session.ts';

const REFRESH_MS = 5_000;
const CLEAR = '\u001b[H\u001b[2J';

export function addStatus(program: Command, session: Session): void {
  program
    .command('status')
    .description('who holds each location, since when and why')
    .option('-w, --watch', 'keep showing it, anew at each move of control')
    .action(async (options: { watch?: boolean }) => {
      if (options.watch === true) return await watchStatus(session);
      const locations = await (await session.client()).all(routes.edgeList);
      session.result(locations, () => locationTable(session, locations));
    });
}

async function watchStatus(session: Session): Promise<void> {
  const { stdout, clock, signal } = session.deps;
  const client = await session.client();
  const draw = async (): Promise<void> => {
    const locations = await client.all(routes.edgeList, '', { signal });
    if (session.asJson) stdout.write(`${json(locations)}\n`);
    else stdout.write(`${stdout.isTTY ? CLEAR : ''}${locationTable(session, locations)}${stdout.isTTY ? '' : '\n'}`);
  };

  // One drawing at a time; what happens meanwhile asks for one more, however much it is.
  let wanted = false;
  let drawing = false;
  const redraw = (): void => {
    wanted = true;
    if (!drawing) void drawWhileWanted();
  };
  const drawWhileWanted = async (): Promise<void> => {
    drawing = true;
    while (wanted && !signal.aborted) {
      wanted = false;
      // A failure here shows in the stream as well, which is opened again and then asks for a drawing.
      await draw().catch(() => undefined);
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
