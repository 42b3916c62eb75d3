import type { DataNode } from './data-node.ts';

export const REPLICATED = ['holdfast.documents', 'holdfast.indexes', 'holdfast-private.log'] as const;

/** Plays XDCR: what differs arrives in the order of `draw`; no more than `limit` of it, and only what `keep` lets through. */
export function replicate(
  { from, to, draw }: { from: DataNode; to: DataNode; draw: () => number },
  limit = Infinity,
  keep: (id: string) => boolean = () => true,
): void {
  const changes = REPLICATED.flatMap((name) => {
    const [source, target] = [from.collection(name), to.collection(name)];
    const put = source.ids().filter((id) => JSON.stringify(source.read(id)) !== JSON.stringify(target.read(id)));
    const gone = target.ids().filter((id) => source.read(id) === null);
    return [...put.map((id) => ({ id, run: () => target.write(id, source.read(id)) })), ...gone.map((id) => ({ id, run: () => target.drop(id) }))];
  });
  const wanted = changes.filter(({ id }) => keep(id)).map((change) => ({ ...change, place: draw() }));
  for (const { run } of wanted.toSorted((a, b) => a.place - b.place).slice(0, limit)) run();
}

/** The same all the time, a little at a time, until it is stopped. */
export function keepReplicating(nodes: { from: DataNode; to: DataNode; draw: () => number }): { paused: boolean; stop(): void } {
  const timer = setInterval(() => replication.paused || replicate(nodes, 40), 100);
  const replication = { paused: false, stop: () => clearInterval(timer) };
  return replication;
}
