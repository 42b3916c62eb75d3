export type Verdict = 'ok' | 'warning' | 'problem';

/** What one check of the doctor found. `fix`: the command or setting that mends it; null: there is nothing to mend. */
export interface Finding {
  check: string;
  verdict: Verdict;
  found: string;
  fix: string | null;
}

export const ok = (check: string, found: string): Finding => ({ check, verdict: 'ok', found, fix: null });
export const warning = (check: string, found: string, fix: string): Finding => ({ check, verdict: 'warning', found, fix });
export const problem = (check: string, found: string, fix: string): Finding => ({ check, verdict: 'problem', found, fix });

/** What was found, or one line that says that all is well. */
export const orOk = (findings: Finding[], check: string, found: string): Finding[] => (findings.length > 0 ? findings : [ok(check, found)]);
