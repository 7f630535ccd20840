# SPDX-License-Identifier: Apache-2.0
"""play.py PACKAGE SCRIPTS: as play.js, on the Python middleware."""
import json
import sys
import threading
import warnings
from decimal import Decimal

sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
from ergon import Source, Unavailable  # noqa: E402
from ergon.agent import snapshot  # noqa: E402
from ergon.middleware import RequestMeter, meter as module  # noqa: E402
from ergon.middleware.meter import clean  # noqa: E402
from ergon.middleware.prometheus import Collector  # noqa: E402

now_ns = 0
module.boot_ns = lambda: now_ns
warnings.simplefilter("ignore")
OPTIONS = {"routes": ("max_routes", 1), "pending": ("max_pending", 1), "window": ("window", 1e-3)}


class Scripted(Source):
    kind = "agent"

    def __init__(self):
        self.text = None

    def totals(self, fresh=True, power=True):
        if self.text is None:
            raise Unavailable("away")
        return snapshot(json.loads(self.text, parse_float=Decimal), None, 1.0, 8.0)


def dump(meter):
    page = {}
    for family in Collector(meter).collect():
        for s in family.samples:
            labels = ",".join(f"{k}={json.dumps(v)}" for k, v in sorted(s.labels.items()))
            key = f"{s.name}{{{labels}}}" if labels else s.name
            assert key not in page, key
            page[key] = s.value
    return page


def play(script):
    global now_ns
    now_ns = 0
    source = Scripted()
    meter = RequestMeter(source, **{OPTIONS[k][0]: v * OPTIONS[k][1]
                                    for k, v in script.get("options", {}).items()})
    meter._thread = threading.current_thread()  # the script asks
    open_, pages = {}, []
    meter.settle()
    for what, at, *words in script["steps"]:
        now_ns = at * 1000000
        if what in ("reading", "away"):
            source.text = words[0] if words else None
            meter.settle()
        elif what == "begin":
            open_[words[0]] = meter.begin()
        elif what == "units":
            meter.units(*words)
        elif what in ("end", "abort"):
            id_, method, route, *status = words
            meter.end(open_.pop(id_), clean(route, method, status[0] if status else 200, what == "abort"))
        pages.append(dump(meter))
    families = [[f.name + ("_total" if f.type == "counter" else ""), f.type, f.documentation]
                for f in Collector(meter).collect()]
    return {"pages": pages, "families": families}


with open(sys.argv[2], encoding="utf-8") as f:
    for one in json.load(f):
        print(json.dumps(play(one)), flush=True)
