import { Command, CommanderError, Option } from 'commander';
import { HoldfastError } from '../client-sdk/index.ts';
import { addApply } from './commands/apply.ts';
import { addBackup } from './commands/backup.ts';
import { addDebug } from './commands/debug.ts';
import { addBundle } from './commands/bundle.ts';
import { addDemo } from './commands/demo.ts';
import type { CliDeps } from './deps.ts';
import { addDoctor } from './commands/doctor.ts';
import { addDriver } from './commands/driver.ts';
import { addEdge } from './commands/edge.ts';
import { addEvents } from './commands/events.ts';
import { addExec } from './commands/exec.ts';
import { addExport } from './commands/export.ts';
import { exitCodeHelp, exitCodes, interruption, toFailure, usageFailure } from './failures.ts';
import type { CliFailure } from './failures.ts';
import { cleanLines } from './format.ts';
import { addImport } from './commands/import.ts';
import { addIndex } from './commands/index-rebuild.ts';
import { addGet } from './commands/get.ts';
import { addKey } from './commands/key.ts';
import { addLocation } from './commands/location.ts';
import { addMethods } from './commands/methods.ts';
import { addModel } from './commands/model.ts';
import { addModule, addSystem } from './commands/module.ts';
import { addRequests } from './commands/requests.ts';
import { addRestore } from './commands/restore.ts';
import { addServe } from './commands/serve.ts';
import { Session } from './session.ts';
import type { GlobalOptions } from './session.ts';
import { addSettings } from './commands/settings.ts';
import { addSim } from './commands/sim.ts';
import { addStatus } from './commands/status.ts';
import { addToken } from './commands/token.ts';
import { addTrigger } from './commands/trigger.ts';
import { addVerify } from './commands/verify.ts';
import { addWatch } from './commands/watch.ts';
import { addXdcr } from './commands/xdcr.ts';
import { addWindow } from './commands/window.ts';

const commands = [
  addServe,
  addDemo,
  addStatus,
  addLocation,
  addWindow,
  addSystem,
  addModule,
  addEdge,
  addApply,
  addExport,
  addExec,
  addMethods,
  addGet,
  addWatch,
  addDebug,
  addRequests,
  addTrigger,
  addEvents,
  addDoctor,
  addBundle,
  addKey,
  addToken,
  addSettings,
  addDriver,
  addBackup,
  addVerify,
  addRestore,
  addIndex,
  addImport,
  addXdcr,
  addSim,
  addModel,
];

/** The whole command line. It throws what goes wrong; `runCli` says it. */
export function createProgram(deps: CliDeps): { program: Command; session: Session } {
  const program = new Command('holdfast')
    .description('Edge/master failover federation server for buildings, campuses and venues')
    .version(deps.version)
    .option('--server <origin>', 'the server to ask (HOLDFAST_SERVER; default http://127.0.0.1:8080)')
    .option('--key <key>', 'API key; others can read it in the list of processes: better set HOLDFAST_KEY')
    .addOption(new Option('-o, --output <form>', 'form of results').choices(['table', 'json']).default('table'))
    .addHelpText('after', `\nHOLDFAST_CA names a PEM file of the authority that signed the certificate of the server.${exitCodeHelp}`)
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => deps.stdout.write(text),
      writeErr: (text) => deps.stderr.write(text),
      // Said by `runCli`, in one form with every other error.
      outputError: () => undefined,
    });
  const session = new Session(deps, () => program.opts<GlobalOptions>());
  for (const add of commands) add(program, session);
  return { program, session };
}

/** Runs one command line (without the names of program and script) and returns its exit code. Never throws. */
export async function runCli(deps: CliDeps, argv: string[]): Promise<number> {
  const { program, session } = createProgram(deps);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCodes.ok;
  } catch (error) {
    const failure = error instanceof CommanderError ? ofCommander(error) : wasInterrupted(deps, error) ? interruption() : toFailure(error);
    if (failure === null) return exitCodes.ok;
    deps.stderr.write(`error: ${cleanLines(failure.message)}\nnext: ${cleanLines(failure.next)}\n`);
    return failure.exitCode;
  } finally {
    session.close();
  }
}

const wasInterrupted = ({ signal }: CliDeps, error: unknown): boolean =>
  signal.aborted && (error === signal.reason || (error instanceof HoldfastError && error.code === 'CANCELLED'));

/** null: help or the version was asked for, and printed. */
function ofCommander(error: CommanderError): CliFailure | null {
  if (error.exitCode === 0) return null;
  // Without a command the help was printed as the error.
  if (error.code === 'commander.help') return usageFailure('a command is missing', 'choose one of those above');
  return usageFailure(error.message.replace(/^error: /, '').replaceAll('\n', ' '), 'holdfast --help, or --help after a command');
}
