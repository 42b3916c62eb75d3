import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A file system of its own that is soon full. */
export interface TinyDisk {
  folder: string;
  /** Takes every byte that is free. */
  fill: () => void;
  /** Gives them back. */
  free: () => void;
  makeReadOnly: () => void;
  unmount: () => void;
}

/** Mounts a file system in memory; null where this user may not. */
export function mountTinyDisk(bytes: number): TinyDisk | null {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder], { stdio: 'ignore' });
  } catch {
    rmSync(folder, { recursive: true });
    return null;
  }
  const filler = join(folder, 'filler');
  return {
    folder,
    fill: () => {
      const { bavail, bsize } = statfsSync(folder);
      writeFileSync(filler, Buffer.alloc(bavail * bsize));
    },
    free: () => rmSync(filler, { force: true }),
    makeReadOnly: () => execFileSync('mount', ['-o', 'remount,ro', folder]),
    unmount: () => {
      // Lazily: SQLite may keep a file open until the garbage is collected.
      execFileSync('umount', ['-l', folder]);
      if (existsSync(folder)) rmSync(folder, { recursive: true });
    },
  };
}
