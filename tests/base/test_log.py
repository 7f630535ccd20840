#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the log writes as JSON is JSON to another parser, whatever the text, and says the same text."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "house"))
import tap  # noqa: E402

SPEAKER = sys.argv[1]


def speak(text, form="json"):
    r = subprocess.run([SPEAKER, "speak", form, text], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       timeout=30, env={})
    assert r.returncode == 0, r
    return r.stderr


def test_json_says_the_same_text():
    for text in ("plain", 'a "quoted" \\ word', "tab\tand\nnew line\r\x01\x1f\x7f", "é ☃ 𝄞 \u0085 \u2028 \u202e",
                 "", "{}[],:"):
        line = speak(text)
        assert line.count(b"\n") == 1 and line.endswith(b"}\n"), line
        said = json.loads(line)
        assert said["message"] == text and said["subject"] == text and said["level"] == "info", said
        assert len(said["time"]) == 24 and said["time"].endswith("Z"), said


def test_json_of_any_bytes_and_length():
    for bad in (bytes(range(1, 256)), b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b'"' * 9000,
                b"\xf0\x9d\x84\x9e" * 2000, b"\x01" * 9000, b"x" * 2047 + b"\xc3\xa9"):
        line = speak(bad)
        assert len(line) <= 4096, len(line)
        said = json.loads(line.decode("utf-8"))  # strict: well-formed UTF-8 only
        assert set(said) == {"time", "level", "subject", "message"}, said


def test_every_good_character_passes():
    # All of Unicode but NUL and surrogates, some 200 a line so that none is cut.
    everything = [chr(c) for c in range(1, 0x110000) if not 0xd800 <= c < 0xe000 and (c < 0x3000 or c % 97 == 0)]
    for i in range(0, len(everything), 200):
        text = "".join(everything[i:i + 200])
        said = json.loads(speak(text).decode("utf-8"))
        assert said["message"] == text, hex(ord(text[0]))


tap.run(globals())
