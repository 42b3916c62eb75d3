import { z } from 'zod';
import { limits } from './limits.ts';

const PATH = /^[A-Za-z0-9_][\w.-]*(\/[A-Za-z0-9_][\w.-]*)*\.(ts|js|mjs|json)$/;

/** `driver.ts`, `lib/codec.ts`: below the folder of the driver, without hidden files and without a way out. */
const file = z.string().max(200).regex(PATH, 'must be the path of a .ts, .js, .mjs or .json file below the folder of the driver, such as driver.ts');

const isSmall = (text: string): boolean => new TextEncoder().encode(text).length <= limits.inlineEditBytes;
const content = z.string().refine(isSmall, `must have at most ${limits.inlineEditBytes} bytes`);

/** The content of one file of a driver, sent to be tried live. */
export const driverEditSchema = z.strictObject({ file, content });
