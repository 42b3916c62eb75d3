import { WebSocket } from 'ws';

/** As much of a browser as the published client needs, with the key in the address, as fixed panels are set up. */
function pretendBrowser(search: string): void {
  const storage = () => {
    const items = new Map<string, string>();
    return {
      getItem: (key: string) => items.get(key) ?? null,
      setItem: (key: string, value: string) => void items.set(key, value),
      removeItem: (key: string) => void items.delete(key),
    };
  };
  const location = { protocol: 'http:', host: '', href: `http://panel/${search}`, hash: '', search, pathname: '/', reload: () => undefined, assign: () => undefined };
  const globals = { location, localStorage: storage(), sessionStorage: storage(), document: { cookie: '' }, navigator: { userAgent: 'test' }, WebSocket };
  for (const [name, value] of Object.entries(globals)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  Object.assign(globalThis, { window: globalThis, parent: globalThis });
}

interface Observable<T> {
  subscribe(listener: (value: T) => void): unknown;
  toPromise(): Promise<T | undefined>;
}

interface Variable {
  sys: string;
  mod: string;
  index: number;
  name: string;
}

export interface Page {
  total: number;
  data: { id: string; name: string }[];
  next?: () => Observable<Page> | null;
}

/** What the tests use of the client; the types that it comes with need those of a browser. */
export interface PublishedClient {
  setup(options: Record<string, unknown>): Promise<void>;
  apiEndpoint(): string;
  querySystems(query: Record<string, unknown>): Observable<Page>;
  showSystem(id: string): Observable<{ id: string; name: string }>;
  listen(variable: Variable): Observable<unknown>;
  bind(variable: Variable): Promise<unknown>;
  /** Its variables bind again by themselves when the socket was lost; a bare `bind` does not. */
  getModule(system: string, module: string, index: number): { variable(name: string): { bindThenSubscribe(next: (value: unknown) => void): unknown } };
  execute(call: Variable & { args?: unknown[] }): Promise<unknown>;
  debug(module: Variable): Promise<unknown>;
  ignore(module: Variable): Promise<unknown>;
  debug_events: Observable<{ mod_id: string; message: string }>;
  /** Number of the socket, and how long it lived. */
  connectionState(): Observable<[number, number]>;
}

/** The published client, unmodified, once per test file: the file that bundlers take, for its `main` is none that Node can load. */
export async function importPublishedClient(apiKey: string): Promise<PublishedClient> {
  if (!('localStorage' in globalThis)) pretendBrowser(`?x-api-key=${apiKey}`);
  const file: string = '@placeos/ts-client/dist/index.es.js';
  return (await import(file)) as PublishedClient;
}
