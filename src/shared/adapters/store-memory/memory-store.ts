import { limits } from '../../model/limits.ts';
import type { DocumentStore } from '../../ports/document-store.ts';
import { type CommitDraft, DocumentTable } from '../../runtime/documents/document-table.ts';
import { TableStore } from '../../runtime/documents/table-store.ts';

export interface MemoryStoreOptions {
  /** Names the feed; give each history its own. */
  generation?: string;
  /** Removals that the feed remembers. */
  tombstones?: number;
}

/** The document store without a disk, for the simulator and for tests. Closing loses nothing: the next node goes on. */
export function createMemoryStore(options: MemoryStoreOptions = {}): DocumentStore {
  return new MemoryStore(new DocumentTable(options.generation ?? 'memory', options.tombstones ?? limits.storeTombstones));
}

class MemoryStore extends TableStore {
  async close(): Promise<void> {
    this.listeners.clear();
  }

  protected async commit<T>(plan: (draft: CommitDraft) => T): Promise<T> {
    const draft = this.table.draft();
    const result = plan(draft);
    const touched = this.table.commit(draft.commit);
    if (touched.size > 0) for (const listener of this.listeners) listener(this.table.head, touched);
    return result;
  }
}
