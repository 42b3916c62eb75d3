import { defineDriver, HoldfastError, type Json, method, z } from '../../driver-sdk/index.ts';
import { Datagrams } from './datagrams.ts';
import { openSession } from './session.ts';
import { oid, writable } from './values.ts';

const variable = z.string().regex(/^(?!(?:connected|problem)$)[a-zA-Z]\w{0,59}$/, 'must be letters, digits and underscores, and not connected or problem');
const community = z.string().min(1).max(100);

const settings = z.strictObject({
  version: z.literal('2c').default('2c'),
  community: community.default('public'),
  /** null: nothing is written. */
  writeCommunity: community.nullable().default(null),
  /** The status variables, and the OID of each. */
  poll: z.record(variable, oid).default({}),
  pollMs: z.int().min(500).default(10_000),
  timeoutMs: z.int().min(100).default(2_000),
  retries: z.int().min(0).max(10).default(2),
});

/** Every agent has it. */
const UPTIME = '1.3.6.1.2.1.1.3.0';
/** Most that `walk` returns. */
const WALK_OBJECTS = 1_000;

const invalid = (field: string, problem: string): HoldfastError => new HoldfastError('INPUT_INVALID', { field, problem });
const typeOf = z.enum(Object.keys(writable) as (keyof typeof writable)[]);

/** An SNMP agent. Objects of interest are polled; any other can be asked for. */
export const snmpDriver = defineDriver({
  name: 'snmp',
  role: 'device',
  transports: ['udp'],
  settings,
  async setup(ctx) {
    const { status, settings: own } = ctx;
    const base = { library: await import('net-snmp'), module: ctx.id };
    const { timeoutMs, retries } = own;
    const session = (secret: string) => openSession({ ...base, community: secret, datagrams: new Datagrams(ctx.send, { timeoutMs, retries }) });
    const reading = session(own.community);
    const writing = own.writeCommunity === null ? null : session(own.writeCommunity);
    const polled = Object.entries(own.poll);

    const publish = (values: ReadonlyMap<string, Json>): void => {
      for (const [name, object] of polled) status.set(name, values.get(object) ?? null);
    };
    // Without a connection only answers tell that the agent is there.
    const objects = polled.length === 0 ? [UPTIME] : polled.map(([, object]) => object);
    const refresh = async (): Promise<void> => publish(await reading.get(objects));
    ctx.on('connected', refresh);
    ctx.schedule.every(own.pollMs, async () => {
      if (status.get('connected') === true) await refresh();
    });

    return {
      get: method(z.tuple([oid]), async (object) => (await reading.get([object])).get(object) ?? null),
      set: method(z.tuple([oid, typeOf, z.union([z.string(), z.number()])]), async (object, type, value) => {
        if (writing === null) throw invalid('settings.writeCommunity', 'is not set, so that nothing can be written');
        const given = writable[type].value.safeParse(value);
        if (!given.success) throw invalid('args.2', given.error.issues[0]?.message ?? 'does not fit');
        await writing.set(object, writable[type].type, given.data);
        if (polled.some(([, known]) => known === object)) await refresh();
        return value;
      }),
      walk: method(z.tuple([oid]), async (object) => Object.fromEntries(await reading.walk(object, WALK_OBJECTS))),
    };
  },
});
