// SPDX-License-Identifier: Apache-2.0
//
// The one error of this package. The agent's sentence is its message and the agent's cure goes with it, so
// that who reads a log knows what to do. `code` is the agent's (docs/openapi.yaml, ErrorCode), or one
// of ours: unreachable, timeout, aborted, busy, bad_answer, refused (an answer that is no JSON), closed,
// stream_ended, bad_argument.

const BRAND = Symbol.for('ergon.error');

export class ErgonError extends Error {
  /** An instance of the ESM and of the CommonJS copy are the same kind. */
  static [Symbol.hasInstance](value) {
    return typeof value === 'object' && value !== null && value[BRAND] === true;
  }

  constructor(code, message, { cure = null, status = null, cause, doc = null } = {}) {
    super(cure ? `${message}; ${cure}` : message, cause === undefined ? undefined : { cause });
    this.name = code === 'aborted' ? 'AbortError' : 'ErgonError';
    this.code = code;
    this.sentence = message;
    this.cure = cure;
    this.status = status;
    // The answer's document: what an ended window ended with.
    Object.defineProperty(this, 'doc', { value: doc, enumerable: false });
  }

  get [BRAND]() {
    return true;
  }
}
