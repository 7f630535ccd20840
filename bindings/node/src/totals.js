// SPDX-License-Identifier: Apache-2.0
//
// What two answers of /totals say about the time between them. The ledger survives the agent, so the
// difference of the node's total is right through a restart - where it is about the same accounts of the
// same ledger, and nothing of the time is missing. Where not, the reasons say why.
import { ErgonError } from './errors.js';

const isNumber = (x) => typeof x === 'number' && Number.isFinite(x);

/** Microjoules of a member, exact where the agent's text was. BigInt or null. */
export function microOf(object, name) {
  const exact = object?.[name.replace(/joules$/, 'microjoules')];
  if (typeof exact === 'bigint')
    return exact;
  const rounded = isNumber(object?.[name]) ? Math.round(object[name] * 1e6) : NaN;
  return isNumber(rounded) ? BigInt(rounded) : null;
}

/** The few facts of an answer of /totals that a difference needs. Throws ErgonError where it is none. */
export function noteOf(doc) {
  const wrong = (what) => new ErgonError('bad_answer', `the agent's totals have no usable ${what}`);
  if (!isNumber(doc.boot_ns) || doc.boot_ns < 0)
    throw wrong('boot_ns');
  if (!isNumber(doc.unix_seconds))
    throw wrong('unix_seconds');
  if (!Array.isArray(doc.accounts))
    throw wrong('accounts');
  const note = {
    boot_ns: doc.boot_ns,
    unix_seconds: doc.unix_seconds,
    age_seconds: isNumber(doc.age_seconds) ? doc.age_seconds : 0,
    access: doc.access,
    uj: null,
    estimated_uj: null,
    provenance: null,
    boundary: null,
    channels: [],
    accounts: new Map(),
  };
  const total = doc.total;
  if (total === null || total === undefined)
    return note;
  if (typeof total !== 'object' || !Array.isArray(total.channels) ||
      !total.channels.every((name) => typeof name === 'string'))
    throw wrong('total');
  note.uj = microOf(total, 'joules');
  note.estimated_uj = microOf(total, 'estimated_joules') ?? 0n;
  if (note.uj === null || note.uj < 0n)
    throw wrong('total.joules');
  note.provenance = typeof total.provenance === 'string' ? total.provenance : null;
  note.boundary = typeof total.boundary === 'string' ? total.boundary : null;
  note.channels = [...total.channels].sort();
  const counted = new Set(note.channels);
  for (const a of doc.accounts) {
    if (typeof a !== 'object' || a === null || !counted.has(a.channel))
      continue;
    note.accounts.set(`${a.device}|${a.component}|${a.provenance}`, {
      channel: a.channel,
      component: a.component,
      device: a.device,
      provenance: a.provenance,
      held: a.held === true,
      silent: a.held !== true && typeof a.status === 'string' && a.status !== 'ok' && a.status !== 'reset',
      since: a.since_unix_seconds ?? null,
      gap: isNumber(a.gap_seconds) ? a.gap_seconds : 0,
      resets: isNumber(a.resets) ? a.resets : 0,
      uj: microOf(a, 'joules'),
    });
  }
  return note;
}

/**
 * The energy between two notes.
 * @returns {{uj: bigint|null, estimated_uj: bigint|null, reasons: string[]}} uj is null where nothing is
 *   known; a difference with reasons is what is known of it, and less than the whole. An account that did not
 *   answer at `from` has energy of earlier in its next reading: it is left out, unless earlier is set
 */
export function difference(from, to, { earlier = false } = {}) {
  if (from.uj === null || to.uj === null)
    return { uj: null, estimated_uj: null, reasons: ['no_reading'] };
  if (from.channels.join('\n') !== to.channels.join('\n'))
    return { uj: null, estimated_uj: null, reasons: ['other_channels'] };
  const reasons = [];
  let left = 0n;
  let vouched = false;
  if (to.boot_ns < from.boot_ns)
    reasons.push('reboot');
  for (const [key, before] of from.accounts) {
    const after = to.accounts.get(key);
    // Another ledger, or another life of this account: its numbers cannot be compared.
    if (!after || after.since !== before.since || after.uj === null || before.uj === null || after.uj < before.uj)
      return { uj: null, estimated_uj: null, reasons: ['other_ledger'] };
    if (before.silent && !earlier)
      left += after.uj - before.uj;
    else
      vouched ||= !before.held;
    if (after.gap > before.gap || before.silent || after.silent)
      reasons.push('gap');
    if (after.resets > before.resets)
      reasons.push('reset');
  }
  if (to.uj < from.uj)
    return { uj: null, estimated_uj: null, reasons: ['other_ledger'] };
  const uj = to.uj - from.uj - left;
  if (from.accounts.size > 0 && !vouched)
    return { uj: null, estimated_uj: null, reasons: ['gap'] };
  const estimated = to.estimated_uj - from.estimated_uj;
  return { uj: uj > 0n ? uj : 0n, estimated_uj: estimated > 0n ? estimated : 0n, reasons: [...new Set(reasons)] };
}

/** Joules, as near as a double gets. */
export function joulesOf(uj) {
  return uj === null ? null : Number(uj) / 1e6;
}
