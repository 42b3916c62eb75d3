import type { CancelSignal } from '../shared/foundation/cancel.ts';
import type { Json } from '../shared/foundation/json.ts';
import { type CertificateRequest, parseCertificateRequest } from '../shared/link/certificate-request.ts';
import { HoldfastError } from '../shared/model/errors.ts';
import type { DocumentStore } from '../shared/ports/document-store.ts';
import type { Clock } from '../shared/ports/clock.ts';
import type { Log } from '../shared/ports/log.ts';
import type { CommandDesk } from '../shared/runtime/commands/command-desk.ts';
import type { Directory } from '../shared/runtime/documents/directory.ts';
import type { Freshness } from '../shared/runtime/status/freshness.ts';
import type { ModuleLines } from '../shared/runtime/commands/module-lines.ts';
import type { OrderRequest, OrderResult } from '../shared/runtime/node.ts';
import { serveOrder } from '../shared/runtime/location/orders.ts';
import type { PeerLink } from '../shared/runtime/peer/peer-link.ts';
import { hearLine, isModuleKind, PeerService } from '../shared/runtime/peer/peer-service.ts';
import type { PeerSubscriptions } from '../shared/runtime/peer/peer-subscriptions.ts';
import type { PeerLinkHandlers } from '../shared/runtime/peer/peer-link-options.ts';
import { FeedSource } from '../shared/runtime/documents/replication.ts';
import { readStatus } from '../shared/runtime/status/status-feed.ts';
import type { StatusBoard } from '../shared/runtime/status/status-board.ts';

/** Signs a certificate for the client API of this edge: PEM of it followed by the CA. Throws INPUT_INVALID. */
export type Certify = (edge: string, request: CertificateRequest) => Promise<string>;

export interface EdgeHandlersOptions {
  location: string;
  store: DocumentStore;
  directory: Directory;
  log: Log;
  desk: CommandDesk;
  board: StatusBoard;
  lines: ModuleLines;
  freshness: Freshness;
  clock: Clock;
  /** What this edge tells because it was asked. */
  subscriptions: () => PeerSubscriptions;
  order(request: OrderRequest, signal: CancelSignal): Promise<OrderResult>;
  /** The edge tells where its clients reach it. */
  onOrigin(body: Json): void;
  /** The edge tells what a trigger has done. */
  onTrigger(body: Json): void;
  /** The edge tells which commit of the drivers it has. */
  onCommit(body: Json): void;
  certify?: Certify;
}

/** What a master does for one edge besides negotiating: commands, orders, the status of its devices, the database. */
export function edgeHandlers(options: EdgeHandlersOptions, peer: () => PeerLink): Pick<PeerLinkHandlers, 'request' | 'post' | 'open' | 'ended'> {
  const { location, board, desk, log, lines, subscriptions } = options;
  const feed = new FeedSource(options);
  const post: PeerLink['post'] = (type, body, how) => peer().post(type, body, how);
  const service = new PeerService({ ...options, peer: location, passesOn: true, post });
  return {
    async request(kind, body, context) {
      if (isModuleKind(kind)) return service.request(kind, body, context);
      switch (kind) {
        case 'order':
          return serveOrder(options, body, context.signal);
        case 'certificate':
          if (options.certify === undefined) throw new HoldfastError('UNKNOWN_TYPE', { type: kind });
          return { chain: await options.certify(location, parseCertificateRequest(body)) };
        case 'replicate.pull':
        case 'replicate.snapshot':
          return feed.serve(kind, body);
        case 'repository':
          throw new HoldfastError('UNKNOWN_TYPE', { type: kind });
      }
    },
    post(type, body, { epoch, length }) {
      if (type === 'status' && epoch !== null) board.hear(readStatus(location, body, epoch), length);
      else if (type === 'log') hearLine(body, { lines, subscriptions: subscriptions(), node: location });
      else if (type === 'origin') options.onOrigin(body);
      else if (type === 'modules') desk.underWay.hear(location, body);
      else if (type === 'trigger') options.onTrigger(body);
      else if (type === 'commit') options.onCommit(body);
      else log.debug('post-ignored', { type, peer: peer().view().remote });
    },
    open: () => service.opened(),
    ended() {
      service.ended();
      desk.underWay.forget(location);
      subscriptions().ended();
    },
  };
}
