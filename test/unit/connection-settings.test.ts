import { describe, expect, it } from 'vitest';
import { splitSettings } from '../../src/driver-host/connection-settings.ts';

describe('the setting `connection` belongs to the runtime', () => {
  const pem = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';

  it('and all others to the driver', () => {
    const { connection, own } = splitSettings({ level: 1, connection: { ca: pem, idleMs: 5 } });
    expect(own).toEqual({ level: 1 });
    expect(connection).toMatchObject({ ca: pem, idleMs: 5, verifyCertificate: true });
  });

  it('refuses a `ca` that is no certificate: the device would be taken for a stranger', () => {
    expect(() => splitSettings({ connection: { ca: '/etc/ssl/ca.pem' } })).toThrow(
      expect.objectContaining({ code: 'INPUT_INVALID', facts: expect.objectContaining({ field: 'settings.connection.ca' }) }),
    );
  });
});
