/** Where the drivers of a node come from. */
export interface Repository {
  /** What git is told to fetch from; without user and password. */
  url: string;
  /** For a server that asks for them; null: none were given. */
  credentials: { user: string; password: string } | null;
  /** The branch that `pull` follows; null: the default branch of the repository. */
  branch: string | null;
  /** Folder of the drivers in it; empty: its root. */
  path: string;
}

const FORMS = 'https://host/path.git, ssh://user@host/path.git, or the absolute path of a repository on this machine';
const SCP_LIKE = /^[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9.-]+:[^\s]+$/;

/** The address of a repository without what is secret in it. The problem never repeats the text. */
export function parseRepositoryUrl(text: string): Pick<Repository, 'url' | 'credentials'> | { problem: string } {
  if (/[\s\p{Cc}]/u.test(text)) return { problem: 'has blanks or control characters' };
  if (text.startsWith('/')) return { url: text, credentials: null };
  if (SCP_LIKE.test(text)) return { url: text, credentials: null };
  if (!URL.canParse(text)) return { problem: `is not the address of a repository; write ${FORMS}` };
  const url = new URL(text);
  const { protocol, hostname, username, password } = url;
  if (protocol === 'file:' && hostname === '') return { url: text, credentials: null };
  if (protocol === 'ssh:') {
    return password === '' ? { url: text, credentials: null } : { problem: 'has a password; ssh takes keys only' };
  }
  const loopback = hostname === 'localhost' || hostname === '[::1]' || hostname.startsWith('127.');
  if (protocol !== 'https:' && !(protocol === 'http:' && loopback)) return { problem: `is not of a kind that is fetched from; write ${FORMS}` };
  if (url.search !== '' || url.hash !== '') return { problem: 'has more than a path; tokens go before the host, as in https://user:token@host/path.git' };
  url.username = '';
  url.password = '';
  const given = username !== '' || password !== '';
  return { url: url.href, credentials: given ? { user: decodeURIComponent(username), password: decodeURIComponent(password) } : null };
}

/** A branch, tag or commit as git is asked for it: nothing that could be an option or an expression. */
export const REVISION = /^(?!.*(?:\.\.|\/\/|@\{|\.lock(?:\/|$)))[A-Za-z0-9][A-Za-z0-9._/-]{0,198}[A-Za-z0-9_]$|^[A-Za-z0-9]$/;
/** A commit by its hash, whole or the beginning of it: it never moves. */
export const isCommitHash = (revision: string): boolean => /^[0-9a-f]{7,64}$/.test(revision);

/** As people name a commit. Logs take longer rows of hex digits for secrets. */
export const shortCommit = <C extends string | null>(commit: C): C | string =>
  commit !== null && /^[0-9a-f]{40,64}$/.test(commit) ? commit.slice(0, 12) : commit;

/** A folder below the root of the repository. */
export const REPOSITORY_PATH = /^(?!.*(?:^|\/)\.{1,2}(?:\/|$))[A-Za-z0-9._-]+(?:\/[A-Za-z0-9._-]+)*$/;
