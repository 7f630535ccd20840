// SPDX-License-Identifier: Apache-2.0
//
// Server-sent events (WHATWG HTML, 9.2.6): bytes in, events out. Lines end in LF, CR LF or CR, wherever the
// bytes are cut; what is not UTF-8 becomes U+FFFD. One event may hold EVENT_MAX characters: the agent's are
// at most 64 KiB, and a line without an end must not fill the memory.

export const EVENT_MAX = 1 << 20;

export class EventParser {
  constructor({ max = EVENT_MAX } = {}) {
    this.max = max;
    this.decoder = new TextDecoder('utf-8'); // drops a byte order mark
    this.rest = ''; // of a line
    this.skipLf = false; // the last piece ended in CR
    this.reset();
  }

  reset() {
    this.type = '';
    this.data = [];
    this.size = 0;
  }

  line(line, out) {
    if (line === '') {
      if (this.data.length)
        out.push({ type: this.type || 'message', data: this.data.join('\n'), id: this.id ?? null });
      this.reset();
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0)
      return; // a comment
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' '))
      value = value.slice(1);
    if (field === 'data') {
      this.data.push(value);
      this.size += value.length + 1;
    } else if (field === 'event') {
      this.type = value;
    } else if (field === 'id' && !value.includes('\0')) {
      this.id = value;
    }
  }

  /** Events that are complete with these bytes. Throws RangeError where one is too large. */
  push(bytes) {
    const out = [];
    let text = this.decoder.decode(bytes, { stream: true });
    if (this.skipLf && text !== '') {
      this.skipLf = false;
      if (text[0] === '\n')
        text = text.slice(1);
    }
    const ends = /\r\n|\n|\r/g;
    let begin = 0;
    for (let m = ends.exec(text); m; m = ends.exec(text)) {
      const line = this.rest + text.slice(begin, m.index);
      this.rest = '';
      begin = ends.lastIndex;
      this.skipLf = m[0] === '\r' && begin === text.length;
      if (line.length + this.size > this.max)
        throw new RangeError(`an event of more than ${this.max} characters`);
      this.line(line, out);
    }
    this.rest += text.slice(begin);
    if (this.rest.length + this.size > this.max)
      throw new RangeError(`an event of more than ${this.max} characters`);
    return out;
  }
}
