/** Numbers with their units, and times, for people. */

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en-US', { maximumSignificantDigits: 3 });

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? '–' : whole.format(value);
}

/** `1 step`, `1,204 steps`. */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** Decimal units: 1 kB is 1,000 bytes. */
export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–';
  return scaled(value, 1000, ['B', 'kB', 'MB', 'GB', 'TB', 'PB']);
}

function scaled(value: number, step: number, units: string[]): string {
  let rest = value;
  let index = 0;
  // 999,950 would round to "1,000 kB".
  while (Math.abs(Number(rest.toPrecision(3))) >= step && index < units.length - 1) {
    rest /= step;
    index += 1;
  }
  return `${index === 0 ? whole.format(rest) : short.format(rest)} ${units[index]}`;
}

/** A length of time: `340 ms`, `12.3 s`, `4 min`, `2 h 5 min`, `3 d 4 h`. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return '–';
  if (seconds === 0) return '0 s';
  if (seconds < 1) return `${short.format(seconds * 1000)} ms`;
  if (seconds < 60) return `${short.format(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return two(hours, 'h', minutes % 60, 'min');
  return two(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

function two(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

/** `12 s ago`, `in 3 d`; the host's clock and this one may differ by some seconds. */
export function relative(at: number, now: number): string {
  const past = now - at;
  if (Math.abs(past) < 5) return 'now';
  const size = Math.abs(past);
  let text = `${Math.floor(size / 86_400)} d`;
  if (size < 60) text = `${Math.floor(size)} s`;
  else if (size < 3_600) text = `${Math.floor(size / 60)} min`;
  else if (size < 86_400) text = `${Math.floor(size / 3_600)} h`;
  return past > 0 ? `${text} ago` : `in ${text}`;
}

/** `2026-11-30 16:04:05 UTC`. */
export function exact(at: number): string {
  return new Date(at * 1000).toISOString().replace('T', ' ').replace(/\.\d+Z$/, ' UTC');
}

export function day(at: Date): string {
  return at.toISOString().slice(0, 10);
}

/** The last characters of an id, which tell ids of one kind apart. */
export function tail(id: string, length = 8): string {
  return id.length <= length + 2 ? id : `…${id.slice(-length)}`;
}

/** A limit of the host by its name, which carries its unit. */
export function limit(name: string, value: unknown): string {
  if (typeof value !== 'number') return String(value);
  if (/(^|_)bytes(_|$)/.test(name)) return bytes(value);
  if (/_(secs|seconds)$/.test(name)) return duration(value);
  if (/_ms$/.test(name)) return duration(value / 1000);
  if (/_days$/.test(name)) return plural(value, 'day');
  if (/tokens/.test(name)) return `${count(value)} tokens`;
  return Number.isInteger(value) ? count(value) : short.format(value);
}

/** One value of a chart or of a reported metric. */
export function figure(value: number | null | undefined): string {
  return value === null || value === undefined ? '–' : new Intl.NumberFormat('en-US', { maximumSignificantDigits: 5 }).format(value);
}

/** Lines of CSV. A cell that a spreadsheet would take for a formula is quoted as text. */
export function csv(rows: (string | number | null)[][]): string {
  return rows.map((row) => row.map(cell).join(',') + '\r\n').join('');
}

function cell(value: string | number | null): string {
  if (value === null) return '';
  if (typeof value === 'number') return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
