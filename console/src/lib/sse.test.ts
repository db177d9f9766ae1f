import { expect, it } from 'vitest';
import { EventParser } from './sse';

const STREAM = 'id: a\nevent: job.status\ndata: {"x":\ndata: 1}\n\n: still here\n\nid:b\r\ndata:two\r\n\r\ndata: [DONE]\n\n';

it('any cut of a stream gives the same messages', () => {
  const whole = new EventParser().feed(STREAM);
  expect(whole).toEqual([
    { id: 'a', data: '{"x":\n1}' },
    { id: 'b', data: 'two' },
    { id: 'b', data: '[DONE]' },
  ]);
  for (let size = 1; size < STREAM.length; size += 1) {
    const parser = new EventParser();
    const pieces = STREAM.match(new RegExp(`[^]{1,${size}}`, 'g')) ?? [];
    expect(pieces.flatMap((piece) => parser.feed(piece))).toEqual(whole);
  }
});
