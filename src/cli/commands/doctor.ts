import type { Command } from 'commander';
import { checkData } from '../doctor/data-checks.ts';
import type { DataFacts, FederationFacts } from '../doctor/facts.ts';
import { checkFederation } from '../doctor/federation-checks.ts';
import type { Finding, Verdict } from '../doctor/finding.ts';
import { gatherFederation } from '../doctor/gather.ts';
import { checkSite } from '../doctor/site-checks.ts';
import { CliFailure } from '../failures.ts';
import type { Cell, Colour } from '../format.ts';
import type { Session } from '../session.ts';

export interface Diagnosis {
  data: DataFacts | null;
  federation: FederationFacts | null;
  findings: Finding[];
}

export function addDoctor(program: Command, session: Session): void {
  program
    .command('doctor')
    .description('look for what is wrong in a federation, or in a data directory on this machine, and say the command that mends it')
    .option('--data <directory>', 'the data directory of a server (HOLDFAST_DATA); without a server named as well, only that is looked at')
    .action(async ({ data }: { data?: string }) => {
      const { findings } = await diagnose(session, data);
      session.result(findings, () => findingsTable(session, findings));
      const problems = findings.filter(({ verdict }) => verdict === 'problem').length;
      if (problems > 0) throw new CliFailure(
        problems === 1 ? '1 problem' : `${problems} problems`,
        'the last column says what mends each; then holdfast doctor again',
      );
    });
}

/** Looks at the data directory, if one is named, and at the federation, if a server is named or nothing is. */
export async function diagnose(session: Session, dataOption: string | undefined): Promise<Diagnosis> {
  const { deps } = session;
  const folder = dataOption ?? (deps.env['HOLDFAST_DATA'] || undefined);
  const data = folder === undefined ? null : await deps.inspect({ folder, env: deps.env, signal: deps.signal });
  const federation = folder === undefined || session.serverNamed ? await gatherFederation(session) : null;
  const nowMs = deps.clock.wallMs();
  const site = mergedSite(data, federation);
  const findings = [
    ...(data === null ? [] : checkData(data, nowMs, federation?.site?.keys ?? null)),
    ...(federation === null ? [] : checkFederation(federation)),
    ...(site === null ? [] : checkSite(site, nowMs)),
  ];
  return { data, federation, findings };
}

/** A server that runs knows more of its documents than its files, and the directory which drivers there are. */
function mergedSite(data: DataFacts | null, federation: FederationFacts | null): DataFacts['site'] {
  const site = federation?.site ?? data?.site ?? null;
  return site === null ? null : { ...site, builtins: site.builtins ?? data?.site?.builtins ?? null };
}

const colours: Record<Verdict, Colour> = { ok: 'green', warning: 'yellow', problem: 'red' };

function findingsTable(session: Session, findings: Finding[]): string {
  const rows = findings.map(({ check, verdict, found, fix }): Cell[] => [{ text: verdict, colour: colours[verdict] }, check, found, fix ?? '']);
  return session.table(['VERDICT', 'CHECK', 'FOUND', 'WHAT MENDS IT'], rows);
}
