/* What a reader does goes to the server one thing after another: each names the version that it
   changes, which the answer to the one before gives. */

// What would be done twice if it were sent twice.
const ONCE = ["begin", "make", "send"];
// What must not happen to a report that lacks what was typed.
const WHOLE = ["sign", "amend", "make", "send"];

/** Sends changes in their order; one that is not answered in time is sent again as it was. */
export class Outbox {
  #waiting = [];
  #timer = null;
  #serial = 0;

  /**
   * @param send takes a change, with its serial; the same one when it is sent again.
   * @param patience milliseconds until a change is sent again.
   * @param clock starts and stops timers.
   */
  constructor(
    send,
    patience = 10_000,
    clock = { start: (work, wait) => setTimeout(work, wait), stop: (timer) => clearTimeout(timer) },
  ) {
    this.send = send;
    this.patience = patience;
    this.clock = clock;
    this.current = null;
  }

  /** Send a change after those that wait; what was typed into one sentence later replaces it. */
  put(change) {
    if (change.do === "write")
      this.#waiting = this.#waiting.filter((one) => one.do !== "write" || one.key !== change.key);
    this.#waiting.push(change);
    this.#next();
  }

  /** Take the answer to the current change; returns that change. */
  answered() {
    const change = this.current;
    this.clock.stop(this.#timer);
    this.current = null;
    return change;
  }

  /** Go on, once the answer has been taken in. */
  go() {
    this.#next();
  }

  /** What was typed was not stored: nothing is signed, saved or sent without it. */
  refused() {
    this.#waiting = this.#waiting.filter((one) => !WHOLE.includes(one.do));
  }

  /** Whether a change still has to reach the server. */
  get busy() {
    return Boolean(this.current) || this.#waiting.length > 0;
  }

  #next() {
    if (this.current || !this.#waiting.length) return;
    this.#serial += 1;
    this.current = { ...this.#waiting.shift(), serial: this.#serial };
    this.#try(this.current);
  }

  #try(change) {
    this.send(change);
    const isOnce = ONCE.includes(change.do);
    this.#timer = this.clock.start(
      () => {
        if (this.current !== change) return;
        if (!isOnce) {
          this.#try(change);
          return;
        }
        this.current = null;
        this.#next();
      },
      isOnce ? 12 * this.patience : this.patience,
    );
  }
}
