// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Client, ConnectOptions, ErgonError, Provenance } from './index.js';

/** What is asked of a Registry of prom-client. */
export interface MetricRegistry {
  registerMetric(metric: any): void;
}

export interface RequestEnergyOptions extends ConnectOptions {
  /** Instead of one's own connection. */
  client?: Client;
  registry?: MetricRegistry;
  /** The module prom-client; its own registry is taken. */
  promClient?: { register: MetricRegistry };
  /** ms between readings (1000; 100 to 60000). */
  interval?: number;
  /** ms that app_joules_per_request looks back (300000). */
  window?: number;
  /** ms; a longer time between two readings is not shared (60000). */
  longestStep?: number;
  /** Joules, rising. */
  buckets?: number[];
  /** Pairs of method and route; the rest is `other` (100). */
  maxRoutes?: number;
  /** Begins and ends of requests that wait for a reading (262144). */
  maxPending?: number;
  /** Of the names of the metrics (app). */
  prefix?: string;
  /** Told once when the agent is away. Default: process.emitWarning. */
  warn?: (text: string) => void;
}

export interface RequestFigures {
  scope: 'node';
  method: string;
  provenance: Provenance | null;
  boundary: string | null;
  /** There is a reading, and it is not old. */
  known: boolean;
  error: ErgonError | Error | null;
  /** Of the last reading. */
  bootNs: number | null;
  /** = finished + inFlight + nonRequest */
  energyJoules: number | null;
  finishedJoules: number | null;
  inFlightJoules: number | null;
  nonRequestJoules: number | null;
  joulesPerRequest: number | null;
  requests: number;
  settledRequests: number;
  unmeasuredRequests: number;
  unknownSeconds: number;
  units: { [unit: string]: number };
}

export class RequestEnergy {
  constructor(options?: RequestEnergyOptions);
  express(): (req: any, res: any, next: (error?: any) => void) => void;
  fastify(): (app: any, options: any, done: (error?: Error) => void) => void;
  http<Req extends IncomingMessage, Res extends ServerResponse>(
    handler: (req: Req, res: Res) => any,
    options?: { route?: (req: Req, res: Res) => string | null | undefined },
  ): (req: Req, res: Res) => any;
  /** Counts a request to the end of its answer; for other frameworks. */
  track(req: IncomingMessage, res: ServerResponse, route?: () => string | null | undefined): void;
  units(unit: string, count?: number): void;
  readonly joulesPerRequest: number | null;
  snapshot(): RequestFigures;
  settle(): Promise<RequestFigures>;
  register(registry: MetricRegistry, prefix?: string): void;
  close(): Promise<RequestFigures>;
}

export function requestEnergy(options?: RequestEnergyOptions): RequestEnergy;
