import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createVerifier, fakeVerifier, saltOf, ScramClient, ScramServer, secretIdOf, type Verifier, verifierSchema } from '../../../src/shared/link/scram.ts';

/** The example of RFC 7677, section 3. */
const rfc = {
  user: 'user',
  secret: 'pencil',
  clientNonce: 'rOprNGfwEbeRWgbNEkqO',
  serverNonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
  salt: Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'),
  clientFirst: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
  serverFirst: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  clientFinal: 'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
};

const SECRET = 'a secret of some length';
const BINDING = Buffer.alloc(32, 7);
const salt = Buffer.alloc(16, 3);
const refused = (reason: string): object => ({ code: 'LINK_REFUSED', facts: { reason } });
const caught = (run: () => unknown): unknown => {
  try {
    return run();
  } catch (error) {
    return error;
  }
};

interface Exchange {
  client: ScramClient;
  server: ScramServer;
  clientFirst: string;
  serverFirst: string;
  clientFinal: string;
}

const newClient = (binding: Buffer = BINDING, secret = SECRET): ScramClient =>
  new ScramClient({ user: 'link:berlin:0a1b2c3d', secret, nonce: 'c'.repeat(36), binding });
const newServer = (binding: Buffer = BINDING): ScramServer => new ScramServer({ nonce: 's'.repeat(36), binding });

async function exchange(options: { clientBinding?: Buffer; secret?: string; verifier?: Verifier } = {}): Promise<Exchange> {
  const client = newClient(options.clientBinding, options.secret);
  const server = newServer();
  const clientFirst = client.first();
  expect(server.user(clientFirst)).toBe('link:berlin:0a1b2c3d');
  const serverFirst = server.first(options.verifier ?? (await createVerifier(SECRET, salt)));
  return { client, server, clientFirst, serverFirst, clientFinal: await client.final(serverFirst) };
}

/** Every message with one character of one field changed. */
function tampered(message: string): string[] {
  return message.split(',').flatMap((part, i, parts) => {
    if (!/^[a-z]=./.test(part)) return [];
    const changed = `${part.slice(0, 2)}${part[2] === 'A' ? 'B' : 'A'}${part.slice(3)}`;
    return [[...parts.slice(0, i), changed, ...parts.slice(i + 1)].join(',')];
  });
}

describe('SCRAM-SHA-256', () => {
  it('speaks word for word as the example of RFC 7677', async () => {
    const client = new ScramClient({ user: rfc.user, secret: rfc.secret, nonce: rfc.clientNonce, binding: null });
    const server = new ScramServer({ nonce: rfc.serverNonce, binding: null });
    expect(client.first()).toBe(rfc.clientFirst);
    expect(server.user(rfc.clientFirst)).toBe(rfc.user);
    expect(server.first(await createVerifier(rfc.secret, rfc.salt))).toBe(rfc.serverFirst);
    expect(await client.final(rfc.serverFirst)).toBe(rfc.clientFinal);
    expect(server.final(rfc.clientFinal)).toBe(rfc.serverFinal);
    expect(() => client.verify(rfc.serverFinal)).not.toThrow();
  });

  it('proves both sides to each other', async () => {
    const { client, server, clientFinal } = await exchange();
    expect(() => client.verify(server.final(clientFinal))).not.toThrow();
  });

  it('keeps nothing at the server with which somebody could prove the secret', async () => {
    const verifier = verifierSchema.parse(await createVerifier(SECRET, salt));
    const { client, server, clientFirst, serverFirst, clientFinal } = await exchange();
    // What a thief of the verifier can do best: sign with the stored key instead of the client key.
    const withoutProof = clientFinal.slice(0, clientFinal.indexOf(',p='));
    const authMessage = `${clientFirst.slice('p=tls-exporter,,'.length)},${serverFirst},${withoutProof}`;
    const forged = createHmac('sha256', Buffer.from(verifier.storedKey, 'base64')).update(authMessage).digest('base64');
    expect(caught(() => server.final(`${withoutProof},p=${forged}`))).toMatchObject(refused('wrong-secret'));
    expect(JSON.stringify(verifier)).not.toContain(SECRET);
    expect(client.first()).not.toContain(SECRET);
  });
});

describe('what the server refuses', () => {
  it('a wrong secret', async () => {
    const { server, clientFinal } = await exchange({ secret: `${SECRET}!` });
    expect(caught(() => server.final(clientFinal))).toMatchObject(refused('wrong-secret'));
  });

  it('another TLS connection than its own, though the secret is right', async () => {
    const { server, clientFinal } = await exchange({ clientBinding: Buffer.alloc(32, 8) });
    expect(caught(() => server.final(clientFinal))).toMatchObject(refused('wrong-binding'));
  });

  it('each field of the last message of a client when it was changed on the way', async () => {
    const { server, clientFinal } = await exchange();
    const changed = tampered(clientFinal);
    expect(changed).toHaveLength(3);
    for (const message of changed) expect([message, caught(() => server.final(message))]).toMatchObject([message, { code: 'LINK_REFUSED' }]);
    expect(server.final(clientFinal)).toMatch(/^v=/);
  });

  it('a first message that was changed on the way: the proof is of the original', async () => {
    const changed = tampered(newClient().first());
    // `p=tls-exporter`, the name and the nonce.
    expect(changed).toHaveLength(3);
    for (const message of changed) {
      const client = newClient();
      const server = newServer();
      client.first();
      const outcome = await (async () => {
        server.user(message);
        return server.final(await client.final(server.first(await createVerifier(SECRET, salt))));
      })().catch((error: unknown) => error);
      expect([message, outcome]).toMatchObject([message, { code: 'LINK_REFUSED' }]);
    }
  });

  it.each(['n,,', 'y,,', 'p=tls-unique,,', 'p=tls-exporter,a=admin,'])('a client without our channel binding: %s', (header) => {
    const bare = newClient().first().slice('p=tls-exporter,,'.length);
    expect(caught(() => newServer().user(header + bare))).toMatchObject(refused('binding-required'));
  });

  it.each([
    'p=tls-exporter,,',
    'p=tls-exporter,,n=berlin',
    'p=tls-exporter,,r=cccccccccccccccccc,n=berlin',
    'p=tls-exporter,,n=berlin,r=tooshort',
    'p=tls-exporter,,n=berlin,r=with space cccccccc',
    'p=tls-exporter,,m=must,n=berlin,r=cccccccccccccccccc',
    'p=tls-exporter,,n=berlin,r=cccccccccccccccccc,n=admin',
    'p=tls-exporter,,n=ber=2Clin,r=cccccccccccccccccc',
  ])('a malformed first message: %s', (message) => {
    expect(caught(() => newServer().user(message))).toMatchObject(refused('malformed-proof'));
  });

  it('an extension, a missing field and a repeated field in the last message', async () => {
    const { server, clientFinal } = await exchange();
    const [c, r, p] = clientFinal.split(',');
    for (const message of [`${c},${r},x=1,${p}`, `${c},${r}`, `${r},${c},${p}`, `${c},${r},${p},${p}`, '', 'p']) {
      expect([message, caught(() => server.final(message))]).toMatchObject([message, refused('malformed-proof')]);
    }
  });

  it('a proof before it was asked for one', async () => {
    const { clientFinal } = await exchange();
    const server = newServer();
    server.user(newClient().first());
    expect(caught(() => server.final(clientFinal))).toMatchObject(refused('malformed-proof'));
  });

  it('the proof of an earlier conversation', async () => {
    const { clientFinal } = await exchange();
    const server = new ScramServer({ nonce: 't'.repeat(36), binding: BINDING });
    server.user(newClient().first());
    server.first(await createVerifier(SECRET, salt));
    expect(caught(() => server.final(clientFinal))).toMatchObject(refused('wrong-nonce'));
  });
});

describe('what the client refuses', () => {
  const answer = (parts: Partial<Record<'r' | 's' | 'i', string>>): string => {
    const { r, s, i } = { r: `${'c'.repeat(36)}sss`, s: salt.toString('base64'), i: '4096', ...parts };
    return `r=${r},s=${s},i=${i}`;
  };

  it('a nonce that does not begin with its own, or adds nothing to it', async () => {
    for (const r of ['d'.repeat(40), 'c'.repeat(36)]) await expect(newClient().final(answer({ r }))).rejects.toMatchObject(refused('wrong-nonce'));
  });

  it('so few iterations that the secret were cheap to guess, and so many that it were kept busy', async () => {
    for (const i of ['1', '4095', '1000001', '-4096', '4096.5', '0x1000', ' 4096', 'NaN', '']) {
      await expect(newClient().final(answer({ i }))).rejects.toMatchObject(refused('malformed-proof'));
    }
  });

  it('an extension, and anything that is no answer', async () => {
    for (const text of [`m=1,${answer({})}`, `${answer({})},x=1`, '', 'e=other-error', '{}']) {
      await expect(newClient().final(text)).rejects.toMatchObject(refused('malformed-proof'));
    }
  });

  it('a server that does not know the secret', async () => {
    const { client, server, clientFinal } = await exchange();
    const [genuine] = [server.final(clientFinal)];
    for (const text of [...tampered(genuine), `v=${Buffer.alloc(32).toString('base64')}`, 'v=']) {
      expect(caught(() => client.verify(text))).toMatchObject(refused('server-not-proved'));
    }
    expect(caught(() => client.verify('e=invalid-proof'))).toMatchObject(refused('malformed-proof'));
    // Before its own proof there is nothing that could be right.
    expect(caught(() => newClient().verify(genuine))).toMatchObject(refused('server-not-proved'));
  });

  it('a salt or count of iterations that was changed on the way: the server refuses what comes of it', async () => {
    const changed = [answer({ s: Buffer.alloc(16, 4).toString('base64') }), answer({ i: '4097' })];
    for (const text of changed) {
      const { server, serverFirst } = await exchange();
      const nonce = serverFirst.slice(2, serverFirst.indexOf(','));
      const message = text.replace(/^r=[^,]+/, `r=${nonce}`);
      const final = await newClient().final(message);
      expect(caught(() => server.final(final))).toMatchObject(refused('wrong-secret'));
    }
  });
});

describe('names that do not exist', () => {
  const serverSecret = Buffer.alloc(32, 9);

  it('look like names with another secret', async () => {
    const fake = fakeVerifier(serverSecret, 'link:atlantis:0a1b2c3d');
    const genuine = await createVerifier(SECRET, salt);
    expect(verifierSchema.safeParse(fake).success).toBe(true);
    expect(Object.entries(fake).map(([key, value]) => [key, String(value).length])).toEqual(
      Object.entries(genuine).map(([key, value]) => [key, String(value).length]),
    );
    const { server, clientFinal } = await exchange({ verifier: fake });
    expect(caught(() => server.final(clientFinal))).toMatchObject(refused('wrong-secret'));
  });

  it('always show the same salt, which is that of the name when it exists', () => {
    expect(fakeVerifier(serverSecret, 'enrol:berlin')).toEqual(fakeVerifier(serverSecret, 'enrol:berlin'));
    expect(fakeVerifier(serverSecret, 'enrol:berlin').salt).toBe(saltOf(serverSecret, 'enrol:berlin').toString('base64'));
    expect(saltOf(serverSecret, 'enrol:berlin')).not.toEqual(saltOf(serverSecret, 'enrol:lisbon'));
    expect(saltOf(serverSecret, 'enrol:berlin')).not.toEqual(saltOf(Buffer.alloc(32, 1), 'enrol:berlin'));
  });

  it('a secret that was set by hand has the same id on both sides, another for another edge', async () => {
    expect(await secretIdOf('berlin', SECRET)).toMatch(/^[0-9a-f]{8}$/);
    expect(await secretIdOf('berlin', SECRET)).toBe(await secretIdOf('berlin', SECRET));
    expect(await secretIdOf('lisbon', SECRET)).not.toBe(await secretIdOf('berlin', SECRET));
  });
});
