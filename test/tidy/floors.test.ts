import { describe, expect, it } from 'vitest';
import { type Import, importsOf, packageOf } from './support/imports.ts';
import { exists, read, sourceFiles } from './support/sources.ts';

/** ARCHITECTURE.md, "Floors": imports go down, or sideways within a floor. The longest path that fits counts. */
const floors: readonly (readonly [path: string, floor: number])[] = [
  ['src/shared/foundation/', 0],
  ['src/shared/model/', 1],
  ['src/shared/link/', 2],
  ['src/shared/control/', 2],
  ['src/shared/triggers/', 2],
  ['src/shared/client-api/', 2],
  ['src/shared/ports/', 2],
  ['src/driver-sdk/', 2],
  ['src/client-sdk/', 2],
  ['src/shared/runtime/', 3],
  ['src/shared/api/', 3],
  ['src/drivers/', 3],
  ['src/shared/adapters/', 4],
  ['src/edge/', 5],
  ['src/master/', 5],
  ['src/edge/compose.ts', 6],
  ['src/master/compose.ts', 6],
  ['src/driver-host/', 6],
  ['src/driver-tools/', 6],
  ['src/sim/', 6],
  ['src/cli/', 7],
  ['src/demo/', 7],
  ['src/assemble.ts', 7],
  ['src/checks.ts', 7],
  ['src/data-files.ts', 7],
  ['src/inspect.ts', 7],
  ['src/local-commands.ts', 7],
  ['src/open-store.ts', 7],
  ['src/serve.ts', 7],
  ['src/main.ts', 7],
];

interface Wall {
  from: RegExp;
  /** What may not be imported. `$1` is what `from` caught first. */
  to: (caught: string) => RegExp;
  reason: string;
}

/** What floors alone do not say. */
const walls: readonly Wall[] = [
  {
    from: /^src\/edge\//,
    to: () => /^src\/master\//,
    reason: 'an edge must run without a master; what both need belongs to src/shared',
  },
  {
    from: /^src\/master\//,
    to: () => /^src\/edge\//,
    reason: 'a master must run without an edge; what both need belongs to src/shared',
  },
  {
    from: /^src\/shared\//,
    to: () => /^src\/(?!shared\/)/,
    reason: 'src/shared serves both roles and knows neither of them, nor the programs around them',
  },
  {
    from: /^src\/shared\/adapters\/([^/]+)\//,
    to: (adapter) => new RegExp(`^src/shared/adapters/(?!${adapter}/)`),
    reason: 'each adapter can be replaced alone: a port lies between it and everything else',
  },
  {
    from: /^src\/drivers\/([^/]+)\//,
    to: (driver) => new RegExp(`^src/(?!driver-sdk/|drivers/${driver}/)`),
    reason: 'a driver is written against the driver SDK only, as one from outside would be',
  },
  {
    from: /^src\/client-sdk\//,
    to: () => /^src\/(?!client-sdk\/|shared\/(?:client-api|model|foundation)\/)/,
    reason: 'a client knows what clients speak, not the server',
  },
  {
    from: /^src\/cli\//,
    to: () => /^src\/(?:edge|master|sim|driver-host|driver-tools|demo)\/|^src\/shared\/(?:runtime|api|adapters)\//,
    reason: 'commands talk to a server through the client SDK; what runs in this process is handed to them (src/cli/deps.ts)',
  },
  {
    from: /^src\/(?:edge|master)\/(?!compose\.ts)/,
    to: () => /^src\/shared\/adapters\//,
    reason: 'nodes know ports; only compose.ts picks adapters, so that the simulator can run the very same node',
  },
];

/** Each with its reason; one that nothing needs any more is refused. */
const exceptions: readonly { from: RegExp; to: RegExp; reason: string }[] = [
  {
    from: /^src\/shared\/adapters\/(?:store|journal|credentials|events)-embedded\//,
    to: /^src\/shared\/adapters\/sqlite\//,
    reason: 'adapters/sqlite is no adapter of a port but the vendor behind four: the SQLite API of Node and the thread that owns a file',
  },
  {
    from: /^src\/edge\/edge-certificate\.ts$/,
    to: /^src\/shared\/adapters\/tls\//,
    reason: 'the certificate of the client API is handed in by compose.ts and is no part of the node that the simulator runs',
  },
];

/** Where each package may be imported: one vendor, one place. */
const packages: Readonly<Record<string, RegExp>> = {
  '@fastify/helmet': /^src\/shared\/adapters\/http\//,
  '@fastify/rate-limit': /^src\/shared\/adapters\/http\//,
  '@peculiar/x509': /^src\/shared\/adapters\/tls\//,
  '@photostructure/sqlite': /^src\/shared\/adapters\/sqlite\//,
  commander: /^src\/cli\//,
  couchbase: /^src\/shared\/adapters\/store-couchbase\//,
  'cron-parser': /^src\/shared\/control\/cron\.ts$/,
  esbuild: /^src\/driver-tools\/compile\.ts$/,
  fastify: /^src\/shared\/adapters\/http\//,
  'net-snmp': /^src\/drivers\/snmp\//,
  pino: /^src\/shared\/adapters\/log\//,
  'prom-client': /^src\/shared\/adapters\/metrics\//,
  'reflect-metadata': /^src\/shared\/adapters\/tls\//,
  ws: /^src\/(?:shared\/adapters\/(?:link|client)-ws\/|client-sdk\/node-socket\.ts$)/,
  yaml: /^src\/(?:shared\/runtime\/site-files\/|demo\/)/,
  zod: /^src\//,
};

const floorOf = (path: string): number | undefined =>
  floors.filter(([prefix]) => path.startsWith(prefix)).toSorted(([a], [b]) => b.length - a.length)[0]?.[1];

const own = sourceFiles().flatMap((file) => importsOf(file)).filter((imported) => imported.own);
const foreign = sourceFiles().flatMap((file) => importsOf(file)).filter((imported) => !imported.own && !imported.to.startsWith('node:'));
const isExcepted = ({ from, to }: Import): boolean => exceptions.some((exception) => exception.from.test(from) && exception.to.test(to));

function wallBetween({ from, to }: Import): Wall | null {
  return walls.find((wall) => {
    const match = wall.from.exec(from);
    return match !== null && wall.to(match[1] ?? '').test(to);
  }) ?? null;
}

describe('import floors', () => {
  it('gives every source file a floor', () => {
    expect(sourceFiles().filter((file) => floorOf(file) === undefined)).toEqual([]);
  });

  it('finds every import in a file that is there', () => {
    expect(own.length).toBeGreaterThan(500);
    expect(own.filter(({ to }) => !exists(to))).toEqual([]);
  });

  it('goes down or sideways, never up: what is below must not need what is above', () => {
    const upward = own
      .filter((imported) => (floorOf(imported.to) ?? 0) > (floorOf(imported.from) ?? 0) && !isExcepted(imported))
      .map(({ from, to }) => `${from} (F${floorOf(from)}) imports ${to} (F${floorOf(to)}): move what both need to the lower floor`);
    expect(upward).toEqual([]);
  });

  it('passes no wall', () => {
    const through = own.flatMap((imported) => {
      const wall = isExcepted(imported) ? null : wallBetween(imported);
      return wall === null ? [] : [`${imported.from} imports ${imported.to}: ${wall.reason}`];
    });
    expect(through).toEqual([]);
  });

  it('keeps no exception that nothing needs', () => {
    const needless = exceptions.filter(
      (exception) => !own.some((imported) => exception.from.test(imported.from) && exception.to.test(imported.to)),
    );
    expect(needless).toEqual([]);
  });

  it('would see an import that goes up, one through a wall, and types and dynamic imports like others', () => {
    const seen = importsOf(
      'src/shared/control/decide.ts',
      [
        "import type { A } from '../runtime/proxy.ts';",
        "// import { B } from '../api/api.ts';",
        "const text = \"import x from '../api/auth.ts'\";",
        "const c = await import('../ports/clock.ts');",
        "import '../../edge/edge-node.ts';",
      ].join('\n'),
    );
    expect(seen.map(({ to }) => to)).toEqual(['src/shared/runtime/proxy.ts', 'src/shared/ports/clock.ts', 'src/edge/edge-node.ts']);
    expect(seen.map(({ to }) => floorOf(to))).toEqual([3, 2, 5]);
    expect(wallBetween({ from: 'src/edge/a.ts', to: 'src/master/b.ts', own: true })?.reason).toContain('without a master');
    expect(wallBetween({ from: 'src/shared/adapters/tls/a.ts', to: 'src/shared/adapters/http/b.ts', own: true })).not.toBeNull();
    expect(wallBetween({ from: 'src/shared/adapters/tls/a.ts', to: 'src/shared/adapters/tls/b.ts', own: true })).toBeNull();
  });
});

describe('packages', () => {
  const manifest = JSON.parse(read('package.json')) as Record<'dependencies' | 'devDependencies' | 'peerDependencies', Record<string, string>>;

  it('are imported in their one place', () => {
    const elsewhere = foreign
      .filter(({ from, to }) => !(packages[packageOf(to)]?.test(from) ?? false))
      .map(({ from, to }) => `${from} imports ${to}: a package is imported in one place, named in this test, so that it can be replaced`);
    expect(elsewhere).toEqual([]);
  });

  it('are dependencies exactly when something imports them', () => {
    // Loaded by name, for it is not needed on every version of Node.
    const imported = new Set([...foreign.map(({ to }) => packageOf(to)), '@photostructure/sqlite']);
    // A peer is installed by whoever needs it.
    expect(Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies }).toSorted()).toEqual([...imported].toSorted());
    expect(Object.keys(packages).toSorted()).toEqual([...imported].toSorted());
  });

  it('are each explained in docs/decisions/0001-dependencies.md', () => {
    const explained = [...read('docs/decisions/0001-dependencies.md').matchAll(/^\| `([^`]+)` \|/gm)].map((match) => match[1] ?? '');
    expect(explained.toSorted()).toEqual([...Object.keys(manifest.dependencies), ...Object.keys(manifest.devDependencies)].toSorted());
  });
});
