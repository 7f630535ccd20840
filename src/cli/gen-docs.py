#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the generated documentation: gen-docs.py ERGON SOURCE_ROOT. With --check it writes nothing,
names the files that are stale, and exits 1 if there is one. `ninja -C BUILD docs` calls it."""
import os
import subprocess
import sys


def documents(ergon):
    """Path below the source root -> text."""
    def text(*words):
        return subprocess.run([ergon, "docs", *words], check=True, capture_output=True).stdout

    verbs = [line.split()[0] for line in text("zsh").decode().split("verbs=(")[1].split(")")[0]
             .replace("'", " ").replace(":", " ").splitlines() if line.strip()]
    docs = {"man/ergon.1": text("man"), "completions/ergon.bash": text("bash"),
            "completions/_ergon": text("zsh"), "docs/cli.md": text("markdown")}
    for verb in verbs:
        docs[f"man/ergon-{verb}.1"] = text("man", verb)
    docs["man/energy-monitor.1"] = text("man", "energy-monitor")
    docs["completions/energy-monitor.bash"] = text("bash", "energy-monitor")
    docs["completions/_energy-monitor"] = text("zsh", "energy-monitor")
    docs["docs/metrics.md"] = text("metrics")
    docs["docs/config.md"] = text("config")
    docs["man/ergon.toml.5"] = text("man-config")
    return docs


def main():
    check = "--check" in sys.argv
    ergon, root = [a for a in sys.argv[1:] if a != "--check"]
    stale = []
    for path, text in documents(ergon).items():
        full = os.path.join(root, path)
        old = open(full, "rb").read() if os.path.exists(full) else None
        if old == text:
            continue
        stale.append(path)
        if not check:
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as f:
                f.write(text)
    for path in stale:
        print(f"{path}: {'stale; run `ninja -C BUILD docs`' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
