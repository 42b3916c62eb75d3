import type { LocalCommands } from './cli/deps.ts';
import { CliFailure } from './cli/failures.ts';

const absent = (name: string) => (): Promise<never> => Promise.reject(new CliFailure(`this build has no ${name}`, 'holdfast --help'));

/** The commands that run in this process. */
export const localCommands: LocalCommands = {
  serve: absent('serve'),
  demo: absent('demo'),
  verify: absent('verify'),
  restore: absent('restore'),
  sim: absent('sim'),
  model: absent('model'),
};
