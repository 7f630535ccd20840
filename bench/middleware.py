# SPDX-License-Identifier: Apache-2.0
"""The middleware of the Python package, in bench/run: what it costs a request; middleware_python.py measures."""
import json
import os

import agent

HERE = os.path.dirname(os.path.abspath(__file__))


class Middleware(agent.Agents):
    def parts(self):
        return (self.python_middleware,)

    def python_middleware(self):
        t = self.t
        python = t.output([os.path.join(HERE, "..", "tools", "python-peers"), self.b.build]).strip()
        p = self.start_agent(self.b.still, "middleware")
        try:
            r = json.loads(t.output([python, os.path.join(HERE, "middleware_python.py"), p.socket]))
        finally:
            self.end_agent(p)
        for kind in ("asgi", "wsgi"):
            f = r[kind]
            t.row(f"Python: {kind.upper()} middleware, a request", f"{f['more_us']:.1f} us CPU",
                  f"settlement included; quartiles {f['quartiles_us'][0]:.1f} and {f['quartiles_us'][1]:.1f} us; "
                  f"application alone {f['bare_us']:.1f} us", "", "shown")
        t.row("Python: a scrape of the middleware's metrics", f"{r['scrape_us']:.0f} us CPU",
              f"prometheus_client {r['prometheus_client']}", "", "shown")
