// SPDX-License-Identifier: Apache-2.0
//
// Changed copies of inputs: bytes, and the values of JSON documents.
const BITS = ['', '0', '-1', '1e999', 'null', 'true', '{}', '[]', '"', '\\', '\xff', ',', ':', '\n', '\r\n', '\r\n\r\n',
  '18446744073709551616', '1e308', 'NaN', '0.0000001', '__proto__', '\\ud800', '%', '%zz', '@', '='.repeat(100),
  '9'.repeat(500), '['.repeat(70)].map((text) => Buffer.from(text, 'latin1'));
const WORTHS = [null, true, 0, 1, -1, 0.5, 1e-7, 1e300, -1e300, 2 ** 53, 1e40, '', 'x', 'ok', 'total', '__proto__', [],
  [null], {}, { joules: 1 }, [[], []]];

function changeValues(d, doc) {
  const places = [];
  const walk = (node) => {
    for (const key of Object.keys(node)) {
      places.push([node, key]);
      if (typeof node[key] === 'object' && node[key] !== null)
        walk(node[key]);
    }
  };
  walk(doc);
  for (let n = places.length ? [1, 1, 1, 2, 4][d(5)] : 0; n > 0; n--) {
    const [node, key] = places[d(places.length)];
    const how = d(10);
    if (how === 0 && !Array.isArray(node)) {
      delete node[key];
    } else if (how < 3) {
      const [other, there] = places[d(places.length)];
      node[key] = structuredClone(other[there]);
    } else {
      node[key] = WORTHS[d(WORTHS.length)];
    }
  }
  return Buffer.from(JSON.stringify(doc));
}

/** A changed copy. d: dice; others: what it may be spliced with. */
export function change(d, data, others) {
  if (data[0] === 0x7b && d(10) < 6) {
    try {
      return changeValues(d, JSON.parse(data.toString()));
    } catch {
      // changed before
    }
  }
  let out = Buffer.from(data);
  for (let n = [1, 1, 2, 3, 6][d(5)]; n > 0; n--) {
    const at = d(out.length + 1);
    const length = [1, 1, 2, 4, 8, 1 + d(200)][d(6)];
    const how = d(20);
    const cut = (begin, end, ...middle) => Buffer.concat([out.subarray(0, begin), ...middle, out.subarray(end)]);
    if (how < 5 && out.length)
      out[at % out.length] ^= 1 << d(8);
    else if (how < 9)
      out = cut(at, at + (d(2) ? length : 0), BITS[d(BITS.length)]);
    else if (how < 11)
      out = cut(at, at + length);
    else if (how < 13)
      out = cut(at, at, out.subarray(at, at + length));
    else if (how < 16 && out.length)
      out[at % out.length] = d(256);
    else {
      const other = others[d(others.length)];
      out = Buffer.concat([out.subarray(0, at), other.subarray(d(other.length + 1))]);
    }
  }
  return out.subarray(0, 65536);
}
