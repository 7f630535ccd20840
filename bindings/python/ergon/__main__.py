# SPDX-License-Identifier: Apache-2.0
"""python -m ergon run -- COMMAND | totals | power | windows | validate. Exit status as that of `ergon`: 1
something failed, 2 the command line is wrong, and of `run` that of the command, 126, 127 or 128 + signal."""
from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from typing import Any, Dict, List, Optional, Sequence, Tuple

from . import __version__
from .errors import ErgonError
from .log import Log
from .model import Measurement
from .source import BACKENDS, NullSource, Source, connect

PASSED_ON = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
IGNORED = ("SIGINT", "SIGQUIT")  # the terminal sends them to the command itself


def _unit(text: str) -> Tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        n = float(number)
    except ValueError:
        n = -1.0
    if not name or not 0 <= n < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=NUMBER")
    return name, int(n) if n.is_integer() else n


def parser() -> argparse.ArgumentParser:
    def where(p: argparse.ArgumentParser) -> None:
        p.add_argument("--socket", metavar="FILE", help="the agent's Unix socket")
        p.add_argument("--page", metavar="FILE", help="the energy page")
        p.add_argument("--library", metavar="FILE", help="libergon")
        p.add_argument("--url", help="the agent's TCP listener; ERGON_TOKEN is its token")
        p.add_argument("--backend", choices=BACKENDS, help="which of them; null measures nothing")
        p.add_argument("--root", metavar="DIR", help="for libergon: a machine captured or simulated")
        p.add_argument("--json", action="store_true", help="for programs")

    top = argparse.ArgumentParser(prog="python -m ergon",
                                  description="Joules of a command, or of the machine.")
    top.add_argument("-V", "--version", action="version", version=f"ergon for Python {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    p = verbs.add_parser("run", help="measure while a command runs",
                         usage="python -m ergon run [OPTION]... [--] COMMAND [ARGUMENT]...")
    where(p)
    p.add_argument("--name", help="of the measurement; that of the command by default")
    p.add_argument("--units", metavar="NAME=N", type=_unit, action="append", default=[],
                   help="work that the command does; may be repeated")
    p.add_argument("--log", metavar="FILE", help="also append the measurement to a CSV file, or .json")
    p.add_argument("-o", "--output", metavar="FILE", help="the report goes there, not to standard error")
    p.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    for verb, text in (("totals", "energy of every account"), ("power", "power of every account"),
                       ("windows", "your open windows at the agent")):
        where(verbs.add_parser(verb, help=text))
    p = verbs.add_parser("validate", help="compare all backends on one interval")
    where(p)
    p.add_argument("--duration", metavar="S", type=float, default=10.0, help="seconds; 10 by default")
    return top


def _source(options: argparse.Namespace) -> Source:
    return connect(options.socket, options.page, options.library, options.url, backend=options.backend,
                   root=options.root)


def _start(command: Sequence[str]) -> Tuple[Optional["subprocess.Popen[bytes]"], int]:
    try:
        return subprocess.Popen(command), 0
    except FileNotFoundError:
        print(f"python -m ergon: {command[0]}: not found", file=sys.stderr)
        return None, 127
    except OSError as error:
        print(f"python -m ergon: {command[0]}: {error.strerror}", file=sys.stderr)
        return None, 126


class _Signals:
    """From before the command starts until it has ended, signals to us are passed on to it."""

    def __enter__(self) -> "_Signals":
        self.child: Optional["subprocess.Popen[bytes]"] = None
        self.early: List[int] = []
        self.old: Dict[int, Any] = {}
        for name in PASSED_ON + IGNORED:
            number = getattr(signal, name)
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup: the command ignores it as well
                self.old[number] = signal.signal(number, self.take if name in PASSED_ON else self.leave)
        return self

    def leave(self, *_: Any) -> None:
        pass

    def take(self, number: int, _: Any) -> None:
        if self.child is None:
            self.early.append(number)
        else:
            self.child.send_signal(number)  # nothing where it has ended

    def wait(self, child: "subprocess.Popen[bytes]") -> int:
        """Its exit status."""
        self.child = child
        while self.early:
            child.send_signal(self.early.pop(0))
        code = child.wait()
        return code if code >= 0 else 128 - code

    def __exit__(self, *_: object) -> None:
        for number, handler in self.old.items():
            signal.signal(number, handler)


def report(m: Measurement) -> str:
    """For people: the figure, its parts, and what they lack."""
    lines = [f"ergon: {m}"]
    for e in m.entries:
        joules = "no figure" if e.joules is None else f"{e.joules:.3f} J"
        watts = "" if e.watts is None else f", {e.watts:.2f} W"
        mark = "" if e.counted else f"  ({e.role}: not added)"
        name = e.channel or f"{e.device} {e.component}"
        lines.append(f"  {name:<24} {joules}{watts}  {e.provenance}{mark}")
    if m.flags:
        lines.append("  flags: " + ", ".join(m.flags))
    if m.edges != "sample" and m.seconds is not None:
        lines.append(f"  of {m.seconds:.3f} s between the {m.edges}s around the command's "
                     f"{m.elapsed_seconds:.3f} s")
    return "\n".join(lines) + "\n"


def _run(options: argparse.Namespace) -> int:
    command: List[str] = options.command
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        print("python -m ergon: run: which command?", file=sys.stderr)
        return 2
    why: Optional[str] = None
    source: Source = NullSource()
    try:
        source = _source(options)
    except ErgonError as error:
        why = str(error)
    name = options.name or os.path.basename(command[0])
    try:
        window = source.begin(name, dict(options.units))
    except ErgonError as error:
        why = str(error)
        window = NullSource().begin(name, dict(options.units))
    with _Signals() as signals:
        child, code = _start(command)
        if child is None:
            window.cancel()
            return code
        code = signals.wait(child)
    m = window.end()
    if why is not None:
        print(f"python -m ergon: {why}", file=sys.stderr)
    text = m.to_json() + "\n" if options.json else report(m)
    try:
        if options.log:
            Log(options.log).write(m)
        if options.output and options.output != "-":
            with open(options.output, "w", encoding="utf-8") as file:
                file.write(text)
        else:
            (sys.stdout if options.output == "-" else sys.stderr).write(text)
    except OSError as error:
        print(f"python -m ergon: {error}", file=sys.stderr)
        return code or 1
    return code


def _print(doc: Any) -> None:
    json.dump(doc, sys.stdout, indent=2)
    print()


def _totals(options: argparse.Namespace) -> int:
    with _source(options) as source:
        now = source.totals()
    if options.json:
        _print(now.to_dict())
        return 0
    power = options.verb == "power"
    for key, r in now.readings.items():
        value, unit = (r.watts, "W") if power else (r.joules, "J")
        if power and r.account.held:
            continue
        text = "-" if value is None else f"{value:.3f}"
        mark = "" if r.account.counted else f"  ({r.account.role}: not added)"
        name = f"{key.device} {key.component}"
        print(f"{name:<24} {text:>16} {unit}  {key.provenance:<9} {r.source}{mark}")
    value, unit = (now.watts, "W") if power else (now.joules, "J")
    print(f"{'the node':<24} {'-' if value is None else f'{value:.3f}':>16} {unit}  {now.provenance or ''}")
    return 0


def _windows(options: argparse.Namespace) -> int:
    from .agent import AgentSource
    with _source(options) as source:
        if not isinstance(source, AgentSource):
            print("python -m ergon: windows are listed by an agent, and none answers", file=sys.stderr)
            return 1
        listed = source.windows()
    if options.json:
        _print(listed)
    else:
        for w in listed:
            print(f"{w['id']}  {w['begin_unix_seconds']:.3f}  {w['name']}")
    return 0


def _validate(options: argparse.Namespace) -> int:
    from . import validate
    with _source(options) as source:
        found = validate(source=source, duration=options.duration)
    doc: Dict[str, Any] = found.to_dict()
    if options.json:
        _print(doc)
    else:
        print(found)
    return int(found.agrees is False)


VERBS = {"run": _run, "totals": _totals, "power": _totals, "windows": _windows, "validate": _validate}


def main(arguments: Optional[Sequence[str]] = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return VERBS[options.verb](options)
    except ErgonError as error:
        print(f"python -m ergon: {error}", file=sys.stderr)
        return 1
    except ValueError as error:  # an option, or what the environment says in its place
        print(f"python -m ergon: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing more is written at exit
        return 1


if __name__ == "__main__":
    sys.exit(main())
