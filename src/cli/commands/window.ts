import type { Command } from 'commander';
import { routes } from '../../client-sdk/index.ts';
import type { Location, Order } from '../../client-sdk/index.ts';
import { parseRestoreWindow } from '../../shared/control/restore-window.ts';
import type { RestoreWindow } from '../../shared/control/restore-window.ts';
import { previewWindow } from '../../shared/control/window-preview.ts';
import type { PreviewedOpening } from '../../shared/control/window-preview.ts';
import { WINDOW_MAX_SECONDS } from '../../shared/model/documents.ts';
import { CliFailure, usageFailure } from '../failures.ts';
import { clean, duration, instant } from '../format.ts';
import { locationDifference } from '../location-text.ts';
import { durationSeconds, instantMs, wholeNumber } from '../outcome.ts';
import { dangerous } from '../session.ts';
import type { Danger, Session } from '../session.ts';

interface NextOptions {
  count: number;
  cron?: string;
  timezone?: string;
  length?: number;
  /** Unix milliseconds. */
  from?: number;
}

export function addWindow(program: Command, session: Session): void {
  const window = program.command('window').description('restore windows: when control may return to the edge by itself');
  window
    .command('next [location]')
    .description('the next openings, in the time zone of the location and in UTC, with clock changes; without a location those of --cron')
    .option('--count <count>', 'how many', wholeNumber, 5)
    .option('--cron <cron>', 'a rule to try out, such as "30 2 * * *"; needs no server')
    .option('--timezone <zone>', 'the time zone of --cron; UTC without it')
    .option('--length <duration>', 'how long that window is open, such as 90m; an hour without it', durationSeconds)
    .option('--from <time>', 'those after this moment, such as 2026-10-24 or 2026-10-24T18:00Z; after now without it', instantMs)
    .action(async (location: string | undefined, options: NextOptions) => showNext(session, location, options));

  dangerous(
    window
      .command('open <location>')
      .description('open the restore window now, so that control returns by itself as soon as it may')
      .requiredOption('--for <duration>', 'how long, such as 2m', durationSeconds),
  ).action(async (id: string, { for: seconds, ...options }: Danger & { for: number }) => {
    const question = `Open the restore window of ${clean(id)} for ${duration(seconds)}?`;
    await give(session, question, options, async (dry_run) =>
      (await session.client()).call(routes.windowOpen, { params: { id }, body: { seconds, dry_run } }),
    );
  });

  dangerous(window.command('close <location>').description('end the restore window that is open now; the next one comes as ever')).action(
    async (id: string, options: Danger) => {
      await give(session, `Close the restore window of ${clean(id)}?`, options, async (dry_run) =>
        (await session.client()).call(routes.windowClose, { params: { id }, body: { dry_run } }),
      );
    },
  );
}

async function give(session: Session, question: string, options: Danger, order: (dryRun: boolean) => Promise<Order>): Promise<void> {
  session.requireConfirmable(options);
  const show = ({ before, after, summary }: Order): string => `${locationDifference(session, before, after)}${clean(summary)}\n`;
  if (options.dryRun !== true && options.yes !== true) await session.confirm(question, show(await order(true)), options);
  const done = await order(options.dryRun === true);
  session.result(done, () => `${show(done)}${done.dry_run ? 'Dry run: nothing was changed.\n' : ''}`);
}

async function showNext(session: Session, id: string | undefined, options: NextOptions): Promise<void> {
  if ((id === undefined) === (options.cron === undefined)) {
    throw usageFailure(
      'name either a location or a rule with --cron',
      'holdfast window next berlin, or holdfast window next --cron "30 2 * * *" --timezone Europe/Berlin',
    );
  }
  if (options.cron === undefined && (options.timezone !== undefined || options.length !== undefined)) {
    throw usageFailure('--timezone and --length belong to --cron; a location has its own', 'leave them out, or give --cron');
  }
  const location = id === undefined ? null : await (await session.client()).call(routes.edgeShow, { params: { id } });
  const window = location === null ? tried(options) : ruleOf(location);
  const openings = previewWindow(window, options.from ?? session.deps.clock.wallMs(), options.count);
  const { start, lengthSeconds, timezone } = window;
  const value = {
    location: location?.id ?? null,
    open: location?.window.open ?? null,
    start,
    length: lengthSeconds,
    timezone,
    openings: openings.map((opening) => ({
      opens: opening.opensMs / 1_000,
      closes: opening.closesMs / 1_000,
      opens_local: opening.opensLocal,
      closes_local: opening.closesLocal,
      notes: opening.notes,
    })),
  };
  session.result(value, () => {
    const rule = `Opens at "${clean(start)}" (minute, hour, day of month, month, day of week) in ${clean(timezone)}, for ${duration(lengthSeconds)}.\n`;
    return `${rule}${openNow(location)}${openingsTable(session, openings)}`;
  });
}

/** Throws INPUT_INVALID, which names the field: the words of the document are those of the options. */
function tried({ cron = '', timezone = 'UTC', length = 3_600 }: NextOptions): RestoreWindow {
  if (length > WINDOW_MAX_SECONDS) throw usageFailure(`--length: no window may be open for ${duration(length)}`, 'give 7d at most; apply refuses more');
  const window = parseRestoreWindow({ window_start: cron, timezone, window_length: length });
  if (window === null) throw usageFailure('--cron is empty', 'holdfast window next --help');
  return window;
}

function ruleOf({ id, window: { schedule } }: Location): RestoreWindow {
  if (schedule === null) throw new CliFailure(
    `${id} has no restore window: only an operator hands back`,
    `holdfast location handback ${id}, or set window_start with holdfast apply`,
  );
  return { start: schedule.start, lengthSeconds: schedule.length, timezone: schedule.timezone };
}

function openNow(location: Location | null): string {
  if (location === null || !location.window.open) return '';
  const { closes } = location.window;
  return `It is open now${closes === null ? '' : `, until ${instant(closes)}`}.\n`;
}

function openingsTable(session: Session, openings: PreviewedOpening[]): string {
  if (openings.length === 0) return 'It never opens.\n';
  const rows = openings.map((opening) => [
    opening.opensLocal,
    opening.closesLocal,
    instant(opening.opensMs / 1_000),
    instant(opening.closesMs / 1_000),
    opening.notes.join('; '),
  ]);
  return session.table(['OPENS', 'CLOSES', 'OPENS (UTC)', 'CLOSES (UTC)', 'CLOCKS'], rows);
}
