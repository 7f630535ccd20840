// SPDX-License-Identifier: Apache-2.0
//
// @ergon/client: what a program sees. The middleware is @ergon/client/middleware.
export { Client, connect } from './client.js';
export { ErgonError } from './errors.js';
export { Measurement, Window } from './window.js';
