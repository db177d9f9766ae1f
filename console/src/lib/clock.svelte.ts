/** The time, in seconds, as relative times need it. */
class Clock {
  now = $state(Date.now() / 1000);

  constructor() {
    setInterval(() => (this.now = Date.now() / 1000), 5_000);
  }
}

export const clock = new Clock();
