/** What a key may do, as the console offers it. */
import { session } from './session.svelte';

export const SCOPES = ['jobs:read', 'jobs:write', 'files:read', 'files:write', 'models:read', 'models:write', 'steps:write', 'admin', 'operator'] as const;
export type Scope = (typeof SCOPES)[number];

/** Those that the key at hand may give. */
export function offered(): Scope[] {
  return SCOPES.filter((scope) => scope !== 'operator' || session.can(scope));
}
