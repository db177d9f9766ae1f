/** What is asked of the board once, when a page opens. */
import { asFailure, type ApiError } from '../lib/http';
import { get } from './api';

export class Asked<T> {
  value = $state.raw<T | null>(null);
  failure = $state<ApiError | null>(null);

  constructor(private readonly path: string) {}

  async load(): Promise<void> {
    try {
      this.value = await get<T>(this.path);
      this.failure = null;
    } catch (error) {
      this.failure = asFailure(error);
      throw error;
    }
  }
}
