/** One user's action at a time, and what went wrong with it. */
import { asFailure, type ApiError } from './http';

export class Attempt {
  failure = $state<ApiError | null>(null);
  busy = $state(false);

  /** Whether it went well. */
  async run(work: () => Promise<void>): Promise<boolean> {
    if (this.busy) return false;
    this.busy = true;
    this.failure = null;
    try {
      await work();
      return true;
    } catch (error) {
      this.failure = asFailure(error);
      return false;
    } finally {
      this.busy = false;
    }
  }
}
