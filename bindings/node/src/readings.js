// SPDX-License-Identifier: Apache-2.0
//
// Readings of the node's total in the background: one every interval, each with its place on this process's
// clock and with what is known of the time since the one before. The agent stamps a sample on its own
// interval clock; the answers say how old a sample was, and the least delay seen says how the two clocks
// differ. A reading so placed is never later than its arrival.
import { difference, joulesOf, noteOf } from './totals.js';

const DELAYS = 64; // of which the least counts
const JUMP_MS = 5000; // between the clocks: begin anew

export class ClockMap {
  constructor() {
    this.offsets = [];
  }

  reset() {
    this.offsets = [];
  }

  /** Where a stamp lies here, which was `age` old when an answer left that arrived now (all ms). */
  place(stamp, age, now) {
    const offset = now - (stamp + age);
    if (this.offsets.length && offset - Math.min(...this.offsets) > JUMP_MS)
      this.reset();
    this.offsets.push(offset);
    if (this.offsets.length > DELAYS)
      this.offsets.shift();
    return stamp + Math.min(...this.offsets);
  }
}

export class Readings {
  /**
   * @param {Client} client
   * @param {object} how interval (ms); longest: a step of more ms is not shared; reading: called with each,
   *   { t, joules, whole, note }; state: called with null when the agent answers again, and with the error
   *   when it does not
   */
  constructor(client, { interval, longest, reading, state }) {
    this.client = client;
    this.interval = interval;
    this.longest = longest;
    this.onReading = reading;
    this.onState = state;
    this.clock = new ClockMap();
    this.note = null;
    this.t = null;
    this.timer = null;
    this.asking = null;
    this.away = false;
    this.closed = false;
    this.abort = new AbortController();
  }

  start() {
    this.ask();
  }

  /** Takes a reading now. Resolves when it is settled, or the agent did not answer. */
  ask() {
    this.asking ??= this.once().finally(() => {
      this.asking = null;
      if (this.closed)
        return;
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.ask(), this.interval);
      this.timer.unref();
    });
    return this.asking;
  }

  async once() {
    try {
      const note = noteOf(await this.client.totals({ fresh: true, signal: this.abort.signal,
        timeout: Math.max(5000, this.interval) }));
      this.take(note, performance.now());
    } catch (error) {
      if (this.closed)
        return;
      if (!this.away)
        this.clock.reset();
      this.away = true;
      this.onState(error);
    }
  }

  take(note, now) {
    if (note.uj === null)
      throw Object.assign(new Error('the agent has no reading of the node'), { code: 'no_reading' });
    const before = this.note;
    if (before && note.boot_ns < before.boot_ns)
      this.clock.reset();
    const placed = this.clock.place(note.boot_ns / 1e6, note.age_seconds * 1e3, now);
    if (this.away) {
      this.away = false;
      this.onState(null);
    }
    if (before && note.boot_ns === before.boot_ns)
      return; // the same sample
    const t = Math.min(now, Math.max(placed, this.t ?? placed));
    const { uj, reasons } = before ? difference(before, note, { earlier: true }) : { uj: null, reasons: ['first'] };
    const seconds = before ? (note.boot_ns - before.boot_ns) / 1e9 : 0;
    this.note = note;
    this.t = t;
    this.onReading({
      t,
      note,
      joules: joulesOf(uj),
      whole: uj !== null && reasons.length === 0 && seconds * 1e3 <= this.longest,
      first: before === null,
    });
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.abort.abort();
  }
}
