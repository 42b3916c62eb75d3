interface UnderWay<T> {
  now: Promise<T>;
  /** Begins when `now` is over: for all who came since that began. */
  next: Promise<T> | null;
}

/**
 * Who asks the same while it is being asked shares an answer with others: the next one, not the one under way, which may be from
 * before something that they know of. However many ask, one question is under way and one waits.
 */
export class SharedAnswers<T> {
  readonly #underWay = new Map<string, UnderWay<T>>();

  ask(key: string, question: () => Promise<T>): Promise<T> {
    const underWay = this.#underWay.get(key);
    if (underWay === undefined) return this.#begin(key, question);
    const begin = (): Promise<T> => this.#begin(key, question);
    underWay.next ??= underWay.now.then(begin, begin);
    return underWay.next;
  }

  #begin(key: string, question: () => Promise<T>): Promise<T> {
    const underWay: UnderWay<T> = { now: question(), next: null };
    this.#underWay.set(key, underWay);
    const over = (): void => {
      if (underWay.next === null) this.#underWay.delete(key);
    };
    underWay.now.then(over, over);
    return underWay.now;
  }
}
