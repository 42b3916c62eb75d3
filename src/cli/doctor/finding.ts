export type Verdict = 'ok' | 'warning' | 'problem';

/**
 * What one check of the doctor found. `fix`: what mends it; null: there is nothing to mend. Commands in it stand between
 * backticks and work as they are printed; what is between < and > is for a person to fill in.
 */
export interface Finding {
  check: string;
  verdict: Verdict;
  found: string;
  fix: string | null;
}

export const ok = (check: string, found: string): Finding => ({ check, verdict: 'ok', found, fix: null });
export const warning = (check: string, found: string, fix: string): Finding => ({ check, verdict: 'warning', found, fix });
export const problem = (check: string, found: string, fix: string): Finding => ({ check, verdict: 'problem', found, fix });

/** A path as one word of a shell, whatever is in it. */
export const shellWord = (path: string): string => (/^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`);

/** What was found, or one line that says that all is well. */
export const orOk = (findings: Finding[], check: string, found: string): Finding[] => (findings.length > 0 ? findings : [ok(check, found)]);
