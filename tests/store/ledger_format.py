# SPDX-License-Identifier: Apache-2.0
"""The files of the ledger by docs/ledger.md, written and read without any of Ergon's code, so that the
document, this and the program must agree."""
import struct

WIDTH = 256
MARK = 0xE6
START, STOP, ACCOUNT, CHANNEL, DELTA = 1, 2, 3, 4, 5
ENTRY = 512
NUMBERS = ("uj", "recovered_uj", "gap_ns", "resets", "created_unix_ns", "boot", "raw", "t_ns",
           "awake_ns", "unix_ns", "rem", "unit_num", "unit_den", "modulus", "counter")


def _table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    return table


TABLE = _table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for b in data:
        crc = crc >> 8 ^ TABLE[(crc ^ b) & 0xFF]
    return crc ^ 0xFFFFFFFF


def key(text):
    h = 0xCBF29CE484222325
    for b in text.encode():
        h = (h ^ b) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def boot(text):
    return bytes.fromhex(text.replace("-", "")) if text else bytes(16)


def numbers(**n):
    assert set(n) <= set(NUMBERS), n
    values = [n.get(k, 0) for k in NUMBERS]
    values[5] = boot(n.get("boot", ""))
    return struct.pack("<5Q16s9Q", *values)


def read_numbers(data):
    n = dict(zip(NUMBERS, struct.unpack("<5Q16s9Q", data)))
    n["boot"] = n["boot"].hex()
    return n


# ---- ledger.log ----

def log_header(unix_ns=0, version=1, magic=b"ERGONLOG"):
    h = struct.pack("<8sIIQ", magic, version, WIDTH, unix_ns).ljust(252, b"\0")
    return h + struct.pack("<I", crc32c(h))


def record(kind, session, unix_ns, body=b"", flags=0):
    """body: what follows byte 24."""
    r = struct.pack("<BBBBQQ", MARK, 1, kind, flags, session, unix_ns) + body
    r = r.ljust(WIDTH - 4, b"\0")
    assert len(r) == WIDTH - 4
    return struct.pack("<I", crc32c(r)) + r


def mark(kind, session, unix_ns, boot_id):
    return record(kind, session, unix_ns, bytes(8) + boot(boot_id))


def text(kind, session, unix_ns, name, value):
    return record(kind, session, unix_ns, struct.pack("<Q", key(name)) + value.encode() + b"\0")


def delta(session, written_ns, name, delta_uj, feed="", base=False, **n):
    return record(DELTA, session, written_ns,
                  struct.pack("<QQII", key(name), delta_uj, crc32c(feed.encode()) if feed else 0, 0) +
                  numbers(**n), flags=int(base))


def read_log(data):
    """Yields (offset, dict) of every whole record; the header and damaged stretches are passed over."""
    at = WIDTH
    while at + WIDTH <= len(data):
        r = data[at:at + WIDTH]
        crc, mark_, version, kind, flags, session, unix_ns = struct.unpack("<IBBBBQQ", r[:24])
        if mark_ != MARK or version != 1 or not START <= kind <= DELTA or crc != crc32c(r[4:]):
            at += 1
            continue
        d = {"kind": kind, "session": session, "unix_ns": unix_ns}
        if kind in (START, STOP):
            d["boot"] = r[32:48].hex()
        else:
            d["key"] = struct.unpack("<Q", r[24:32])[0]
        if kind in (ACCOUNT, CHANNEL):
            d["text"] = r[32:].split(b"\0")[0].decode()
        if kind == DELTA:
            d["delta_uj"], d["feed"] = struct.unpack("<QI", r[32:44])
            d["base"] = bool(flags & 1)
            d.update({"n": read_numbers(r[48:176])})
        yield at, d
        at += WIDTH


# ---- checkpoint ----

def slot_bytes(capacity):
    return (128 + capacity * ENTRY + 4095) // 4096 * 4096


def checkpoint_header(capacity, unix_ns=0, version=1, magic=b"ERGONCKP"):
    h = struct.pack("<8sIIQQQ", magic, version, ENTRY, capacity, slot_bytes(capacity), unix_ns)
    h = h.ljust(252, b"\0")
    return (h + struct.pack("<I", crc32c(h))).ljust(4096, b"\0")


def entry(name, feed="", **n):
    return (numbers(**n) + name.encode().ljust(128, b"\0") + feed.encode().ljust(224, b"\0")) \
        .ljust(ENTRY, b"\0")


def slot(capacity, entries, sequence, session, unix_ns, boot_id, t_ns=0, clean=False):
    s = struct.pack("<IQQQQQ16sQ", ENTRY, len(entries), sequence, session, t_ns, unix_ns,
                    boot(boot_id), int(clean)).ljust(124, b"\0")
    s += b"".join(entries)
    return (struct.pack("<I", crc32c(s)) + s).ljust(slot_bytes(capacity), b"\0")


def read_checkpoint(data):
    """The newest whole slot as (header dict, [(name, feed, numbers)]), or None."""
    capacity, size = struct.unpack("<QQ", data[16:32])
    best = None
    for at in (4096, 4096 + size):
        crc, width, n, sequence, session, t_ns, unix_ns = struct.unpack("<IIQQQQQ", data[at:at + 48])
        if not sequence or n > capacity or crc != crc32c(data[at + 4:at + 128 + n * ENTRY]):
            continue
        if best and best[0]["sequence"] > sequence:
            continue
        entries = []
        for i in range(n):
            e = data[at + 128 + i * ENTRY:][:ENTRY]
            entries.append((e[128:256].split(b"\0")[0].decode(), e[256:480].split(b"\0")[0].decode(),
                            read_numbers(e[:128])))
        best = ({"sequence": sequence, "session": session, "t_ns": t_ns, "unix_ns": unix_ns,
                 "boot": data[at + 48:at + 64].hex(), "clean": bool(data[at + 64] & 1)}, entries)
    return best
