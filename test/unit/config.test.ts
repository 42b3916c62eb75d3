import { describe, expect, it } from 'vitest';
import { type Config, configTable, describeConfig, formatAddress, parseAddress, parseConfig } from '../../src/shared/model/config.ts';
import { HoldfastError } from '../../src/shared/model/errors.ts';
import { keyId, keyLine } from '../support/settings-keys.ts';

const machine = { cores: 4, hostname: 'box' };
const masterEnv = { HOLDFAST_ROLE: 'master', HOLDFAST_DATA: '/var/lib/holdfast' };
const edgeEnv = { HOLDFAST_ROLE: 'edge', HOLDFAST_DATA: '/var/lib/holdfast' };

const parse = (env: Record<string, string | undefined>): Config => parseConfig(env, machine);

function refusal(env: Record<string, string | undefined>): HoldfastError {
  try {
    parse(env);
  } catch (error) {
    if (error instanceof HoldfastError) return error;
    throw error;
  }
  throw new Error('the configuration was accepted');
}

describe('configuration from the environment', () => {
  it('gives a master its defaults', () => {
    expect(parse(masterEnv)).toEqual({
      role: 'master',
      data: '/var/lib/holdfast',
      http: { host: '127.0.0.1', port: 8080 },
      origin: null,
      log: 'info',
      driverHosts: 4,
      drivers: null,
      repository: null,
      origins: [],
      settingsKeysFile: null,
      store: null,
      settingsKeys: null,
      writeLog: null,
      link: { host: '0.0.0.0', port: 7443 },
      advertise: { host: 'box', port: 7443 },
    });
  });

  it('gives an edge its defaults', () => {
    expect(parse(edgeEnv)).toEqual({
      role: 'edge',
      data: '/var/lib/holdfast',
      http: { host: '127.0.0.1', port: 8081 },
      origin: null,
      log: 'info',
      driverHosts: 4,
      drivers: null,
      repository: null,
      origins: [],
      settingsKeysFile: null,
      store: null,
      settingsKeys: null,
      writeLog: null,
      enrol: null,
      replication: 'feed',
      secretFile: null,
      masters: null,
    });
  });

  it('takes every variable of a master', () => {
    const config = parse({
      ...masterEnv,
      HOLDFAST_HTTP: '[::1]:9000',
      HOLDFAST_LINK: '10.0.0.5:7000',
      HOLDFAST_ADVERTISE: 'master.example.org:443',
      HOLDFAST_LOG: 'debug',
      HOLDFAST_DRIVER_HOSTS: '64',
    });
    expect(config).toMatchObject({
      http: { host: '::1', port: 9000 },
      link: { host: '10.0.0.5', port: 7000 },
      advertise: { host: 'master.example.org', port: 443 },
      log: 'debug',
      driverHosts: 64,
      drivers: null,
      repository: null,
      origins: [],
      writeLog: null,
    });
  });

  it('takes every variable of an edge', () => {
    const config = parse({ ...edgeEnv, HOLDFAST_ENROL: 'holdfast-enrol:abc', HOLDFAST_MASTERS: 'a.example:7443, [2001:db8::1]:7443' });
    expect(config).toMatchObject({ enrol: 'holdfast-enrol:abc', masters: ['a.example:7443', '[2001:db8::1]:7443'] });
  });

  it('advertises the link address itself when it is one that can be dialled', () => {
    expect(parse({ ...masterEnv, HOLDFAST_LINK: '10.0.0.5:7000' })).toMatchObject({ advertise: { host: '10.0.0.5', port: 7000 } });
    expect(parse({ ...masterEnv, HOLDFAST_LINK: '[::]:7000' })).toMatchObject({ advertise: { host: 'box', port: 7000 } });
  });

  it('keeps the default number of driver hosts within its limits', () => {
    expect(parseConfig(masterEnv, { ...machine, cores: 0 }).driverHosts).toBe(1);
    expect(parseConfig(masterEnv, { ...machine, cores: 256 }).driverHosts).toBe(64);
  });

  it('counts an empty variable as not set and trims the others', () => {
    expect(parse({ ...edgeEnv, HOLDFAST_ENROL: '', HOLDFAST_LOG: ' warn ' })).toMatchObject({ enrol: null, log: 'warn' });
  });

  it('leaves the variables of others alone, those of the command line included', () => {
    expect(parse({ ...masterEnv, HOLDFAST_SERVER: 'https://a', HOLDFAST_KEY: 'b', HOLDFAST_CA: 'c' })).toEqual(parse(masterEnv));
    expect(parse({ ...masterEnv, PATH: '/bin', HOLD: 'x', holdfast_role: 'edge' }).role).toBe('master');
  });

  it('is frozen, all through', () => {
    const config = parse(masterEnv);
    expect(Object.isFrozen(config)).toBe(true);
    for (const value of Object.values(config)) expect(Object.isFrozen(value)).toBe(true);
  });
});

describe('what the configuration refuses', () => {
  it.each([
    [{ HOLDFAST_ROLE: undefined }, 'HOLDFAST_ROLE', 'is not set; give one of master, edge'],
    [{ HOLDFAST_ROLE: 'slave' }, 'HOLDFAST_ROLE', 'must be one of master, edge; not "slave"'],
    [{ HOLDFAST_DATA: ' ' }, 'HOLDFAST_DATA', 'is not set; give the directory'],
    [{ HOLDFAST_LOG: 'loud' }, 'HOLDFAST_LOG', 'must be one of debug, info, warn, error; not "loud"'],
    [{ HOLDFAST_DRIVER_HOSTS: '0' }, 'HOLDFAST_DRIVER_HOSTS', 'must be 1 to 64'],
    [{ HOLDFAST_DRIVER_HOSTS: '65' }, 'HOLDFAST_DRIVER_HOSTS', 'must be 1 to 64'],
    [{ HOLDFAST_DRIVER_HOSTS: '1.5' }, 'HOLDFAST_DRIVER_HOSTS', 'is not a whole number'],
    [{ HOLDFAST_HTTP: '8080' }, 'HOLDFAST_HTTP', '"8080" is not host:port; write such as'],
    [{ HOLDFAST_ADVERTISE: 'master.example.org:0' }, 'HOLDFAST_ADVERTISE', 'port 0 cannot be dialled'],
  ])('%j', (change, variable, problem) => {
    const error = refusal({ ...masterEnv, ...change });
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.facts.variable).toBe(variable);
    expect(error.message).toContain(problem);
  });

  it('an unknown variable, and says which one was probably meant', () => {
    expect(refusal({ ...masterEnv, HOLDFAST_LINKS: 'x' }).message).toBe('HOLDFAST_LINKS: is unknown; did you mean HOLDFAST_LINK?');
    expect(refusal({ ...masterEnv, HOLDFAST_COFFEE_MACHINE: 'x' }).message).toContain('docs/operations.md lists those there are');
  });

  it('a variable that the role has no use for, and says whose it is', () => {
    expect(refusal({ ...masterEnv, HOLDFAST_MASTERS: 'a:1' }).message).toContain('is for the role edge, and this is the master');
    expect(refusal({ ...edgeEnv, HOLDFAST_LINK: '0.0.0.0:1' }).message).toContain('is for the role master, and this is the edge');
  });

  it('everything at once', () => {
    const { message, facts } = refusal({ HOLDFAST_ROLE: 'edge', HOLDFAST_LINK: 'x', HOLDFAST_LGO: 'info', HOLDFAST_MASTERS: 'a:0', HOLDFAST_HTTP: ':1' });
    for (const variable of ['HOLDFAST_DATA', 'HOLDFAST_LINK', 'HOLDFAST_LGO', 'HOLDFAST_MASTERS', 'HOLDFAST_HTTP']) {
      expect(message).toContain(`\n  ${variable} `);
      expect(facts.variable).toContain(variable);
    }
    expect(message).toContain('did you mean HOLDFAST_LOG?');
  });

  it('keys of settings that are none, or beside a file of them, without repeating them', () => {
    const path = refusal({ ...edgeEnv, HOLDFAST_SETTINGS_KEYS: '/etc/hunter2' });
    expect(path.message).toMatch(/^HOLDFAST_SETTINGS_KEYS: has no key in line 1;.*HOLDFAST_SETTINGS_KEYS_FILE$/);
    const both = refusal({ ...masterEnv, HOLDFAST_SETTINGS_KEYS: keyLine('1'), HOLDFAST_SETTINGS_KEYS_FILE: '/etc/settings.keys' });
    expect(both.message).toContain('set one of them');
    expect(JSON.stringify([path, both])).not.toMatch(/hunter2|1{64}/);
  });

  it('a store that is none, or without its password, without repeating what may be one', () => {
    const store = 'couchbases://holdfast@db.example.org/holdfast';
    const refused = (change: Record<string, string>): string => refusal({ ...masterEnv, ...change }).message;
    expect(refused({ HOLDFAST_STORE: 'mysql://hunter2', HOLDFAST_STORE_PASSWORD: 'x' })).toBe(`HOLDFAST_STORE: is not the address of a store; write such as ${store}`);
    expect(refused({ HOLDFAST_STORE: 'couchbase://holdfast:hunter2@db/holdfast' })).toMatch(/has a password in it: give it with HOLDFAST_STORE_PASSWORD_FILE/);
    expect(refused({ HOLDFAST_STORE: 'couchbase://holdfast:hunter2@db/holdfast' })).not.toContain('hunter2');
    expect(refused({ HOLDFAST_STORE: `${store}?durability=some`, HOLDFAST_STORE_PASSWORD: 'hunter2' })).toContain('other than persist, majority, none');
    expect(refused({ HOLDFAST_STORE: store })).toMatch(/^HOLDFAST_STORE_PASSWORD_FILE: is not set/);
    expect(refused({ HOLDFAST_STORE: store, HOLDFAST_STORE_PASSWORD: 'hunter2', HOLDFAST_STORE_PASSWORD_FILE: '/f' })).toMatch(/^HOLDFAST_STORE_PASSWORD: is set beside/);
    expect(refused({ HOLDFAST_STORE_CA: '/ca.pem' })).toContain('set HOLDFAST_STORE too');
  });

  it('replication by a database that is not named', () => {
    expect(refusal({ ...edgeEnv, HOLDFAST_REPLICATION: 'xdcr' }).message).toContain('needs the database of this site in HOLDFAST_STORE');
    expect(refusal({ ...edgeEnv, HOLDFAST_REPLICATION: 'magic' }).message).toContain('must be one of feed, xdcr');
  });

  it('a bad enrolment string, without repeating it', () => {
    const error = refusal({ ...edgeEnv, HOLDFAST_ENROL: 'hunter2 hunter2' });
    expect(error.message).toContain('is not an enrolment string');
    expect(JSON.stringify(error)).not.toContain('hunter2');
  });
});

describe('the address of a store', () => {
  it.each([
    ['couchbase://u@h/b', { hosts: 'h', tls: false, user: 'u', bucket: 'b', scope: 'holdfast', durability: 'persist' }],
    ['couchbases://u.1@db1:11207,[::1]/b-1/site?durability=majority', { hosts: 'db1:11207,[::1]', tls: true, user: 'u.1', bucket: 'b-1', scope: 'site', durability: 'majority' }],
  ])('%s is read, and shown without its password', (text, address) => {
    const config = parseConfig({ ...edgeEnv, HOLDFAST_STORE: text, HOLDFAST_STORE_PASSWORD: 'hunter2' }, machine);
    expect(config.store).toEqual({ address, password: 'hunter2', passwordFile: null, caFile: null });
    const shown = JSON.stringify(describeConfig(config));
    expect(shown).toContain('[redacted]');
    expect(shown).not.toContain('hunter2');
  });
});

describe('addresses', () => {
  it.each(['127.0.0.1:8080', '[::1]:8080', '[2001:db8::1]:65535', 'localhost:0', 'master_1.example.org:7443'])('%s is read and written back', (text) => {
    const address = parseAddress(text);
    expect(address === null ? null : formatAddress(address)).toBe(text);
  });

  it.each(['', '8080', ':8080', 'host', 'host:', 'host:65536', 'host:-1', '::1:8080', '[::1]', '[gg::1]:80', '[1:2]:80', '300.1.1.1:80', '1.2.3:80', 'a b:80', 'http://a:80', '-a:80'])(
    '"%s" is none',
    (text) => {
      expect(parseAddress(text)).toBeNull();
    },
  );
});

describe('the description of the configuration', () => {
  it('shows all of it but never the enrolment string', () => {
    const described = describeConfig(parse({ ...edgeEnv, HOLDFAST_ENROL: 'holdfast-enrol:hunter2', HOLDFAST_MASTERS: '[::1]:7443' }));
    expect(described).toEqual({
      role: 'edge',
      replication: 'feed',
      data: '/var/lib/holdfast',
      http: '127.0.0.1:8081',
      origin: null,
      log: 'info',
      driver_hosts: 4,
      drivers: null,
      drivers_repository: null,
      drivers_branch: null,
      drivers_path: null,
      origins: [],
      settings_keys_file: null,
      settings_keys: null,
      store: null,
      store_password_file: null,
      store_password: null,
      store_ca: null,
      write_log: null,
      enrol: '[redacted]',
      secret_file: null,
      masters: ['[::1]:7443'],
    });
  });

  it('shows the ids of settings keys and nothing else of them', () => {
    const described = describeConfig(parse({ ...masterEnv, HOLDFAST_SETTINGS_KEYS: `${keyLine('1')},${keyLine('2')}` }));
    expect(described).toMatchObject({ settings_keys: [keyId('1'), keyId('2')], settings_keys_file: null });
    expect(JSON.stringify(described)).not.toMatch(/1{64}/);
  });

  it('shows the repository of drivers, and its credentials never; a bad address is not repeated', () => {
    const repository = { HOLDFAST_DRIVERS_REPOSITORY: 'https://ada:hunter2@git.example.org/drivers.git', HOLDFAST_DRIVERS_BRANCH: 'stable', HOLDFAST_DRIVERS_PATH: 'site/drivers' };
    const config = parse({ ...masterEnv, ...repository });
    expect(config.repository).toMatchObject({ url: 'https://git.example.org/drivers.git', credentials: { user: 'ada', password: 'hunter2' } });
    const described = describeConfig(config);
    expect(described).toMatchObject({ drivers_repository: 'https://git.example.org/drivers.git', drivers_branch: 'stable', drivers_path: 'site/drivers' });
    expect(JSON.stringify(described)).not.toContain('hunter2');
    const bad = { ...repository, HOLDFAST_DRIVERS_REPOSITORY: 'git://ada:hunter2@host/x', HOLDFAST_DRIVERS_PATH: 'a/../../b', HOLDFAST_DRIVERS: '/drivers' };
    const refused = refusal({ ...masterEnv, ...bad }).message;
    for (const name of ['HOLDFAST_DRIVERS_REPOSITORY is not of a kind', 'HOLDFAST_DRIVERS_PATH is not a folder', 'HOLDFAST_DRIVERS_REPOSITORY is set beside HOLDFAST_DRIVERS']) {
      expect(refused).toContain(name);
    }
    expect(refused).not.toContain('hunter2');
  });

  it('shows as many things as the table has for the role', () => {
    for (const env of [masterEnv, edgeEnv]) {
      const config = parse(env);
      const rows = Object.values(configTable).filter(({ roles }: { roles: readonly string[] }) => roles.includes(config.role));
      expect(Object.keys(describeConfig(config))).toHaveLength(rows.length);
    }
  });
});
