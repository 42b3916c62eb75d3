const DEADLINE_MS = 120_000;

/** Asks until there is an answer. Throws after two minutes, with what was waited for. */
export async function poll<T>(what: string, ask: () => Promise<T | null>): Promise<T> {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const answer = await ask().catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
      throw error;
    });
    if (answer !== null) return answer;
    if (Date.now() > deadline) throw new Error(`waited too long: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
