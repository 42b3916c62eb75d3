import { endWithParent, tell } from '../support/child.ts';
import { startAnsweringMaster } from '../support/link-ends.ts';

endWithParent();
tell(await startAnsweringMaster(process.argv[2] ?? ''));
