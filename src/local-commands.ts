import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterAccess, DemoReport, LocalCommands } from './cli/deps.ts';
import { CliFailure } from './cli/failures.ts';
import type { Federation } from './demo/federation.ts';
import { createSystemClock } from './shared/adapters/clock/system-clock.ts';
import type { StoreConfig } from './shared/model/config.ts';
import { HoldfastError } from './shared/model/errors.ts';
import type { Cluster } from './shared/runtime/documents/xdcr.ts';

/** The commands that run in this process rather than at a server. Each loads its part of the program when it is called: a server starts sooner. */
export const localCommands: LocalCommands = {
  async serve({ signal: interrupted, withParent }) {
    const { startServer } = await import('./serve.ts');
    const signal = withParent ? AbortSignal.any([interrupted, endOfInput()]) : interrupted;
    try {
      const server = await startServer(process.env, signal);
      await aborted(signal);
      await server.close();
    } catch (error) {
      // Told to end while it was starting.
      if (signal.aborted && error === signal.reason) return;
      throw error instanceof HoldfastError ? new CliFailure(error.message, error.help) : error;
    } finally {
      // What is still read keeps a process alive.
      process.stdin.pause();
    }
  },

  async demo({ signal, json, print, note, table }) {
    const [{ Federation }, { runConsole }] = await Promise.all([import('./demo/federation.ts'), import('./demo/console.ts')]);
    const federation = await Federation.start({ signal, progress: (line) => note(`… ${line}`) });
    try {
      if (json) {
        print(`${JSON.stringify(describe(federation))}\n`);
        await aborted(signal);
      } else {
        await runConsole({ federation, signal, print, table });
      }
    } finally {
      await federation.close();
    }
  },

  inspect: async (options) => (await import('./inspect.ts')).inspect(options),

  async verify({ path }) {
    const { verifyStore } = await import('./shared/adapters/store-embedded/restore.ts');
    return { problems: verifyStore(path) };
  },

  async restore({ backup, data, dryRun }) {
    const [{ dataFiles }, { restoreStore, verifyStore }, { raiseGeneration }] = await Promise.all([
      import('./data-files.ts'),
      import('./shared/adapters/store-embedded/restore.ts'),
      import('./shared/adapters/journal-embedded/raise-generation.ts'),
    ]);
    const files = dataFiles(data);
    const problems = verifyStore(backup);
    if (problems.length > 0) throw new CliFailure(`${backup} is not a sound backup: ${problems[0]}`, `holdfast verify ${backup}`);
    const before = existsSync(files.documents) ? `${files.documents} has documents, which are replaced` : `${files.documents} does not exist`;
    const after = `the documents of ${backup}; nobody holds any location until control is negotiated anew, under a higher generation`;
    if (!dryRun) {
      restoreStore(backup, files.documents);
      if (existsSync(files.journal)) raiseGeneration(files.journal);
    }
    return { before, after, summary: `Restored ${join(data)} from ${backup}.` };
  },

  async importCouchbase({ from, env }) {
    const [store, { importForeign }] = await Promise.all([storeOf({ ...env, HOLDFAST_STORE: from }), import('./open-store.ts')]);
    if (store === null) throw new CliFailure('--from names nothing', 'give the address of the bucket');
    return importForeign(store);
  },

  async rebuildIndexes({ env, dryRun, signal }) {
    const [store, { rebuildSharedIndexes }] = await Promise.all([storeOf(env), import('./open-store.ts')]);
    if (store === null) throw new CliFailure('HOLDFAST_STORE is not set: documents in files have no indexes', 'run it with the environment of the server');
    return rebuildSharedIndexes(store, { dryRun, signal });
  },

  xdcr: {
    async setUp({ centre, site, signal, ...options }) {
      const { setUpXdcr } = await import('./shared/runtime/documents/xdcr.ts');
      const [from, to] = [await clusterOf('centre', centre, signal), await clusterOf('site', site, signal)];
      return setUpXdcr({ ...options, signal, clock: createSystemClock(), centre: from, site: to, siteCa: site.address.tls ? site.ca : null });
    },
    async states({ centre, signal, name }) {
      const { xdcrStates } = await import('./shared/runtime/documents/xdcr.ts');
      return xdcrStates({ name, signal, clock: createSystemClock(), centre: await clusterOf('centre', centre, signal) });
    },
    async remove({ centre, signal, ...options }) {
      const { removeXdcr } = await import('./shared/runtime/documents/xdcr.ts');
      return removeXdcr({ ...options, signal, clock: createSystemClock(), centre: await clusterOf('centre', centre, signal) });
    },
  },

  newSettingsKey: async () => {
    const [{ createSystemRandom }, { settingsKeyLine }] = await Promise.all([
      import('./shared/adapters/random/system-random.ts'),
      import('./shared/model/settings-keys.ts'),
    ]);
    return { line: settingsKeyLine(createSystemRandom().hex(32)) };
  },

  newDriver: async ({ name, folder }) => (await import('./driver-tools/new-driver.ts')).newDriver(name, folder),
  testDrivers: async (options) => (await import('./driver-tools/test-run.ts')).runDriverTests(options),
  checkDriver: async (options) => (await import('./driver-tools/check.ts')).checkDriver(options),

  sim: async (options) => (await import('./checks.ts')).sim(options),
  model: async (options) => (await import('./checks.ts')).model(options),
};

async function clusterOf(name: string, { address, password, ca }: ClusterAccess, signal: AbortSignal): Promise<Cluster> {
  const { createClusterRest } = await import('./shared/adapters/couchbase-rest/cluster-rest.ts');
  return { name, address, password, rest: createClusterRest({ origin: address.origin, user: address.user, password, ca, signal }) };
}

/** The role and the directory do not matter here, and the environment of an administrator may lack them. */
async function storeOf(env: Readonly<Record<string, string | undefined>>): Promise<StoreConfig | null> {
  const { parseConfig } = await import('./shared/model/config.ts');
  const variables = Object.entries(env).filter(([name]) => name.startsWith('HOLDFAST_STORE'));
  return parseConfig({ HOLDFAST_ROLE: 'master', HOLDFAST_DATA: '.', ...Object.fromEntries(variables) }, { cores: 1, hostname: '' }).store;
}

/** Aborts when whoever holds the other end of standard input is gone, however it went. */
function endOfInput(): AbortSignal {
  const ended = new AbortController();
  process.stdin.once('end', () => ended.abort());
  process.stdin.resume();
  return ended.signal;
}

function describe({ dataDir, apiKey, master, edges }: Federation): DemoReport {
  return {
    ready: true,
    dataDir,
    apiKey,
    masters: [{ id: master.id, origin: master.origin, link: master.link, pid: master.process.pid }],
    edges: edges.map(({ id, origin, process: { pid } }) => ({ id, location: id, origin, pid })),
    systems: edges.map(({ id }) => `sys-${id}`),
  };
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
