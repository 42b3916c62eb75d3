import { createInterface } from 'node:readline';
import { type Location, routes } from '../client-sdk/index.ts';
import type { DemoEdge, Federation } from './federation.ts';

export interface ConsoleOptions {
  federation: Federation;
  signal: AbortSignal;
  print(text: string): void;
  table(locations: Location[]): string;
}

const POLL_MS = 250;
const WINDOW_SECONDS = 120;

const HELP = `Try:
  kill berlin      end the process of the edge (kill -9)     start berlin     start it again
  freeze berlin    stop it without ending it (SIGSTOP)       thaw berlin      let it go on
  cut berlin       cut its line to the master                heal berlin      mend the line
  silence berlin   half-open line: nobody hears that it died
  window berlin    open its restore window for two minutes
  takeover berlin  order control to the master               handback berlin  order it back
  kill master      and: start master                         status · help · quit
`;

/** The demo for people: a table whenever something moves, and commands that break things. */
export async function runConsole(options: ConsoleOptions): Promise<void> {
  const { federation, signal, print } = options;
  print(welcome(federation));
  const done = new AbortController();
  const input = createInterface({ input: process.stdin });
  input.on('line', (line) => {
    const [verb = '', target = ''] = line.trim().split(/\s+/);
    if (verb === 'quit' || verb === 'exit') done.abort();
    else if (verb !== '') void act(options, verb, target).catch((error: unknown) => print(`error: ${messageOf(error)}\n`));
  });
  const ended = AbortSignal.any([signal, done.signal]);
  try {
    await showMoves(options, ended);
  } finally {
    input.close();
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function welcome({ master, edges, apiKey, dataDir }: Federation): string {
  const rows = [
    `  master   ${master.origin}   pid ${master.process.pid}`,
    ...edges.map(({ id, origin, process: { pid } }) => `  ${id.padEnd(8)} ${origin}   pid ${pid}`),
  ];
  return [
    '',
    'A federation runs on this machine: one master, two edges, simulated devices, each in its own process.',
    ...rows,
    `  data and logs: ${dataDir}`,
    '',
    'In another terminal:',
    `  export HOLDFAST_SERVER=${master.origin} HOLDFAST_KEY=${apiKey}`,
    '  npx holdfast status -w',
    '  npx holdfast exec sys-berlin Display_1 power true',
    '',
    HELP,
  ].join('\n');
}

const whatMoves = ({ holder, state, reason, link, epoch, modules }: Location) => ({ holder, state, reason, link, epoch, modules });

/** The master's table whenever it differs from the last one, without what only counts seconds. */
async function showMoves({ federation, print, table }: ConsoleOptions, signal: AbortSignal): Promise<void> {
  const client = federation.client();
  let shown = '';
  try {
    while (!signal.aborted) {
      const locations = await client.call(routes.edgeList, {}, { timeoutMs: 2_000 }).catch(() => null);
      const now = locations === null ? 'the master does not answer' : JSON.stringify(locations.map(whatMoves));
      if (now !== shown) {
        shown = now;
        print(locations === null ? `${now}\n\n` : `${table(locations)}\n`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  } finally {
    client.close();
  }
}

async function act(options: ConsoleOptions, verb: string, target: string): Promise<void> {
  const { federation, print, table } = options;
  if (verb === 'help') return print(HELP);
  if (verb === 'status') {
    const client = federation.client();
    print(table(await client.call(routes.edgeList, {})));
    return client.close();
  }
  const problem = problemOf(verb, target, federation.edges.map(({ id }) => id));
  if (problem !== null) return print(problem);
  if (target === 'master') return actOnMaster(federation, verb);
  const edge = federation.edge(target);
  if (edge !== undefined) await actOnEdge(federation, verb, edge);
}

const ofMaster = ['kill', 'freeze', 'thaw', 'start'];
const ofEdges = [...ofMaster, 'cut', 'silence', 'heal', 'window', 'takeover', 'handback'];

/** Why the line says nothing that can be done; null: it does. */
export function problemOf(verb: string, target: string, edges: readonly string[]): string | null {
  if (!ofEdges.includes(verb)) return `Unknown command ${verb}.\n${HELP}`;
  if (target === '') return `${verb} what? Such as: ${verb} ${edges[0] ?? 'master'}\n`;
  if (target !== 'master') return edges.includes(target) ? null : `There is no ${target}; there are ${[...edges, 'master'].join(', ')}.\n`;
  return ofMaster.includes(verb) ? null : `${verb} is for an edge, such as: ${verb} ${edges[0] ?? 'berlin'}. The master takes ${ofMaster.join(', ')}.\n`;
}

async function actOnMaster(federation: Federation, verb: string): Promise<void> {
  if (verb === 'kill') federation.master.process.signal('SIGKILL');
  if (verb === 'freeze') federation.master.process.signal('SIGSTOP');
  if (verb === 'thaw') federation.master.process.signal('SIGCONT');
  if (verb === 'start') await federation.restartMaster();
}

async function actOnEdge(federation: Federation, verb: string, edge: DemoEdge): Promise<void> {
  switch (verb) {
    case 'kill':
      edge.process.signal('SIGKILL');
      break;
    case 'freeze':
      edge.process.signal('SIGSTOP');
      break;
    case 'thaw':
      edge.process.signal('SIGCONT');
      break;
    case 'start':
      await federation.restartEdge(edge.id);
      break;
    case 'cut':
      edge.relay.set('cut');
      break;
    case 'silence':
      edge.relay.set('silent');
      break;
    case 'heal':
      edge.relay.set('open');
      break;
    case 'window':
    case 'takeover':
    case 'handback': {
      const client = federation.client();
      const params = { id: edge.id };
      if (verb === 'window') await client.call(routes.windowOpen, { params, body: { seconds: WINDOW_SECONDS } });
      else await client.call(verb === 'takeover' ? routes.takeover : routes.handback, { params, body: {} });
      client.close();
      break;
    }
  }
}
