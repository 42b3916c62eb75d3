import { HoldfastError } from '../../model/errors.ts';
import type { Clock } from '../../ports/clock.ts';
import type { HostProcess } from '../../ports/host-process.ts';
import type { Log } from '../../ports/log.ts';
import { type HostEnd, HostPeer, type Question } from './host-peer.ts';
import type { Answer, LogMessage } from './messages.ts';

interface TrialEvents {
  hide(text: string): string;
  /** What the code that is tried says, or prints. */
  log?(message: LogMessage): void;
}

/** A process in which code is tried: that may end it, or never come back, and costs nothing else. */
export class Trial {
  readonly #peer: HostPeer;
  #end: HostEnd | null = null;

  constructor(process: HostProcess, base: { clock: Clock; log: Log }, { hide, log = () => undefined }: TrialEvents) {
    const nobody = (): never => {
      throw new HoldfastError('NOT_READY', { waitingFor: 'the end of a trial', retryAfterMs: 1_000 });
    };
    const ignored = (): void => undefined;
    const ended = (end: HostEnd): void => void (this.#end = end);
    this.#peer = new HostPeer(process, base, { status: ignored, log, refused: ignored, hide, systemOf: nobody, ended });
  }

  /** Without an answer: the code ended the process, in the way of `end`. */
  async ask(question: Question): Promise<{ answer: Answer | null; end: HostEnd | null }> {
    const answer = await this.#peer.ask(question);
    return { answer, end: this.#end };
  }

  /** Resolves when the process is gone. */
  close(): Promise<void> {
    return this.#peer.close();
  }

  /** The same at once, whatever the code does. */
  kill(): Promise<void> {
    this.#peer.kill('the trial is over');
    return this.#peer.gone;
  }
}
