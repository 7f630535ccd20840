// SPDX-License-Identifier: Apache-2.0
// A program in TypeScript: compiled by the tests as an ES module and as CommonJS, never run.
import * as http from 'node:http';
import { connect, ErgonError, type Measurement, type Snapshot } from '@ergon/client';
import { requestEnergy, type RequestFigures } from '@ergon/client/middleware';

async function program(): Promise<void> {
  const client = connect({ socket: '/run/ergon/ergon.sock', timeout: 5000 });
  const totals = await client.totals({ fresh: true, signal: AbortSignal.timeout(1000) });
  const exact: bigint | null = totals.total === null ? null : totals.total.microjoules;
  const [value, m]: [number, Measurement] = await client.measure('work', async (window) => {
    window.units('rows', 3).units('tokens');
    return 5;
  });
  const joules: number = m.joules ?? value;
  const window = await client.begin('x', { units: { requests: 1 }, expires: 60 });
  try {
    console.log((await window.peek()).watts, joules, exact);
  } catch (error) {
    if (error instanceof ErgonError)
      console.log(error.code, error.cure);
  }
  await window.end();
  for await (const snapshot of client.events({ interval: 1000 })) {
    const s: Snapshot = snapshot;
    console.log(s.total_watts, s.dropped);
    break;
  }
  // @ts-expect-error: joules may be unknown
  const wrong: number = m.joules;
  // @ts-expect-error: there is no such option
  connect({ sokcet: wrong });

  const energy = requestEnergy({ client, interval: 1000, registry: { registerMetric() {} } });
  http.createServer(energy.http((_req, res) => res.end('ok'), { route: (req) => req.method })).listen(0);
  const figures: RequestFigures = await energy.close();
  console.log(figures.energyJoules);
}

void program();
