import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { callback, delimiter, lengthPrefix, type Tokeniser, TokeniserError } from '../../src/driver-sdk/index.ts';

const texts = (tokens: Buffer[]): string[] => tokens.map(String);

function feed(tokeniser: Tokeniser, stream: Buffer, cuts: number[]): string[] {
  const tokens: string[] = [];
  let from = 0;
  for (const cut of [...cuts.map((at) => at % (stream.length + 1)).sort((a, b) => a - b), stream.length]) {
    tokens.push(...texts(tokeniser.push(stream.subarray(from, cut))));
    from = Math.max(from, cut);
  }
  return tokens;
}

describe('delimiter', () => {
  it('finds the same messages however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(fc.stringMatching(/^[a-z\r]{0,6}$/)), fc.array(fc.nat()), (messages, cuts) => {
        const plain = messages.map((message) => message.replaceAll('\r', ''));
        const stream = Buffer.from(plain.map((message) => `${message}\r\n`).join(''));
        expect(feed(delimiter('\r\n'), stream, cuts)).toEqual(plain);
      }),
    );
  });

  it('may be bytes; text is UTF-8', () => {
    const chunk = Buffer.from([1, 0xff, 2, 0xc3, 0xbf, 3]);
    expect(delimiter(Uint8Array.from([0xff])).push(chunk)).toEqual([Buffer.from([1])]);
    expect(delimiter('\xff').push(chunk)).toEqual([Buffer.from([1, 0xff, 2])]);
  });

  it('refuses a message without an end, and starts anew after a reset', () => {
    const tokeniser = delimiter('\n', 8);
    expect(texts(tokeniser.push(Buffer.from('12345678')))).toEqual([]);
    expect(() => tokeniser.push(Buffer.from('9'))).toThrow(TokeniserError);
    tokeniser.reset();
    expect(texts(tokeniser.push(Buffer.from('ok\n')))).toEqual(['ok']);
  });

  it('forgets half a message of the connection before', () => {
    const tokeniser = delimiter('\n');
    tokeniser.push(Buffer.from('half of an old'));
    tokeniser.reset();
    expect(texts(tokeniser.push(Buffer.from('new\n')))).toEqual(['new']);
  });
});

describe('length prefix', () => {
  const tokeniser = (limit?: number): Tokeniser => lengthPrefix(2, (header) => 2 + header.readUInt16BE(0), limit);
  const frame = (text: string): Buffer => {
    const body = Buffer.from(text);
    const header = Buffer.alloc(2);
    header.writeUInt16BE(body.length);
    return Buffer.concat([header, body]);
  };

  it('finds the same messages however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 20 })), fc.array(fc.nat()), (messages, cuts) => {
        const tokens: string[] = [];
        let from = 0;
        const stream = Buffer.concat(messages.map(frame));
        const cutter = tokeniser();
        for (const cut of [...cuts.map((at) => at % (stream.length + 1)).sort((a, b) => a - b), stream.length]) {
          tokens.push(...cutter.push(stream.subarray(from, cut)).map((token) => String(token.subarray(2))));
          from = Math.max(from, cut);
        }
        expect(tokens).toEqual(messages.map((message) => Buffer.from(message).toString()));
      }),
    );
  });

  it('refuses an announced length over the limit before it arrives, and one that is no length', () => {
    expect(() => tokeniser(100).push(Buffer.from([0xff, 0xff]))).toThrow(TokeniserError);
    expect(() => lengthPrefix(1, () => 0).push(Buffer.from([1]))).toThrow(TokeniserError);
  });
});

describe('callback', () => {
  /** Messages between brackets, which hold what they like. */
  const brackets = (limit?: number): Tokeniser =>
    callback((buffer) => {
      let depth = 0;
      for (const [at, byte] of buffer.entries()) {
        depth += byte === 0x5b ? 1 : byte === 0x5d ? -1 : 0;
        if (depth === 0) return at + 1;
      }
      return -1;
    }, limit);

  it('finds the same messages however the bytes are cut, and leaves all their bytes', () => {
    const messages = fc.array(fc.stringMatching(/^\[[a-z]{0,4}(?:\[[a-z]{0,3}\])?\]$/));
    fc.assert(
      fc.property(messages, fc.array(fc.nat()), (whole, cuts) => {
        expect(feed(brackets(), Buffer.from(whole.join('')), cuts)).toEqual(whole);
      }),
    );
  });

  it('refuses a message without an end, and forgets what a broken connection left', () => {
    const tokeniser = brackets(8);
    expect(texts(tokeniser.push(Buffer.from('[1234567')))).toEqual([]);
    expect(() => tokeniser.push(Buffer.from('8'))).toThrow(TokeniserError);
    tokeniser.reset();
    expect(texts(tokeniser.push(Buffer.from('[ok]')))).toEqual(['[ok]']);
  });
});
