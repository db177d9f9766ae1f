/** Light or dark: as the system has it, until the user chooses. */
export type Theme = 'auto' | 'light' | 'dark';

const SLOT = 'blindtune.theme';
const system = matchMedia('(prefers-color-scheme: dark)');

class Appearance {
  theme = $state<Theme>((localStorage.getItem(SLOT) as Theme | null) ?? 'auto');
  private systemDark = $state(system.matches);
  dark = $derived(this.theme === 'auto' ? this.systemDark : this.theme === 'dark');

  constructor() {
    system.addEventListener('change', () => (this.systemDark = system.matches));
    this.apply();
  }

  choose(theme: Theme): void {
    this.theme = theme;
    if (theme === 'auto') localStorage.removeItem(SLOT);
    else localStorage.setItem(SLOT, theme);
    this.apply();
  }

  private apply(): void {
    if (this.theme === 'auto') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.theme;
  }
}

export const appearance = new Appearance();
