// Opens the store at argv[2] and prints what came of it.
import { openEmbeddedStore } from '../../../../dist/shared/adapters/store-embedded/embedded-store.js';

const ignore = () => undefined;
const log = { debug: ignore, info: ignore, warn: ignore, error: ignore, child: () => log };
try {
  const store = await openEmbeddedStore({ path: process.argv[2], log });
  await store.close();
  console.log(JSON.stringify({ opened: true }));
} catch (error) {
  console.log(JSON.stringify(error));
}
