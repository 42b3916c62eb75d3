import { plural } from '../format.ts';
import type { StoreFacts } from './facts.ts';
import { type Finding, ok, orOk, problem } from './finding.ts';

const CHECK = 'database';

/** A database as a server would use it: what keeps a server from reading or writing, and indexes that hide documents. */
export function checkStore({ address, replicated, trouble, problem: found, index }: StoreFacts): Finding[] {
  if (trouble !== null) return [problem(CHECK, `${address}: ${found}`, fixes[trouble])];
  const bad: Finding[] = [];
  if (index !== null && index.differences > 0) {
    const indexes = plural(index.differences, 'index', 'indexes');
    const verb = index.differences === 1 ? 'disagrees' : 'disagree';
    bad.push(problem(
      CHECK,
      `${indexes} ${verb} with the documents, of which ${index.hidden} are hidden`,
      '`holdfast index rebuild` with the environment of the server, then restart the servers',
    ));
  }
  const anew = 'write the document anew with `holdfast apply -f <file>`, or remove it in the database';
  for (const damaged of index?.damaged ?? []) bad.push(problem(CHECK, damaged, anew));
  if (replicated) return [ok(CHECK, `${address}, a copy; heartbeats of the master arrive`)];
  return orOk(bad, CHECK, `${address}, ${index === null ? 'servers are writing' : plural(index.documents, 'document')}`);
}

const fixes: Record<NonNullable<StoreFacts['trouble']>, string> = {
  sdk: '`npm install couchbase@4.7.1`, in the folder of Holdfast',
  away: 'see whether the database runs and can be reached from here; until then the server goes on without it',
  replication:
    '`holdfast xdcr status --centre <address>` says why; `holdfast xdcr setup --centre <address> --site <address> --name <name>` makes what is missing',
  credentials: 'correct the user in HOLDFAST_STORE or the password in HOLDFAST_STORE_PASSWORD_FILE: couchbase-cli user-manage --list shows the users',
  bucket: 'make the bucket, or correct HOLDFAST_STORE: couchbase-cli bucket-create --bucket-replica 0; docs/couchbase.md has the steps',
  scope: 'make the two scopes and their collections: couchbase-cli collection-manage --create-scope; docs/couchbase.md lists them',
  durability: 'couchbase-cli bucket-edit --bucket-replica 0, then rebalance; or add data nodes',
  room: 'free disk space on the data nodes, or raise the quota: couchbase-cli bucket-edit --bucket-ramsize',
  other: 'docs/couchbase.md says what a server needs',
};
