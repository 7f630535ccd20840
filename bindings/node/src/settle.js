// SPDX-License-Identifier: Apache-2.0
//
// Who used the energy between two readings. Within a step (from one reading to the next) the power is taken
// as even, and each moment's power is shared evenly among the requests in flight at that moment; with
// none in flight it is non-request energy. So for every step, and for any overlap of requests,
//
//     energy = what finished requests got + what unfinished ones have + non-request
//
// A reading arrives after the time it is about, and a request may have finished before the reading that covers
// it: begins and ends are kept in order until then. One running number, energy per request in flight since
// the start, makes a request's share a difference of two of its values; it is kept as whole joules and a
// rest, so that it loses nothing over years.
//
// A step whose energy is not known, or not known to be of all of the time, is not shared: what is known
// of it is non-request energy, and every request that was in flight in it is unmeasured: it gets no figure, and
// what it had gathered before and gathers later is non-request energy, so that the sums close.

export const EVENTS_MAX = 1 << 18; // begins and ends that wait for a reading

export class Settlement {
  /**
   * @param {(entry: object, joules: number|null) => void} settled called once for each ended request with what
   *   `begin` returned; null: unmeasured
   */
  constructor(settled, { eventsMax = EVENTS_MAX } = {}) {
    this.settled = settled;
    this.eventsMax = eventsMax;
    this.times = []; // of begins and ends, which alternate for one request
    this.entries = []; // theirs
    this.t = null; // of the last reading
    this.step = 0;
    this.lastUnshared = -1;
    this.lost = false; // this step will not be shared
    this.inFlight = 0; // as of the last reading
    this.doomed = 0; // of them, that will be unmeasured
    this.whole = 0; // joules per request in flight, since the start
    this.part = 0; // of a joule
    this.energy = 0; // joules of all steps
    this.nonRequest = 0;
    this.finished = 0; // joules that settled requests got
    this.unfinished = 0; // joules of those in flight that will have a figure
    this.unmeasured = 0; // requests
    this.unknownSeconds = 0; // of steps that were not shared
  }

  /** A request begins at t (ms, never falling). Returns what `end` takes; pair and status are the caller's. */
  begin(t) {
    const entry = { pair: null, status: null, step: -1, whole: 0, part: 0 };
    this.note(entry, t);
    return entry;
  }

  end(entry, t) {
    this.note(entry, t);
  }

  note(entry, t) {
    if (this.times.length >= this.eventsMax)
      this.giveUp();
    this.times.push(t);
    this.entries.push(entry);
  }

  /** Too many wait, or for too long: this step will not be shared, and they are settled without a figure. */
  giveUp() {
    this.lost = true;
    this.doom();
    for (const entry of this.entries)
      this.event(entry);
    this.times = [];
    this.entries = [];
  }

  doom() {
    this.lastUnshared = this.step;
    this.doomed = this.inFlight;
    this.nonRequest += this.unfinished;
    this.unfinished = 0;
  }

  // after: a begin at the moment of the reading itself is of the next step.
  event(entry, after = false) {
    if (entry.step < 0) {
      entry.step = this.step + (after ? 1 : 0);
      entry.whole = this.whole;
      entry.part = this.part;
      this.inFlight++;
      if (this.lastUnshared === entry.step)
        this.doomed++;
      return;
    }
    this.inFlight--;
    if (this.lastUnshared >= entry.step) {
      this.doomed--;
      this.unmeasured++;
      this.settled(entry, null);
      return;
    }
    const joules = Math.max(0, this.whole - entry.whole + (this.part - entry.part));
    this.unfinished = this.inFlight === this.doomed ? 0 : Math.max(0, this.unfinished - joules);
    this.finished += joules;
    this.settled(entry, joules);
  }

  /**
   * The reading of time t (ms, not before the last one, not after now).
   * @param {number|null} joules since the last reading; null: not known
   * @param {boolean} whole it is the energy of all of the time
   * @returns {boolean} the step was shared
   */
  reading(t, joules, whole) {
    const from = this.t ?? t;
    const to = Math.max(t, from);
    const shared = whole && joules !== null && this.t !== null && !this.lost;
    if (!shared) {
      this.doom();
      if (this.t !== null)
        this.unknownSeconds += (to - from) / 1000;
    }
    this.energy += joules ?? 0;
    const rate = shared && to > from ? joules / (to - from) : 0;
    let idle = shared ? 0 : joules ?? 0;
    let at = from;
    let i = 0;
    if (shared && to === from) { // no time between them: who is in flight now
      if (this.inFlight === 0)
        idle += joules;
      else
        this.gather(joules);
    }
    for (; i <= this.times.length; i++) {
      const last = i === this.times.length || this.times[i] > to;
      const next = last ? to : Math.max(this.times[i], at);
      const piece = rate * (next - at);
      if (this.inFlight === 0)
        idle += piece;
      else if (piece > 0)
        this.gather(piece);
      at = next;
      if (last)
        break;
      this.event(this.entries[i], this.times[i] >= to);
    }
    this.nonRequest += idle;
    if (i > 0) {
      this.times = this.times.slice(i);
      this.entries = this.entries.slice(i);
    }
    this.t = to;
    this.step++;
    this.lost = false;
    return shared;
  }

  gather(joules) {
    const idle = joules * (this.doomed / this.inFlight);
    this.nonRequest += idle;
    this.unfinished += joules - idle;
    this.part += joules / this.inFlight;
    if (this.part >= 1) {
      const whole = Math.floor(this.part);
      this.whole += whole;
      this.part -= whole;
    }
  }
}
