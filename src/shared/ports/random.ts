export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** Hex of that many random bytes. Secrets and ids. */
  hex(bytes: number): string;
}
