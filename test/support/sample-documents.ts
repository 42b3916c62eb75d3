import {
  edgeSchema,
  moduleSchema,
  systemSchema,
  type EdgeDocument,
  type ModuleDocument,
  type SystemDocument,
} from '../../src/shared/model/documents.ts';

/** Documents with every default filled in. */

export const edgeDocument = (id: string, fields: Partial<EdgeDocument> = {}): EdgeDocument =>
  edgeSchema.parse({ id, type: 'edge', name: id, ...fields });

export const systemDocument = (id: string, fields: Partial<SystemDocument> = {}): SystemDocument =>
  systemSchema.parse({ id, type: 'sys', name: id, ...fields });

export const moduleDocument = (id: string, fields: Partial<ModuleDocument> = {}): ModuleDocument =>
  moduleSchema.parse({ id, type: 'mod', driver_id: 'driver-mock', name: 'Display', ...fields });
