import type { Party } from '../../shared/model/control.ts';
import { edgeLater, masterLater } from './canonical.ts';
import { closeByHost } from './shell.ts';
import { isConfirmed, isHealthy, type ModelConfig, socketsOpen, type World } from './world.ts';

/** One unit of time passes for everything in the world. */
export function tick(world: World, config: ModelConfig): void {
  const confirmed = world.links.some((link) => isHealthy(world, link) && isConfirmed(world, link));
  const timeoutMs = config.terms[0]?.timeoutMs ?? 0;
  world.memory.quiet = confirmed ? 0 : Math.min(timeoutMs, world.memory.quiet + 1);
  if (world.memory.saidHolding !== null) world.memory.saidHolding = Math.min(timeoutMs, world.memory.saidHolding + 1);
  for (const link of world.links) {
    link.silentFor = isHealthy(world, link) ? 0 : Math.min(link.silentFor + 1, config.linkDead);
    if (link.toMaster.messages.length > 0) link.toMaster.age = Math.min(config.delay, link.toMaster.age + 1);
    if (link.toEdge.messages.length > 0) link.toEdge.age = Math.min(config.delay, link.toEdge.age + 1);
  }
  const { edge, master } = world;
  // While a record is being stored, its event and its machine keep the time at which they met.
  if (edge.writing !== null) edge.writing = { ...edge.writing, ago: Math.min(6, edge.writing.ago + 1) };
  else if (edge.machine !== null) edge.machine = edgeLater(edge.machine, 1, config);
  if (master.writing !== null) master.writing = { ...master.writing, ago: Math.min(6, master.writing.ago + 1) };
  else if (master.machine !== null) master.machine = masterLater(master.machine, 1, config);
  master.loadingFor = Math.max(0, master.loadingFor - 1);
  tickHost(world, config, 'edge');
  tickHost(world, config, 'master');
}

function tickHost(world: World, config: ModelConfig, party: Party): void {
  const { timers, modules } = world[party];
  for (const [name, units] of Object.entries(timers)) if (units !== null) Object.assign(timers, { [name]: Math.max(0, units - 1) });
  if (modules.phase === 'stopping' || modules.phase === 'closed') modules.stopIn = Math.max(modules.stopIn < 0 ? -1 : 0, modules.stopIn - 1);
  // What has not stopped in time is killed by the host, also while its node is paused.
  if (modules.phase === 'stopping' && modules.stopIn === 0) modules.phase = 'closed';
  if (modules.lease === null) return;
  const { leaseCloseMs } = config.timings;
  modules.lease = Math.max(-leaseCloseMs, modules.lease - 1);
  // The end of a lease is known where the sockets are.
  if (modules.lease === -leaseCloseMs && socketsOpen(modules) && modules.phase !== 'stopping') {
    closeByHost(modules);
  }
}
