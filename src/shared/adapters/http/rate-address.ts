import { normalizeIP } from '@fastify/rate-limit';

/** Whom requests from an address are counted for: with IPv6 a whole network of 64 bits, of which anybody has one. */
export const rateAddress = (address: string): string => `address ${normalizeIP(address, 64)}`;
