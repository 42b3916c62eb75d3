import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { formatEpoch } from '../../src/shared/control/epoch.ts';
import { controlMessageSchemas } from '../../src/shared/control/messages.ts';
import type { Durable } from '../../src/shared/control/step.ts';
import { epochSchema, termsSchema, type Party } from '../../src/shared/model/control.ts';
import { edgeDrives, findProblem, masterDrives } from '../../src/sim/invariants.ts';
import type { WriteLine } from './write-log.ts';

/** What servers with HOLDFAST_LOG=debug say about control, as facts for the same checkers that judge the simulator. */

const recordSchema = z.object({
  epoch: epochSchema,
  floor: epochSchema,
  holder: z.enum(['edge', 'master', 'none']),
  reason: z.string(),
  terms: termsSchema,
});
const common = { time: z.string().transform((time) => Date.parse(time)), server: z.enum(['edge', 'master']) };
const message = z.discriminatedUnion('t', [
  controlMessageSchemas.hello,
  controlMessageSchemas.negotiate,
  controlMessageSchemas['control.granted'],
  controlMessageSchemas['control.release'],
  controlMessageSchemas['control.released'],
  controlMessageSchemas['control.claimed'],
  controlMessageSchemas['control.accepted'],
  controlMessageSchemas['control.renegotiate'],
  controlMessageSchemas['control.renew'],
  controlMessageSchemas['control.renewed'],
]);
const lineSchema = z.discriminatedUnion('event', [
  z.object({ event: z.literal('control-booted'), ...common, location: z.string(), stored: recordSchema.nullable(), record: recordSchema }),
  z.object({ event: z.literal('control-stored'), ...common, location: z.string(), record: recordSchema }),
  z.object({ event: z.literal('control-sent'), ...common, location: z.string(), state: z.string(), message }),
  z.object({ event: z.literal('control'), ...common, location: z.string(), state: z.string() }),
  z.object({ event: z.literal('starting'), ...common }),
]);
export type ControlLine = z.output<typeof lineSchema>;
const known = new Set(['control-booted', 'control-stored', 'control-sent', 'control', 'starting']);

/** The lines of one server's log, over all its lives. */
export function readControlLog(file: string): ControlLine[] {
  const lines: ControlLine[] = [];
  for (const text of readFileSync(file, 'utf8').split('\n')) {
    if (!text.startsWith('{') || !text.endsWith('}')) continue;
    const line = JSON.parse(text) as { event?: string };
    if (known.has(line.event ?? '')) lines.push(lineSchema.parse(line));
  }
  return lines;
}

/** Logs of one location: of its edge, of the master, and what both wrote to devices. Node ids as in the writes. */
export interface LocationLogs {
  location: string;
  edge: { id: string; lines: ControlLine[] };
  master: { id: string; lines: ControlLine[] };
  writes: readonly WriteLine[];
}

interface Deed {
  party: Party;
  epoch: string;
}

/** Invariants 1 to 4 as far as logs show them: sockets and gates are seen in the writes that leave. Empty: nothing is wrong. */
export function controlProblems({ location, edge, master, writes }: LocationLogs): string[] {
  const found: string[] = [];
  const holders = new Map<string, Party>();
  for (const [party, { id, lines }] of [['edge', edge], ['master', master]] as const) {
    const mine = writes.filter((write) => write.location === location && write.node === id);
    let journal: Durable | null = null;
    let releasedMs: number | null = null;
    const judge = (problem: string | null): void => {
      if (problem !== null) found.push(`${id}: ${problem}`);
    };
    const checkSilence = (untilMs: number): void => {
      const sinceMs = releasedMs ?? untilMs;
      const late = mine.filter(({ wallMs }) => wallMs > sinceMs && wallMs < untilMs);
      if (late[0] !== undefined) found.push(`${id}: wrote ${late.length} times after it had released, at ${formatEpoch(late[0].epoch)}`);
      releasedMs = null;
    };
    for (const line of lines) {
      if (line.event === 'starting' || line.location !== location) continue;
      if (line.event === 'control-booted') {
        // A kill may have come between a write and its line in the log.
        if (line.stored !== null) judge(findProblem({ type: 'journal-written', party, before: journal, record: line.stored }));
        judge(findProblem({ type: 'booted', party, stored: line.stored, durable: line.record }));
        journal = line.stored;
      } else if (line.event === 'control-stored') {
        judge(findProblem({ type: 'journal-written', party, before: journal, record: line.record }));
        journal = line.record;
        if (journal.holder !== party) continue;
        checkSilence(line.time);
        judge(secondHolder(holders, { party, epoch: formatEpoch(journal.epoch) }));
      } else if (line.event === 'control-sent') {
        const node = { journal, behind: false, socketsOpen: party === 'edge' && edgeDrives(line.state), gate: null };
        judge(findProblem({ type: 'sent', party, message: line.message, state: line.state, node }));
        if (line.message.t === (party === 'edge' ? 'control.released' : 'control.granted') && journal?.holder !== party) releasedMs ??= line.time;
      }
    }
    checkSilence(Infinity);
  }
  return found;
}

/** Invariant 2. */
function secondHolder(holders: Map<string, Party>, { party, epoch }: Deed): string | null {
  const first = holders.get(epoch) ?? party;
  holders.set(epoch, first);
  return first === party ? null : `holds under ${epoch}, under which the ${first} held`;
}

/** Milliseconds in which both said that they drive, by the one wall clock of the machine. */
export function bothDroveMs({ location, edge, master }: LocationLogs): number {
  let total = 0;
  for (const a of driven(location, edge.lines, edgeDrives)) {
    for (const b of driven(location, master.lines, masterDrives)) total += Math.max(0, Math.min(a.untilMs, b.untilMs) - Math.max(a.fromMs, b.fromMs));
  }
  return total;
}

function driven(location: string, lines: readonly ControlLine[], drives: (state: string) => boolean): { fromMs: number; untilMs: number }[] {
  const found: { fromMs: number; untilMs: number }[] = [];
  let fromMs: number | null = null;
  let lastMs = 0;
  const end = (untilMs: number): void => {
    if (fromMs !== null) found.push({ fromMs, untilMs });
    fromMs = null;
  };
  for (const line of lines) {
    // What a killed process said last is the last that is known of it.
    if (line.event === 'starting') end(lastMs);
    else if (line.event === 'control' && line.location === location) {
      if (!drives(line.state)) end(line.time);
      else fromMs ??= line.time;
    }
    lastMs = line.time;
  }
  end(Infinity);
  return found;
}
