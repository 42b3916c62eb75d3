import type { ObjectType, VarbindValue } from 'net-snmp';
import { z } from '../../driver-sdk/index.ts';

export const oid = z
  .string()
  .max(1_000)
  .regex(/^\.?[0-2](?:\.\d{1,10}){1,127}$/, 'must be an OID such as 1.3.6.1.2.1.1.5.0')
  .refine((text) => text.split('.').every((arc) => Number(arc) <= 0xffff_ffff), 'must have no number above 4294967295')
  .transform((text) => text.replace(/^\./, ''));

const unsigned = z.int().min(0).max(0xffff_ffff);

/** What can be written: the name of its type in the library, and how its value looks. */
export const writable = {
  integer: { type: 'Integer', value: z.int32() },
  string: { type: 'OctetString', value: z.string().max(10_000) },
  hex: { type: 'OctetString', value: z.hex().max(20_000).transform((text) => Buffer.from(text, 'hex')) },
  oid: { type: 'OID', value: oid },
  ipaddress: { type: 'IpAddress', value: z.ipv4() },
  gauge: { type: 'Gauge', value: unsigned },
  timeticks: { type: 'TimeTicks', value: unsigned },
} as const satisfies Record<string, { type: keyof typeof ObjectType; value: z.ZodType }>;

/**
 * Numbers as numbers, also 64-bit counters (as text where a number would lose digits); texts as text, other bytes as
 * hex pairs such as `00:1b:2c`.
 */
export function readable(value: VarbindValue, isCounter64: boolean): string | number | boolean | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'bigint') return exact(value);
  if (!Buffer.isBuffer(value)) return value;
  if (isCounter64) return exact(BigInt(`0x0${value.toString('hex')}`));
  const text = value.toString();
  // Bytes that are no UTF-8 come back as the replacement character.
  return /[^\P{C}\t\r\n]|\uFFFD/u.test(text) ? (value.toString('hex').match(/../g) ?? []).join(':') : text;
}

const exact = (value: bigint): string | number => (value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : String(value));
