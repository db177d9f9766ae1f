import { describe, expect, it } from 'vitest';
import { bytes, csv, duration, exact, limit, plural, relative, tail } from './format';

describe('numbers', () => {
  it('bytes are given in decimal units, and never as 1,000 of a smaller one', () => {
    expect([0, 999, 1000, 294_912, 999_949, 999_999, 1_400_000_000].map(bytes)).toEqual([
      '0 B', '999 B', '1 kB', '295 kB', '1 MB', '1 MB', '1.4 GB',
    ]);
    expect(bytes(null)).toBe('–');
  });

  it('lengths of time have the unit that fits', () => {
    expect([0, 0.34, 12.34, 240, 7_500, 7_200, 273_600].map(duration)).toEqual([
      '0 s', '340 ms', '12.3 s', '4 min', '2 h 5 min', '2 h', '3 d 4 h',
    ]);
  });

  it('one is not many', () => {
    expect([plural(1, 'job'), plural(1_204, 'job'), plural(0, 'entry', 'entries')]).toEqual(['1 job', '1,204 jobs', '0 entries']);
  });

  it('a limit has the unit that its name carries', () => {
    expect(limit('body_bytes', 2_000_000)).toBe('2 MB');
    expect(limit('held_bytes_per_job', 1000)).toBe('1 kB');
    expect(limit('idle_pause_secs', 90)).toBe('2 min');
    expect(limit('batch_tokens', 4096)).toBe('4,096 tokens');
    expect(limit('running_per_project', 8)).toBe('8');
  });
});

describe('times', () => {
  it('are told from now, in both directions', () => {
    const now = 1_000_000;
    expect([0, 12, 200, 7_300, 400_000].map((age) => relative(now - age, now))).toEqual([
      'now', '12 s ago', '3 min ago', '2 h ago', '4 d ago',
    ]);
    expect(relative(now + 90_000, now)).toBe('in 1 d');
  });

  it('are exact in UTC', () => {
    expect(exact(1_795_571_857)).toBe('2026-11-25 01:57:37 UTC');
  });
});

it('an id is shortened to its end', () => {
  expect(tail('ftjob-019ab2c3d4e57f60a1b2c3d4e5f60718')).toBe('…e5f60718');
  expect(tail('short')).toBe('short');
});

it('CSV quotes what needs it, and a formula is text', () => {
  expect(csv([['a,b', 'say "x"', null, 1.5], ['=1+1', '-2', 'x', -2]])).toBe('"a,b","say ""x""",,1.5\r\n\'=1+1,\'-2,x,-2\r\n');
});
