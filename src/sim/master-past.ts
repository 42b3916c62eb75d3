import { defaultTimings } from '../shared/control/lease.ts';
import type { MasterControl, MasterEvent } from '../shared/control/master-control.ts';
import { masterDrives } from './invariants.ts';

/** What a judge remembers of one master and location by itself, so that the master is not judged by its own memory. */
export class MasterPast {
  /** The window in which a hand-back failed, or in which an edge had to be stopped. */
  #spentWindow: number | null = null;
  /** A hand-back is under way: the master lets go and has no claim yet. */
  #handingBack = false;
  #breaks: number[] = [];
  #level = 0;
  #heldDownUntilMs = -Infinity;

  failedHandback({ window }: MasterControl): boolean {
    return window.open && this.#spentWindow === window.occurrence;
  }

  heldDown(nowMs: number): boolean {
    return nowMs < this.#heldDownUntilMs;
  }

  /** An order to release leaves the master. */
  ordersRelease(state: MasterControl | null): void {
    if (state !== null) this.#spend(state);
  }

  stepped(from: MasterControl, to: MasterControl, event: MasterEvent): void {
    const cut = event.type === 'link-down' && from.link?.number === event.link;
    const hello = event.type === 'message' && event.message.t === 'hello' ? event : null;
    const replaced = hello !== null && from.link !== null && hello.link > from.link.number;
    if (cut) this.#noteBreak(event.nowMs);
    if (this.#handingBack && (cut || replaced)) this.#spend(from);
    if (to.state !== 'releasing' || cut || replaced) this.#handingBack = false;
    else if (masterDrives(from.state)) this.#handingBack = hello !== null && hello.message.t === 'hello' && hello.message.state !== 'holding';
  }

  #spend({ window }: MasterControl): void {
    if (window.open) this.#spentWindow = window.occurrence;
  }

  /** Flap protection as docs/control.md, section 3, has it. */
  #noteBreak(nowMs: number): void {
    const { breaks, withinMs, firstMs, capMs } = defaultTimings.flap;
    if (nowMs - this.#heldDownUntilMs > capMs) this.#level = 0;
    this.#breaks = [...this.#breaks.filter((atMs) => nowMs - atMs < withinMs), nowMs];
    if (this.#breaks.length < breaks) return;
    this.#breaks = [];
    this.#heldDownUntilMs = nowMs + Math.min(capMs, firstMs * 2 ** this.#level);
    this.#level += 1;
  }
}
