import type { Command } from 'commander';
import { routes, type Started } from '../../client-sdk/index.ts';
import { limits } from '../../shared/model/limits.ts';
import { type Cell, clean, plural } from '../format.ts';
import type { Session } from '../session.ts';

/** The server answers in time; a little more is for the way. */
export const PATIENCE_MS = limits.requestMs + 5_000;

export const startedText = ({ changed, modules }: Started, action: 'start' | 'stop'): string => {
  const others = modules - changed;
  const rest = others === 0 ? '' : `, ${others} ${others === 1 ? 'is' : 'are'} so already`;
  return `${plural(changed, 'module')} to ${action}${rest}.\n`;
};

interface Wish {
  action: 'start' | 'stop';
  route: typeof routes.moduleStart | typeof routes.moduleStop | typeof routes.systemStart | typeof routes.systemStop;
  description: string;
}

function addWish(parent: Command, session: Session, { action, route, description }: Wish): void {
  parent
    .command(`${action} <id>`)
    .description(description)
    .action(async (id: string) => {
      const started = await (await session.client()).call(route, { params: { id } }, { timeoutMs: PATIENCE_MS });
      session.result(started, () => startedText(started, action));
    });
}

/** Modules by their ids. */
export function addModule(program: Command, session: Session): void {
  const module = program.command('module').description('start, stop, load and unload modules');
  addWish(module, session, { action: 'start', route: routes.moduleStart, description: 'want a module to run; whoever controls it follows' });
  addWish(module, session, { action: 'stop', route: routes.moduleStop, description: 'want a module to be stopped; whoever controls it follows' });
  module
    .command('load <id>')
    .description('start a module that is wanted to run anew, with the newest code of its driver')
    .action(async (id: string) => {
      const loaded = await (await session.client()).call(routes.moduleLoad, { params: { id } }, { timeoutMs: limits.reloadMs + 5_000 });
      session.result(loaded, () => `${clean(id)} was loaded at ${clean(loaded.served_by)}.\n`);
    });
  module
    .command('unload <id>')
    .description('stop a module where it runs, until it is loaded or started, or control moves; its document stays as it is')
    .action(async (id: string) => {
      const unloaded = await (await session.client()).call(routes.moduleUnload, { params: { id } }, { timeoutMs: PATIENCE_MS });
      session.result(unloaded, () => `${clean(id)} was unloaded at ${clean(unloaded.served_by)}.\n`);
    });
}

/** Their systems. */
export function addSystem(program: Command, session: Session): void {
  const system = program.command('system').description('start and stop systems, and have them read anew');
  const but = 'but those with ignore_startstop';
  addWish(system, session, { action: 'start', route: routes.systemStart, description: `want the modules of a system to run, ${but}` });
  addWish(system, session, { action: 'stop', route: routes.systemStop, description: `want the modules of a system to be stopped, ${but}` });
  system
    .command('expire <id>')
    .description('have the servers read a system anew: which module each of its names means')
    .action(async (id: string) => {
      const { modules, nodes, failures } = await (await session.client()).call(routes.systemExpire, { params: { id } }, { timeoutMs: PATIENCE_MS });
      session.result({ id, modules, nodes, failures }, () => {
        const rows = modules.map((one): Cell[] => [`${one.name}_${one.index}`, one.id]);
        const missed = failures.map(({ location, message }) => `Not at ${clean(location)}: ${clean(message)}\n`);
        return `${session.table(['NAME', 'MODULE'], rows)}Read anew at ${nodes.map(clean).join(', ')}.\n${missed.join('')}`;
      });
    });
}
