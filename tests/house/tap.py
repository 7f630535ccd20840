# SPDX-License-Identifier: Apache-2.0
"""A few lines of TAP for the house's own tests: functions named test_* are the cases; one that
raises has failed, Skip(reason) skips."""
import sys
import traceback


class Skip(Exception):
    pass


def run(module_globals):
    cases = [(n, f) for n, f in module_globals.items() if n.startswith("test_") and callable(f)]
    print(f"1..{len(cases)}")
    failed = 0
    for i, (name, case) in enumerate(cases, 1):
        try:
            case()
            print(f"ok {i} - {name}", flush=True)
        except Skip as why:
            print(f"ok {i} - {name} # SKIP {why}", flush=True)
        except Exception:
            failed += 1
            print("\n".join("# " + line for line in traceback.format_exc().splitlines()))
            print(f"not ok {i} - {name}", flush=True)
    sys.exit(1 if failed else 0)
