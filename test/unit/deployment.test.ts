import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { type Config, parseConfig } from '../../src/shared/model/config.ts';
import { privateScope, storeAddressSchema } from '../../src/shared/model/store-address.ts';
import { collections, scopeOf } from '../../src/shared/adapters/store-couchbase/layout.ts';
import { parseSiteFile } from '../../src/shared/runtime/site-files/site-file.ts';
import { cli } from '../support/cli-run.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** docker-compose.yml, Dockerfile and docs/deploy.md against the program: what they name must be there and fit together. */
const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const exists = (path: string): boolean => existsSync(new URL(`../../${path}`, import.meta.url));

const serviceSchema = z.object({
  image: z.string(),
  environment: z.record(z.string(), z.string()).default({}),
  entrypoint: z.array(z.string()).default([]),
  command: z.array(z.string()).default([]),
  ports: z.array(z.string()).default([]),
  volumes: z.array(z.string()).default([]),
  secrets: z.array(z.string()).default([]),
  depends_on: z.record(z.string(), z.object({ condition: z.string() })).default({}),
  healthcheck: z.object({ test: z.array(z.string()).optional(), disable: z.boolean().optional() }).optional(),
  read_only: z.boolean().default(false),
  cap_drop: z.array(z.string()).default([]),
});
const composeSchema = z.object({
  services: z.record(z.string(), serviceSchema),
  secrets: z.record(z.string(), z.strictObject({ file: z.string() })),
  volumes: z.record(z.string(), z.null()),
});
const text = read('docker-compose.yml');
const { services, secrets, volumes } = composeSchema.parse(parse(text, { merge: true }));
const ours = Object.entries(services).filter(([, { image }]) => image === 'holdfast');
const servers = ours.filter(([, { environment }]) => environment['HOLDFAST_ROLE'] !== undefined);
const dockerfile = read('Dockerfile');
const imageEnvironment = { HOLDFAST_DATA: /HOLDFAST_DATA=(\S+)/.exec(dockerfile)?.[1] ?? '' };
const configOf = (environment: Record<string, string>): Config => parseConfig({ ...imageEnvironment, ...environment }, { cores: 2, hostname: 'box' });
const knownCommand = async (words: string[]): Promise<void> => {
  const { out, code } = await cli({ clock: new FakeClock() }, ...words, '--help');
  expect(code, words.join(' ')).toBe(0);
  expect(out).toContain(`holdfast ${words.join(' ')}`);
};

describe('docker-compose.yml', () => {
  it('has a master and two edges whose environment the program takes', () => {
    expect(servers.map(([name, { environment }]) => [name, configOf(environment).role])).toEqual([['master', 'master'], ['edge-berlin', 'edge'], ['edge-lisbon', 'edge']]);
  });

  it('publishes the ports on which the servers listen, to this machine only', () => {
    for (const [name, { environment, ports }] of servers) {
      const config = configOf(environment);
      expect(ports, name).toHaveLength(1);
      const [host, outside, inside] = ports[0]?.split(':') ?? [];
      expect([host, Number(inside)]).toEqual(['127.0.0.1', config.http.port]);
      expect(config.origin).toBe(`https://localhost:${outside}`);
      expect(dockerfile).toMatch(new RegExp(`^EXPOSE.* ${config.http.port}\\b`, 'm'));
      if (config.role === 'master') expect([config.advertise.host, config.advertise.port]).toEqual(['master', config.link.port]);
    }
  });

  it('has no secret that could be used as it is: each is a file that must be made', () => {
    for (const { file } of Object.values(secrets)) expect(exists(file), `${file} must not be in the repository`).toBe(false);
    expect(read('.gitignore')).toContain('secrets/');
    for (const [name, { environment, secrets: used }] of Object.entries(services)) {
      for (const secret of used) expect(secrets, `${name} uses ${secret}`).toHaveProperty(secret);
      for (const [variable, value] of Object.entries(environment)) {
        if (/PASSWORD|SECRET|KEY/.test(variable)) expect(value, `${name}: ${variable}`).toMatch(/^\/run\/secrets\//);
        if (value.startsWith('/run/secrets/')) expect(used).toContain(value.slice('/run/secrets/'.length));
      }
    }
  });

  it('keeps what must stay in volumes, and lets the program write nowhere else', () => {
    for (const [name, { environment, volumes: mounted, read_only, cap_drop }] of servers) {
      const data = mounted.find((mount) => mount.endsWith(`:${configOf(environment).data}`))?.split(':')[0] ?? '';
      expect(volumes, name).toHaveProperty(data);
      expect([name, read_only, cap_drop]).toEqual([name, true, ['ALL']]);
    }
    const used = Object.values(services).flatMap((service) => service.volumes.map((mount) => mount.split(':')[0] ?? ''));
    expect(used.filter((source) => source.startsWith('./')).filter((source) => !exists(source))).toEqual([]);
    expect([...new Set(used.filter((source) => !source.startsWith('./')))].toSorted()).toEqual(Object.keys(volumes).toSorted());
  });

  it('starts everything after what it needs, and knows when that is ready', () => {
    for (const [name, { depends_on }] of Object.entries(services)) {
      for (const [other, { condition }] of Object.entries(depends_on)) {
        expect(services, name).toHaveProperty(other);
        const checked = services[other]?.healthcheck?.test !== undefined || (services[other]?.image === 'holdfast' && services[other].healthcheck?.disable !== true);
        if (condition === 'service_healthy') expect(checked, `${name} waits for the health of ${other}`).toBe(true);
      }
    }
    expect(dockerfile).toContain('"docker/healthcheck.mjs"');
    expect(exists('docker/healthcheck.mjs')).toBe(true);
  });

  it('sets up the bucket, the user and the collections that the store of the master uses', () => {
    const address = storeAddressSchema.parse(servers[0]?.[1].environment['HOLDFAST_STORE']);
    const init = read('docker/couchbase-init.sh');
    expect(init).toContain(`--data name=${address.bucket} `);
    expect(init).toContain(`/settings/rbac/users/local/${address.user}"`);
    expect(services).toHaveProperty(address.hosts);
    for (const name of ['documents', 'indexes', 'log'] as const) expect(init).toContain(`\ncollection ${scopeOf(name, address.scope)} ${collections[name]}\n`.trimEnd());
    expect(scopeOf('log', address.scope)).toBe(privateScope(address.scope));
  });

  it('has a site whose edges and devices are its services', async () => {
    const { entries, problems } = await parseSiteFile(read('docker/site.yaml'));
    expect(problems).toEqual([]);
    const of = (type: string) => entries.map(({ document }) => document).filter((document) => document.type === type);
    for (const edge of of('edge')) {
      expect(services).toHaveProperty(`edge-${edge.id}`);
      expect(services[`edge-${edge.id}`]?.entrypoint.join(' ')).toContain(`/enrol/${edge.id})`);
      expect(read('docker/enrol.sh')).toMatch(new RegExp(`^for edge in .*\\b${edge.id}\\b`, 'm'));
    }
    for (const module of of('mod')) {
      if (module.type !== 'mod') continue;
      const command = services[module.ip]?.command ?? [];
      const [first, count] = [Number(command[command.indexOf('--base-port') + 1]), Number(command[command.indexOf('--ports') + 1])];
      expect(module.port, module.id).toBeGreaterThanOrEqual(first);
      expect(module.port, module.id).toBeLessThan(first + count);
    }
  });

  it('calls commands that exist, with options that they have', async () => {
    const script = read('docker/enrol.sh');
    const called = [...script.matchAll(/holdfast (apply|edge add)/g)].map((match) => match[1]?.split(' ') ?? []);
    expect(called).toHaveLength(2);
    for (const words of called) await knownCommand(words);
    const { out } = await cli({ clock: new FakeClock() }, 'apply', '--help');
    for (const option of ['-f', '--yes']) expect(out).toContain(option);
    await knownCommand(['serve']);
  });
});

describe('Dockerfile', () => {
  it('has two stages, ends as an ordinary user, and copies what is there', () => {
    expect(dockerfile.match(/^FROM /gm)).toHaveLength(2);
    const last = dockerfile.slice(dockerfile.lastIndexOf('FROM '));
    expect(last).toMatch(/^USER node$/m);
    const fromHere = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap((match) => match[1]?.split(' ') ?? []);
    expect(fromHere.filter((path) => !exists(path))).toEqual([]);
    // What the build needs must not be ignored.
    const sent = read('.dockerignore').split('\n').filter((line) => line.startsWith('!')).map((line) => line.slice(1));
    expect(fromHere.filter((path) => !sent.some((prefix) => path === prefix || path.startsWith(`${prefix}/`)))).toEqual([]);
  });

  it('installs the SDK that the program wants, runs the program, and runs on a Node that it takes', () => {
    const manifest = z.object({ bin: z.object({ holdfast: z.string() }), peerDependencies: z.record(z.string(), z.string()) }).parse(JSON.parse(read('package.json')));
    expect(dockerfile).toContain(`couchbase@${manifest.peerDependencies['couchbase']}`);
    expect(dockerfile).toContain(`/app/${manifest.bin.holdfast} /usr/local/bin/holdfast`);
    expect(dockerfile.match(/^FROM node:(\d+)/gm)?.every((line) => Number(line.slice('FROM node:'.length)) >= 20)).toBe(true);
  });
});

describe('docs/deploy.md', () => {
  const page = read('docs/deploy.md');
  const blocks = [...page.matchAll(/^```\n([\s\S]*?)^```$/gm)].map((match) => match[1] ?? '');

  it('has environments that the program takes', () => {
    const environments = blocks.filter((block) => block.includes('HOLDFAST_ROLE='));
    const configs = environments.map((block) => configOf(Object.fromEntries([...block.matchAll(/^(HOLDFAST_\w+)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value]))));
    expect(configs.map(({ role }) => role)).toEqual(['master', 'edge']);
  });

  it('has a unit that starts the program as somebody without rights, with the data directory of the environments', () => {
    const unit = blocks.find((block) => block.startsWith('[Unit]')) ?? '';
    expect(unit).toMatch(/^ExecStart=\/usr\/bin\/node \/opt\/holdfast\/dist\/main\.js serve$/m);
    expect(exists('src/main.ts')).toBe(true);
    expect(unit).toMatch(/^User=holdfast$/m);
    expect(unit).toMatch(/^CapabilityBoundingSet=$/m);
    expect(unit).toMatch(/^StateDirectory=holdfast$/m);
    expect(page).toContain('HOLDFAST_DATA=/var/lib/holdfast');
  });

  it('names the files of secrets of docker-compose.yml, and commands that exist', async () => {
    for (const { file } of Object.values(secrets)) expect(page).toContain(file.replace('./', ''));
    for (const words of [['status'], ['backup'], ['verify'], ['restore'], ['doctor'], ['events'], ['edge', 'add'], ['location', 'takeover'], ['location', 'handback']]) {
      expect(page).toContain(`holdfast ${words.join(' ')}`);
      await knownCommand(words);
    }
    const named = [...page.matchAll(/docker compose \w+ (?:-\S+ )*(edge-\w+|master|couchbase)\b/g)].map((match) => match[1] ?? '');
    expect(named.length).toBeGreaterThan(2);
    expect(named.filter((name) => !Object.hasOwn(services, name))).toEqual([]);
  });
});
