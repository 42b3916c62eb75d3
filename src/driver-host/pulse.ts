/** Memory that the main thread of a driver host shares with its watchdog: a beat, and whose code ran last. */
export interface Shared {
  /** [beat, length of the name]. */
  numbers: Int32Array;
  name: Uint8Array;
}

const NAME_BYTES = 512;

export const createShared = (): Shared => ({
  numbers: new Int32Array(new SharedArrayBuffer(8)),
  name: new Uint8Array(new SharedArrayBuffer(NAME_BYTES)),
});

export function beat({ numbers }: Shared): void {
  Atomics.add(numbers, 0, 1);
}

export const readBeat = ({ numbers }: Shared): number => Atomics.load(numbers, 0);

/** Called before each piece of driver code: it has to be cheap. */
export function createBlame({ numbers, name }: Shared): (key: string) => void {
  const text = Buffer.from(name.buffer);
  let last = '';
  return (key) => {
    if (key === last) return;
    last = key;
    Atomics.store(numbers, 1, text.write(key));
  };
}

export function readCulprit({ numbers, name }: Shared): string | null {
  const length = Atomics.load(numbers, 1);
  return length === 0 ? null : Buffer.from(name.slice(0, length)).toString();
}
