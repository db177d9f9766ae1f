/**
 * A job's ledger, read from its beginning as far as wanted, with totals by kind.
 *
 * The API has no totals: they are of what was read, and the page says how much that is.
 */
import { api, ask, asFailure, type ApiError, type LedgerEntry, type Page } from './client';

export interface Total {
  kind: string;
  calls: number;
  bytes: number;
  tensorBytes: number;
}

/** How many pages of 100 are read before the user is asked. */
const PAGES_AT_ONCE = 10;
/** Entries that are kept to be shown; totals go over all that were read. */
const KEPT = 1_000;

export class LedgerReader {
  newest = $state.raw<LedgerEntry[]>([]);
  totals = $state.raw<Total[]>([]);
  read = $state(0);
  complete = $state(false);
  busy = $state(false);
  failure = $state<ApiError | null>(null);
  private last: string | undefined;

  constructor(private job: string) {}

  /** Its ids are numbers from 1, and so is its cursor. */
  page = (last?: string): Promise<Page<LedgerEntry>> => {
    const query = { after: last === undefined ? undefined : Number(last), limit: 100 };
    return ask(api.GET('/v1/fine_tuning/jobs/{job_id}/ledger', { params: { path: { job_id: this.job }, query } }));
  };

  /** Reads on, up to some pages; where all was read, what came since. */
  go = async (): Promise<void> => {
    if (this.busy) return;
    this.busy = true;
    try {
      for (let pages = 0; pages < PAGES_AT_ONCE; pages += 1) {
        const page = await this.page(this.last);
        this.take(page.data);
        this.complete = !page.has_more;
        if (this.complete) break;
      }
      this.failure = null;
    } catch (error) {
      this.failure = asFailure(error);
      throw error;
    } finally {
      this.busy = false;
    }
  };

  private take(entries: LedgerEntry[]): void {
    if (entries.length === 0) return;
    this.last = entries.at(-1)?.id;
    this.read += entries.length;
    this.newest = [...[...entries].reverse(), ...this.newest].slice(0, KEPT);
    this.totals = addTotals(this.totals, entries);
  }
}

/** Totals with some entries more, in the order in which kinds first came. */
export function addTotals(totals: Total[], entries: LedgerEntry[]): Total[] {
  const byKind = new Map(totals.map((total) => [total.kind, { ...total }]));
  for (const { kind, bytes, tensors } of entries) {
    const total = byKind.get(kind) ?? { kind, calls: 0, bytes: 0, tensorBytes: 0 };
    total.calls += 1;
    total.bytes += bytes;
    total.tensorBytes += tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
    byKind.set(kind, total);
  }
  return [...byKind.values()];
}
