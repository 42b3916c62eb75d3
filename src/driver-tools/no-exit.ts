/**
 * Comes before each test file. A test that ended its process in good order would take those after it with it, and nobody
 * would miss them.
 */
process.exit = (code) => {
  throw new Error(`process.exit(${code ?? ''}) was called`);
};
