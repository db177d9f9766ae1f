/**
 * Who is signed in, in this tab alone.
 *
 * Owns: the key in sessionStorage, and what it may do.
 */
import { api, ask, listeners, useKey, type ApiError, type Me } from './client';

const SLOT = 'blindtune.key';
const RETRY_MS = 1_000;

class Session {
  key = $state<string | null>(null);
  me = $state<Me | null>(null);
  /** Whether the host does not answer at present. */
  lost = $state(false);
  /** Why the last session ended, where the user did not end it. */
  ended = $state<string | null>(null);
  /** Whether the key's scopes are known, or known to be unknown. */
  ready = $state(false);

  constructor() {
    listeners.answered = () => {
      if (this.lost) this.lost = false;
    };
    listeners.failed = (error) => this.heard(error);
    const kept = sessionStorage.getItem(SLOT);
    if (kept) void this.resume(kept);
  }

  private heard(error: ApiError): void {
    if (error.status === 0) this.lost = true;
    if (error.status === 401 && this.key) {
      this.signOut();
      this.ended = error.message;
    }
  }

  /** Throws where the host refuses the key. */
  async signIn(key: string): Promise<void> {
    this.ended = null;
    useKey(key);
    try {
      await this.learn();
    } catch (error) {
      useKey(null);
      throw error;
    }
    sessionStorage.setItem(SLOT, key);
    this.key = key;
    this.ready = true;
  }

  private async resume(key: string): Promise<void> {
    useKey(key);
    this.key = key;
    // A refused key is signed out by then. No page before the scopes are known: it would show buttons that are not allowed.
    while (this.key === key && !this.ready) {
      try {
        await this.learn();
        this.ready = true;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  private async learn(): Promise<void> {
    this.me = await ask(api.GET('/v1/me'));
  }

  signOut(): void {
    sessionStorage.removeItem(SLOT);
    useKey(null);
    this.key = null;
    this.me = null;
    this.ready = false;
  }

  /** Whether the key may do what a scope covers: `admin` covers all but `operator`. */
  can(scope: string): boolean {
    const scopes = this.me?.scopes ?? [];
    return scopes.includes(scope) || (scope !== 'operator' && scopes.includes('admin'));
  }
}

export const session = new Session();
