/** The page that the address names: `#/jobs/ftjob-1` is ['jobs', 'ftjob-1']; none is []. */
function parts(): string[] {
  const path = location.hash.replace(/^#\/?/, '');
  try {
    return path === '' ? [] : path.split('/').map(decodeURIComponent);
  } catch {
    return [];
  }
}

class Router {
  parts = $state.raw(parts());

  constructor() {
    addEventListener('hashchange', () => {
      this.parts = parts();
      scrollTo(0, 0);
    });
  }
}

export const router = new Router();

export function link(...words: string[]): string {
  return `#/${words.map(encodeURIComponent).join('/')}`;
}
