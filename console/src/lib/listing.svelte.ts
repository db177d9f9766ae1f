/** One list of the API as a page shows it: first page, more, and read again in place. */
import { asFailure, type ApiError, type Page } from './client';
import { merge } from './paging';

export const PAGE = 50;
/** The most that the API gives at once. */
export const LARGEST_PAGE = 100;

export class Listing<T extends { id: string }> {
  items = $state.raw<T[]>([]);
  more = $state(false);
  loaded = $state(false);
  busy = $state(false);
  failure = $state<ApiError | null>(null);
  private turn = 0;
  private queue: Promise<void> = Promise.resolve();

  constructor(
    private fetchPage: (after: string | undefined, limit: number) => Promise<Page<T>>,
    private size = PAGE,
  ) {}

  /** What a page has to say of it: a host that does not answer is told at the top, while there is something to show. */
  get trouble(): ApiError | null {
    return this.failure && (this.failure.status || !this.loaded) ? this.failure : null;
  }

  /** The newest page; and of those behind it one, in turn. */
  refresh = (): Promise<void> =>
    this.alone(async () => {
      await this.read(0);
      const pages = Math.ceil(this.items.length / this.size) - 1;
      if (pages > 0) await this.read(1 + (this.turn++ % pages));
    });

  /** One page more, at the end; a search reads larger ones. */
  next = (size = this.size): Promise<void> =>
    this.alone(async () => {
      this.busy = true;
      try {
        await this.readFrom(this.items.length, size);
      } finally {
        this.busy = false;
      }
    });

  /** Put a newer state of one item in its place. */
  put(item: T): void {
    this.items = this.items.map((other) => (other.id === item.id ? item : other));
  }

  drop(id: string): void {
    this.items = this.items.filter((item) => item.id !== id);
  }

  private read(page: number): Promise<void> {
    return this.readFrom(Math.min(page * this.size, this.items.length));
  }

  private async readFrom(start: number, size = this.size): Promise<void> {
    const after = start > 0 ? this.items[start - 1]?.id : undefined;
    const page = await this.fetchPage(after, size);
    const merged = merge({ items: this.items, more: this.more }, page, start);
    this.items = merged.items;
    this.more = merged.more;
    this.loaded = true;
    this.failure = null;
  }

  /** One reading at a time: two would merge into the same list. */
  private alone(work: () => Promise<void>): Promise<void> {
    const mine = this.queue.then(work);
    this.queue = mine.catch((error: unknown) => {
      this.failure = asFailure(error);
    });
    return mine;
  }
}
