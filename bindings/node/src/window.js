// SPDX-License-Identifier: Apache-2.0
//
// A window: begin, work, end. The agent holds it, and this side keeps the totals of its begin. Where the agent
// was killed and came back it knows the window no more; its ledger goes on, so the difference of
// the totals is the energy. Its interval is then from the kept totals to the new ones, which the result says.
// Where the ledger cannot vouch for all of it, the result is partial and names the reason.
//
// Units of work are counted on this side, for the same reason, and sent nowhere.
import { setTimeout as sleep } from 'node:timers/promises';
import { ErgonError } from './errors.js';
import { difference, joulesOf, microOf, noteOf } from './totals.js';

export const UNITS_MAX = 8;
export const UNIT_BYTES_MAX = 31;

const PROVENANCES = ['measured', 'modeled', 'estimated']; // from the strongest

const LOOK_MS = 200; // between looks for a coarse sample

const isNumber = (x) => typeof x === 'number' && Number.isFinite(x);
const numberOrNull = (x) => (isNumber(x) ? x : null);

function addUnits(units, unit, count) {
  if (typeof unit !== 'string' || unit === '' || Buffer.byteLength(unit) > UNIT_BYTES_MAX)
    throw new ErgonError('bad_argument', `a unit has 1 to ${UNIT_BYTES_MAX} bytes`);
  if (!Number.isSafeInteger(count) || count < 0)
    throw new ErgonError('bad_argument', `a count of ${unit} is a whole number, 0 or more`);
  if (!units.has(unit) && units.size >= UNITS_MAX)
    throw new ErgonError('too_many_units', `a window counts ${UNITS_MAX} kinds of units`);
  const sum = (units.get(unit) ?? 0) + count;
  if (!Number.isSafeInteger(sum))
    throw new ErgonError('overflow', `the count of ${unit} would pass ${Number.MAX_SAFE_INTEGER}`);
  units.set(unit, sum);
}

/** What a window measured. */
export class Measurement {
  #uj;

  constructor(fields, uj = null) {
    Object.assign(this, fields);
    this.#uj = uj;
  }

  /** Exact, as BigInt; null where it is not known. */
  get microjoules() {
    return this.#uj;
  }
}

function perUnit(units, joules, uncertainty) {
  return [...units].map(([unit, count]) => ({
    unit,
    count,
    joulesPerUnit: joules === null || count === 0 ? null : joules / count,
    uncertaintyJoulesPerUnit: uncertainty === null || count === 0 ? null : uncertainty / count,
  }));
}

function sumByComponent(list) {
  const sums = new Map();
  for (const { component, uj } of list)
    sums.set(component, (sums.get(component) ?? 0n) + uj);
  return Object.fromEntries([...sums].map(([name, uj]) => [name, joulesOf(uj)]));
}

/** The weakest provenance of those that gained anything; an account that held energy earlier is none of them. */
function weakest(gained) {
  const words = gained.filter(({ uj, provenance }) => uj > 0n || provenance !== 'estimated')
    .map(({ provenance }) => PROVENANCES.indexOf(provenance));
  return PROVENANCES[Math.max(...words)] ?? null;
}

/** Microjoules of a channel of a result, those held over lost readings with it; null where nothing is known. */
function ofChannel(channel) {
  const read = microOf(channel, 'joules');
  const held = microOf(channel, 'estimated_joules') ?? 0n;
  return read === null && held === 0n ? null : (read ?? 0n) + held;
}

/** Of the agent's own result. */
function fromResult(window, doc, state) {
  const wrong = (what) => new ErgonError('bad_answer', `the agent's result has no usable ${what}`);
  for (const name of ['seconds', 'begin_boot_ns', 'end_boot_ns', 'begin_unix_seconds', 'end_unix_seconds'])
    if (!isNumber(doc[name]))
      throw wrong(name);
  if (!Array.isArray(doc.channels) || !Array.isArray(doc.flags))
    throw wrong('channels');
  const total = doc.total ?? null;
  const uj = total === null ? null : microOf(total, 'joules');
  if (total !== null && (uj === null || uj < 0n))
    throw wrong('total.joules');
  const joules = joulesOf(uj);
  const uncertainty = numberOrNull(total?.uncertainty_joules);
  const flags = doc.flags.filter((f) => typeof f === 'string');
  // A reading that is missing inside is said by the agent's flags.
  const reasons = flags.filter((f) => f === 'gap' || f === 'reset' || f === 'device_lost');
  if (uj === null)
    reasons.push('no_reading');
  if (state === 'expired')
    reasons.push('expired');
  const channels = doc.channels.filter((c) => typeof c === 'object' && c !== null);
  return new Measurement({
    name: window.name,
    seconds: doc.seconds,
    joules,
    estimatedJoules: numberOrNull(total?.estimated_joules),
    uncertaintyJoules: uncertainty,
    watts: numberOrNull(total?.mean_watts),
    maxWatts: numberOrNull(total?.max_watts),
    provenance: typeof total?.provenance === 'string' ? total.provenance : null,
    components: sumByComponent(channels
      .map((c) => ({ component: String(c.component), role: c.role, uj: ofChannel(c) }))
      .filter(({ role, uj }) => (role === 'total' || role === 'part') && uj !== null)),
    units: perUnit(window.counted, joules, uncertainty),
    flags,
    partial: reasons.length > 0,
    reasons,
    source: 'window',
    beginBootNs: doc.begin_boot_ns,
    endBootNs: doc.end_boot_ns,
    beginUnixSeconds: doc.begin_unix_seconds,
    endUnixSeconds: doc.end_unix_seconds,
    channels,
  }, uj);
}

/** Of the ledger's totals before and after. */
function fromTotals(window, from, to, why) {
  const { uj, estimated_uj: estimated, reasons } = difference(from, to);
  const rebooted = reasons.includes('reboot');
  const seconds = rebooted ? Math.max(0, to.unix_seconds - from.unix_seconds) : (to.boot_ns - from.boot_ns) / 1e9;
  const joules = joulesOf(uj);
  const gained = uj === null ? [] : [...to.accounts].filter(([key]) => !from.accounts.get(key)?.silent)
    .map(([key, after]) => ({ component: String(after.component), provenance: after.provenance,
      uj: after.uj - (from.accounts.get(key)?.uj ?? 0n) }));
  return new Measurement({
    name: window.name,
    seconds,
    joules,
    estimatedJoules: joulesOf(estimated),
    uncertaintyJoules: null,
    watts: joules === null || seconds <= 0 ? null : joules / seconds,
    maxWatts: null,
    provenance: uj === null ? null : weakest(gained) ?? to.provenance,
    components: sumByComponent(gained),
    units: perUnit(window.counted, joules, null),
    flags: [why],
    partial: reasons.length > 0,
    reasons,
    source: 'totals',
    beginBootNs: from.boot_ns,
    endBootNs: to.boot_ns,
    beginUnixSeconds: from.unix_seconds,
    endUnixSeconds: to.unix_seconds,
    channels: [],
  }, uj);
}

export class Window {
  #client;
  #id;
  #note;
  #ended = null;

  constructor(client, name, id, note, counted) {
    this.#client = client;
    this.#id = id;
    this.#note = note;
    this.name = name;
    this.counted = counted;
  }

  /** The agent's id of it. */
  get id() {
    return this.#id;
  }

  static async begin(client, name, { units = {}, expires, signal } = {}) {
    if (typeof name !== 'string' || Buffer.byteLength(name) > 127)
      throw new ErgonError('bad_argument', 'the name of a window is a text of at most 127 bytes');
    const counted = new Map();
    for (const [unit, count] of Object.entries(units))
      addUnits(counted, unit, count);
    const how = { signal, timeout: client.windowTimeout };
    const { doc } = await client.transport.request('POST', '/windows',
      { body: { name, expires_seconds: expires }, again: true, ...how });
    if (doc.schema !== 'ergon.window/1' || !/^[0-9a-f]{32}$/.test(doc.id))
      throw new ErgonError('bad_answer', 'the agent began a window without an id');
    const window = new Window(client, name, doc.id, null, counted);
    try {
      window.#note = noteOf(await client.totals({ fresh: true, ...how }));
    } catch (error) {
      await window.cancel().catch(() => {});
      throw error;
    }
    return window;
  }

  /** Notes work done inside it. */
  units(unit, count = 1) {
    this.#mustBeOpen();
    addUnits(this.counted, unit, count);
    return this;
  }

  /** Its value so far; it goes on. */
  peek({ signal } = {}) {
    this.#mustBeOpen();
    return this.#result('GET', '', signal);
  }

  /**
   * Ends it. Where the agent cannot be reached this rejects, and may be called again: the value is then that
   * up to that call.
   */
  async end({ signal } = {}) {
    this.#mustBeOpen();
    const ending = this.#result('POST', '/end', signal);
    this.#ended = 'is being ended';
    try {
      const result = await ending;
      this.#ended = 'has ended';
      return result;
    } catch (error) {
      this.#ended = null;
      throw error;
    }
  }

  /** Forgets it; no value of it is kept. */
  async cancel({ signal } = {}) {
    this.#mustBeOpen();
    this.#ended = 'was cancelled';
    try {
      await this.#client.transport.request('DELETE', `/windows/${this.#id}`,
        { signal, timeout: this.#client.windowTimeout, again: true });
    } catch (error) {
      if (error.code !== 'no_such_window' && error.code !== 'expired' && error.code !== 'ended')
        throw error;
    }
  }

  /** A measurement without a value, for an error that kept it from being known. */
  unknown(error) {
    return new Measurement({
      name: this.name, seconds: null, joules: null, estimatedJoules: null, uncertaintyJoules: null, watts: null,
      maxWatts: null, provenance: null, components: {}, units: perUnit(this.counted, null, null),
      flags: [], partial: true, reasons: [error.code ?? 'unreachable'], source: null, beginBootNs: null,
      endBootNs: null, beginUnixSeconds: null, endUnixSeconds: null, channels: [], error,
    });
  }

  #mustBeOpen() {
    if (this.#ended)
      throw new ErgonError('closed', `the window ${JSON.stringify(this.name)} ${this.#ended}`);
  }

  /** Totals of now, or of the next coarse sample: those there are may be from before the end of the work. */
  async #now(how) {
    const until = performance.now() + how.timeout;
    let note = noteOf(await this.#client.totals({ fresh: true, ...how }));
    const asked = note.boot_ns + note.age_seconds * 1e9;
    while (note.access !== 'full' && note.boot_ns < asked) {
      if (performance.now() > until)
        throw new ErgonError('timeout', `no coarse sample came within ${how.timeout / 1000} s`);
      await sleep(LOOK_MS);
      if (how.signal?.aborted)
        throw new ErgonError('aborted', 'aborted', { cause: how.signal.reason });
      note = noteOf(await this.#client.totals(how));
    }
    return note;
  }

  async #result(method, path, signal) {
    const how = { signal, timeout: this.#client.windowTimeout };
    let expired = null;
    try {
      const { doc } = await this.#client.transport.request(method, `/windows/${this.#id}${path}`,
        { again: true, ...how });
      return fromResult(this, doc, doc.state);
    } catch (error) {
      // An end whose answer was lost, and was asked for again.
      if (error.code === 'ended' && error.doc?.result)
        return fromResult(this, error.doc.result, 'ended');
      if (error.code === 'expired')
        expired = error.doc?.result ?? null;
      else if (error.code !== 'no_such_window' && error.code !== 'ended')
        throw error;
      const why = error.code === 'expired' ? 'expired' : 'agent_restarted';
      const whole = fromTotals(this, this.#note, await this.#now(how), why);
      return whole.joules === null && expired ? fromResult(this, expired, 'expired') : whole;
    }
  }
}
