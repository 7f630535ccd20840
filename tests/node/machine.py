# SPDX-License-Identifier: Apache-2.0
"""machine.py ERGON SOURCE SCRIPT [ARGUMENT...]: runs a test of the Node package, and does for it what it asks: starts
simulated machines and the shipped agent on them, kills it, moves simulated time, tells the truth.

The script's standard output is the TAP. It asks by lines of JSON on file descriptor 3, {"id", "do", ...}, and
reads the answers on its standard input, {"id", "value" or "error"}. Exit status: the script's.
"""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "agent"))
sys.dont_write_bytecode = True
import rig  # noqa: E402


class Machines:
    def __init__(self):
        self.places = []

    def _at(self, ask):
        return self.places[ask["machine"]]

    def new(self, ask):
        """A machine in its own directory. clock: simulated time, which only `sleep` moves."""
        place = rig.Place()
        self.places.append(place)
        place.sim = place.add(rig.Sim(place, ask["scenario"], clock=ask.get("clock", False)))
        place.words = [str(w) for w in ask.get("words", [])]
        place.config_text = ask.get("config", "")
        if place.sim.time:
            place.sim.time.sleep(0.05)
        return {"machine": len(self.places) - 1, "dir": place.dir, "socket": place.path("run", "ergon.sock")}

    def agent(self, ask):
        """The agent; state: the name of its ledger's directory."""
        place = self._at(ask)
        place.agent = place.add(rig.Agent(place, place.sim, *place.words, config=place.config_text,
                                          state=ask.get("state", "state"),
                                          listen=ask.get("listen", "127.0.0.1:0")))
        return {"address": place.agent.address, "pid": place.agent.process.pid}

    def kill(self, ask):
        self._at(ask).agent.kill()

    def stop(self, ask):
        return self._at(ask).agent.stop()

    def sleep(self, ask):
        """Simulated seconds."""
        self._at(ask).sim.time.sleep(ask["seconds"])

    def now(self, ask):
        """Simulated nanoseconds."""
        return self._at(ask).sim.time.now()

    def truth(self, ask):
        return self._at(ask).sim.truth(ask["begin"], ask["end"])

    def close(self, ask):
        self._at(ask).__exit__()
        self.places[ask["machine"]] = None

    def close_all(self):
        for place in self.places:
            if place:
                place.__exit__()


def main():
    asks_r, asks_w = os.pipe()
    script = os.path.abspath(sys.argv[3])
    env = dict(os.environ, ERGON_TEST_SOURCE=rig.SOURCE, ERGON_TEST_PROGRAM=rig.ERGON)
    env.pop("ERGON_SOCKET", None)

    def descriptors():
        os.dup2(asks_w, 3)

    node = subprocess.Popen(["node", script, *sys.argv[4:]], stdin=subprocess.PIPE, env=env, close_fds=False,
                            preexec_fn=descriptors, text=True)
    os.close(asks_w)
    machines = Machines()
    try:
        with os.fdopen(asks_r) as asks:
            for line in asks:
                ask = json.loads(line)
                reply = {"id": ask["id"]}
                try:
                    reply["value"] = getattr(machines, ask["do"])(ask)
                except Exception as e:
                    reply["error"] = f"{type(e).__name__}: {e}"
                try:
                    node.stdin.write(json.dumps(reply) + "\n")
                    node.stdin.flush()
                except BrokenPipeError:
                    break
        return node.wait(30)
    finally:
        if node.poll() is None:
            node.kill()
            node.wait()
        machines.close_all()


if __name__ == "__main__":
    sys.exit(main())
