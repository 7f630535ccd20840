// SPDX-License-Identifier: Apache-2.0
//
// JSON with exact energies. The agent writes joules as exact decimals of whole microjoules; a double holds
// those to 9.0e9 J and no further. So each member whose name ends in `joules` gets a companion that ends
// in `microjoules`, a BigInt (or null), not enumerable: printing, copying and JSON.stringify do not see it.
// RFC 8259, nothing more; at most DEPTH_MAX levels, for the bytes come from outside.

const DEPTH_MAX = 64;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/y;
const SPACE = /[ \t\n\r]*/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const WORDS = { true: true, false: false, null: null };

/** Whole microjoules of a decimal of joules, as BigInt; null where it is not one of whole microjoules. */
export function microjoules(text) {
  const [, whole, fraction = ''] = /^([0-9]+)(?:\.([0-9]+))?$/.exec(text) ?? [];
  if (whole === undefined || /[1-9]/.test(fraction.slice(6)))
    return null;
  return BigInt(whole + fraction.slice(0, 6).padEnd(6, '0'));
}

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  fail(what) {
    throw new SyntaxError(`${what} at character ${this.at}`);
  }

  match(re) {
    re.lastIndex = this.at;
    const m = re.exec(this.text);
    if (m)
      this.at = re.lastIndex;
    return m;
  }

  skip() {
    const c = this.text.charCodeAt(this.at);
    if (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09)
      this.match(SPACE);
  }

  take(c) {
    this.skip();
    if (this.text[this.at] !== c)
      return false;
    this.at++;
    return true;
  }

  string() {
    const begin = this.at++;
    for (;;) {
      this.match(PLAIN);
      const c = this.text[this.at];
      if (c === '"')
        break;
      if (c !== '\\')
        this.fail('a string without an end, or with a control character,');
      this.at += 2;
    }
    this.at++;
    const raw = this.text.slice(begin, this.at);
    return raw.includes('\\') ? JSON.parse(raw) : raw.slice(1, -1);
  }

  members(depth) {
    const out = {};
    if (this.take('}'))
      return out;
    do {
      this.skip();
      if (this.text[this.at] !== '"')
        this.fail('no member name');
      const name = this.string();
      if (!this.take(':'))
        this.fail('no colon');
      this.skip();
      const begin = this.at;
      const value = this.value(depth);
      if (name === '__proto__')
        continue; // never ours, and an assignment would change the object
      out[name] = value;
      if (name.endsWith('joules') && (typeof value === 'number' || value === null)) {
        const exact = value === null ? null : microjoules(this.text.slice(begin, this.at));
        Object.defineProperty(out, name.replace(/joules$/, 'microjoules'),
          { value: exact, enumerable: false, configurable: true, writable: true });
      }
    } while (this.take(','));
    if (!this.take('}'))
      this.fail('no end of an object');
    return out;
  }

  items(depth) {
    const out = [];
    if (this.take(']'))
      return out;
    do
      out.push(this.value(depth));
    while (this.take(','));
    if (!this.take(']'))
      this.fail('no end of an array');
    return out;
  }

  value(depth) {
    this.skip();
    const c = this.text[this.at];
    if (c === '"')
      return this.string();
    if (c === '{' || c === '[') {
      if (depth >= DEPTH_MAX)
        this.fail('too many levels');
      this.at++;
      return c === '{' ? this.members(depth + 1) : this.items(depth + 1);
    }
    const m = this.match(NUMBER);
    if (m)
      return Number(m[0]);
    for (const word of Object.keys(WORDS))
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return WORDS[word];
      }
    return this.fail('no value');
  }
}

/** The document that a text holds. Throws SyntaxError. */
export function parse(text) {
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.skip();
  if (reader.at !== text.length)
    reader.fail('something after the document');
  return value;
}
