# SPDX-License-Identifier: Apache-2.0
"""Who programs are, for tests: certificates made by openssl, and hashes of passwords made by crypt(3)."""
import ctypes
import os
import subprocess

HERE_NAMES = "DNS:localhost,IP:127.0.0.1"


def openssl(*words, text=None):
    r = subprocess.run(["openssl", *words], input=text, capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, (words, r.stderr)
    return r.stdout


class Pair:
    """A certificate and its key, as files."""

    def __init__(self, directory, name):
        self.crt = os.path.join(directory, name + ".crt")
        self.key = os.path.join(directory, name + ".key")

    def fingerprint(self):
        """SHA-256, small hexadecimal digits."""
        text = openssl("x509", "-in", self.crt, "-noout", "-fingerprint", "-sha256")
        return text.split("=")[1].strip().replace(":", "").lower()


class Authority(Pair):
    """A certificate authority of its own, which signs what is asked."""

    def __init__(self, directory, name="ca"):
        super().__init__(directory, name)
        self.dir = directory
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                self.key, "-out", self.crt, "-days", "30", "-subj", "/CN=" + name)
        os.chmod(self.key, 0o600)

    def issue(self, name, subject=None, names=HERE_NAMES, usage="serverAuth,clientAuth", days=30):
        """subject: "/CN=..." or "/". days below zero: it has expired."""
        pair = Pair(self.dir, name)
        request = openssl("req", "-new", "-utf8", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                          "-keyout", pair.key, "-subj", "/CN=" + name if subject is None else subject)
        extensions = os.path.join(self.dir, name + ".ext")
        with open(extensions, "w") as f:
            f.write(f"subjectAltName={names}\nextendedKeyUsage={usage}\n")
        openssl("x509", "-req", "-CA", self.crt, "-CAkey", self.key, "-CAcreateserial", "-days", str(days),
                "-extfile", extensions, "-out", pair.crt, text=request)
        os.chmod(pair.key, 0o600)
        return pair


# The cheapest rounds of each scheme: the tests are not about how slow they are.
ROUNDS = {"$y$": 1, "$gy$": 1, "$7$": 6, "$2a$": 4, "$2b$": 4, "$2y$": 4, "$5$": 1000, "$6$": 1000}


def hash_of(password, scheme="$6$"):
    """By crypt(3), which python no longer has. scheme "": DES."""
    lib = ctypes.CDLL("libcrypt.so.1")
    lib.crypt_gensalt.restype = lib.crypt.restype = ctypes.c_char_p
    lib.crypt_gensalt.argtypes = [ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int]
    lib.crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    salt = lib.crypt_gensalt(scheme.encode(), ROUNDS.get(scheme, 0), None, 0)
    if isinstance(password, str):
        password = password.encode()
    return lib.crypt(password, salt).decode()
