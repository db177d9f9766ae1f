/**
 * The token that the board printed, in this tab alone.
 *
 * Owns: its way from the address to sessionStorage. Must never: leave it in the address or in the history.
 */
import { listeners, server, useKey, type ApiError } from '../lib/http';

const SLOT = 'blindtune.board.token';
const GIVEN = /^#token=([\w-]+)$/;
const HOME = '#/runs';

function given(): string | null {
  return GIVEN.exec(location.hash)?.[1] ?? null;
}

class Door {
  token = $state<string | null>(given() ?? sessionStorage.getItem(SLOT));
  /** Why it is shut again. */
  refused = $state<string | null>(null);
  /** Whether the board does not answer at present. */
  lost = $state(false);

  constructor() {
    server.name = 'The board';
    listeners.answered = () => (this.lost = false);
    listeners.failed = (error) => this.heard(error);
    if (given()) history.replaceState(null, '', HOME);
    this.enter(this.token);
    addEventListener('hashchange', () => {
      const token = given();
      if (!token) return;
      location.replace(HOME);
      this.enter(token);
    });
  }

  enter(token: string | null): void {
    this.token = token;
    this.refused = null;
    useKey(token);
    if (token) sessionStorage.setItem(SLOT, token);
  }

  private heard(error: ApiError): void {
    if (error.status === 0) this.lost = true;
    if (error.status !== 401) return;
    sessionStorage.removeItem(SLOT);
    useKey(null);
    this.token = null;
    this.refused = error.message;
  }
}

export const door = new Door();
