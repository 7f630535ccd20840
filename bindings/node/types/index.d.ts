// SPDX-License-Identifier: Apache-2.0
//
// Documents of the agent keep the names of docs/openapi.yaml. What is not known is null, never 0.

export type Provenance = 'measured' | 'modeled' | 'estimated';
export type Component = 'package' | 'core' | 'uncore' | 'dram' | 'psys' | 'gpu' | 'gpu_memory' | 'ane' | 'soc' | 'psu' |
  'chassis' | 'fan' | 'network' | 'storage' | 'outlet' | 'ups' | 'meter' | 'battery' | 'rail';
export type Role = 'total' | 'part' | 'crosscheck' | 'other' | 'unusable';
export type Status = 'ok' | 'no_data' | 'stale' | 'denied' | 'error' | 'reset';

export interface ConnectOptions {
  /** Path of the agent's Unix socket. Default: ERGON_SOCKET, /run/ergon/ergon.sock, then that of XDG_RUNTIME_DIR. */
  socket?: string;
  /** Of its TCP listener, instead of the socket: http://HOST:PORT or https. */
  url?: string;
  /** Bearer token. */
  token?: string;
  /** ms (10000). */
  timeout?: number;
  /** ms, of windows, which may wait for a sample (60000). */
  windowTimeout?: number;
  /** Kept connections (8). */
  connections?: number;
}

export interface Ask {
  signal?: AbortSignal;
  timeout?: number;
}

/** Members that tell which sample an answer is about. */
export interface Moment {
  access: 'coarse' | 'full';
  seq: number;
  unix_seconds: number;
  /** Nanoseconds of the interval clock; exact to 104 days of uptime, then to 2 ns. */
  boot_ns: number;
  age_seconds: number | null;
}

export interface Index {
  schema: 'ergon.api/1';
  version: string;
  access: 'coarse' | 'full';
  interval_seconds: number;
  coarse_interval_seconds: number;
  history_seconds: number;
  max_windows: number;
  window_expiry_seconds: number;
  routes: { method: string; path: string; access: string; summary: string }[];
}

export interface Sensor {
  name: string;
  driver: string;
  source: string;
  component: Component;
  boundary: string;
  provenance: Provenance;
  quantity: 'energy' | 'power';
  unit: 'joules' | 'watts';
  device: string;
  label: string;
  role: Role;
  of: string | null;
  why: string | null;
  status: Status;
  watts: number | null;
  age_seconds: number | null;
  [member: string]: unknown;
}

export interface Sensors extends Moment {
  schema: 'ergon.api-sensors/1';
  drivers: { name: string; state: string; built: boolean; channels: number; reason?: string; cure?: string }[];
  channels: Sensor[];
  diagnostics: { code: string; driver: string; subject: string; detail: string; cure: string; count: number }[];
}

export interface Account {
  device: string;
  component: Component;
  provenance: Provenance;
  source: string;
  boundary: string;
  channel: string | null;
  role: Role | 'absent';
  status: Status | null;
  held: boolean;
  joules: number;
  /** Exact; not enumerable. */
  readonly microjoules: bigint | null;
  recovered_joules: number;
  uncertainty_joules: number | null;
  gap_seconds: number;
  resets: number;
  since_unix_seconds: number | null;
  age_seconds: number | null;
  kwh: number;
}

export interface Totals extends Moment {
  schema: 'ergon.totals/1';
  fresh: boolean;
  total: {
    joules: number;
    /** Exact; not enumerable. */
    readonly microjoules: bigint | null;
    estimated_joules: number;
    uncertainty_joules: number | null;
    provenance: Provenance;
    boundary: string;
    since_unix_seconds: number | null;
    channels: string[];
    kwh: number;
  } | null;
  accounts: Account[];
  top?: { of_joules: number; channels: unknown[]; other: { channels: number; joules: number } };
}

export interface Power extends Moment {
  schema: 'ergon.power/1';
  total: { watts: number | null; age_seconds: number | null; channels: string[] } | null;
  channels: {
    name: string; device: string; component: Component; source: string; boundary: string;
    provenance: Provenance; role: Role; status: Status; watts: number | null; age_seconds: number | null;
  }[];
}

export interface History {
  schema: 'ergon.history/1';
  access: 'coarse' | 'full';
  step_seconds: number;
  kept_seconds: number;
  channels: string[];
  entries: {
    seq: number; unix_seconds: number; boot_ns: number; total_joules: number | null; total_watts: number | null;
    joules: (number | null)[]; watts: (number | null)[];
  }[];
}

export interface Snapshot {
  schema: 'ergon.snapshot/1';
  seq: number;
  unix_seconds: number;
  boot_ns: number;
  total_joules: number | null;
  /** Exact; not enumerable. */
  readonly total_microjoules: bigint | null;
  total_watts: number | null;
  channels: {
    name: string; joules: number | null; readonly microjoules: bigint | null; watts: number | null; status: Status;
    age_seconds: number | null;
  }[] | null;
  /** Events lost since the last one that came. */
  dropped: number;
}

export interface Units {
  unit: string;
  count: number;
  joulesPerUnit: number | null;
  uncertaintyJoulesPerUnit: number | null;
}

/** What a window measured. */
export class Measurement {
  readonly name: string;
  readonly seconds: number | null;
  /** Of the node's total; null where it is not known. */
  readonly joules: number | null;
  /** Exact; not enumerable. */
  readonly microjoules: bigint | null;
  /** Of them, inferred. */
  readonly estimatedJoules: number | null;
  /** Half-width of the 95 % interval; null where it is not known. */
  readonly uncertaintyJoules: number | null;
  readonly watts: number | null;
  readonly maxWatts: number | null;
  readonly provenance: Provenance | null;
  /** Joules by component. Some contain others: not to be added. */
  readonly components: { readonly [component: string]: number };
  readonly units: Units[];
  /** The agent's, or `agent_restarted`, `expired`. */
  readonly flags: string[];
  /** The joules, if any, are less than the whole: `reasons` says why. */
  readonly partial: boolean;
  readonly reasons: string[];
  /** The agent's window, or the ledger's totals before and after. */
  readonly source: 'window' | 'totals' | null;
  readonly beginBootNs: number | null;
  readonly endBootNs: number | null;
  readonly beginUnixSeconds: number | null;
  readonly endUnixSeconds: number | null;
  /** The agent's channels, as docs/openapi.yaml has them (WindowChannel). */
  readonly channels: { name: string; component: Component; role: Role; joules: number | null; [member: string]: unknown }[];
  /** Why nothing is known; of measure() alone. */
  readonly error?: ErgonError;
}

export interface WindowOptions {
  units?: { [unit: string]: number };
  /** Seconds after which the agent ends it (a day). */
  expires?: number;
  signal?: AbortSignal;
}

export class Window {
  readonly id: string;
  readonly name: string;
  /** Notes work done inside it. */
  units(unit: string, count?: number): this;
  /** Its value so far. */
  peek(how?: { signal?: AbortSignal }): Promise<Measurement>;
  end(how?: { signal?: AbortSignal }): Promise<Measurement>;
  cancel(how?: { signal?: AbortSignal }): Promise<void>;
}

export class Client {
  constructor(options?: ConnectOptions);
  index(how?: Ask): Promise<Index>;
  sensors(how?: Ask): Promise<Sensors>;
  totals(how?: Ask & { fresh?: boolean; top?: number }): Promise<Totals>;
  power(how?: Ask): Promise<Power>;
  history(how?: Ask & { minutes?: number | string; step?: number | string }): Promise<History>;
  begin(name?: string, options?: WindowOptions): Promise<Window>;
  measure<T>(name: string, fn: (window: Window) => T | Promise<T>, options?: WindowOptions): Promise<[T, Measurement]>;
  /** interval in ms. */
  events(how?: { interval?: number; signal?: AbortSignal }): AsyncGenerator<Snapshot, void, undefined>;
  close(): void;
}

export function connect(options?: ConnectOptions): Client;

export class ErgonError extends Error {
  /** The agent's (docs/openapi.yaml), or unreachable, timeout, aborted, busy, bad_answer, refused, closed, ... */
  readonly code: string;
  /** What happened, without the cure. */
  readonly sentence: string;
  readonly cure: string | null;
  /** Of HTTP, where the agent answered. */
  readonly status: number | null;
}
