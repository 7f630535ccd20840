#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The agent's verbs in `ergon`: it becomes ergon-agent, or says why there is none; its libraries stay out
of `ergon`. argv[3]: ergon-agent, or none where the build must have no agent."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

from cli import ERGON, contains, equal, ergon, run_tests

AGENT = sys.argv[3]


def needed(path):
    out = subprocess.run(["readelf", "-d", path], check=True, capture_output=True, text=True).stdout
    names = re.findall(r"\(NEEDED\).*\[(.*?)\.so", out)
    assert names, out
    return set(names)


def test_libraries_of_the_agent_stay_out_of_the_program():
    theirs = {"libmicrohttpd", "libgnutls", "libjansson", "libstdc++", "libz", "libcrypt", "libseccomp"}
    equal(needed(ERGON) & theirs, set())
    if AGENT != "none":
        contains(needed(AGENT), "libmicrohttpd")


def test_a_wrong_option_is_told_without_the_agent():
    r = ergon("agent", "--lisen", "off")
    equal((r.returncode, r.stdout), (2, ""))
    contains(r.stderr, "did you mean --listen?")


if AGENT == "none":
    def test_a_build_without_the_agent_names_what_it_lacks():
        assert not os.path.exists(os.path.join(os.path.dirname(ERGON), "ergon-agent"))
        for words in (["agent"], ["config", "init"], ["config", "print", "--listen", "off"]):
            r = ergon(*words)
            equal((r.returncode, r.stdout), (1, ""), words)
            assert r.stderr.startswith(f"ergon: {words[0]}: this build has no agent"), r.stderr
            for package in ("libmicrohttpd-dev", "libjansson-dev", "libtomlplusplus-dev", "zlib1g-dev",
                            "libcrypt-dev", "g++"):
                contains(r.stderr, package)
else:
    def test_the_words_arrive_as_given():
        with tempfile.TemporaryDirectory() as d:
            shutil.copy(ERGON, d + "/ergon")
            with open(d + "/ergon-agent", "w") as f:
                f.write('#!/bin/sh\nprintf "[%s]" "$@"\nexit 7\n')
            os.chmod(d + "/ergon-agent", 0o755)
            words = ["config", "print", "--listen", "a b", "--select=-x", "--set", "rapl.a=b c"]
            r = subprocess.run([d + "/ergon", *words], capture_output=True, text=True)
            equal((r.returncode, r.stdout), (7, "".join(f"[{w}]" for w in words)))

    def test_an_agent_that_is_not_there_is_told():
        with tempfile.TemporaryDirectory() as d:
            shutil.copy(ERGON, d + "/ergon")
            r = subprocess.run([d + "/ergon", "config", "path"], capture_output=True, text=True)
            if "neither beside this program" not in r.stderr:
                equal(r.returncode, 0, "an installed agent was taken, and")
                return
            equal((r.returncode, r.stdout), (1, ""))
            with open(d + "/ergon-agent", "w"):
                pass
            r = subprocess.run([d + "/ergon", "config", "path"], capture_output=True, text=True)
            equal((r.returncode, r.stdout), (1, ""))
            contains(r.stderr, f"cannot start {d}/ergon-agent: Permission denied")


run_tests(globals())
