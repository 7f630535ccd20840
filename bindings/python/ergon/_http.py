# SPDX-License-Identifier: Apache-2.0
"""HTTP to the agent, over its Unix socket or TCP: a few kept connections, answers of bounded size. A
connection is used by one thread at a time; a forked child opens its own."""
from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import urllib.parse
from decimal import Decimal
from typing import Any, Dict, List, Optional, Tuple

from ._fork import in_child
from .errors import AccessDenied, ErgonError, ProtocolError, Unavailable

BODY_MAX = 16 << 20
KEPT_MAX = 8  #: idle connections
BASE = "/api/v1"


class Lost(Unavailable):
    """The agent does not answer, or stopped in the middle of an answer."""


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(self.timeout)
            sock.connect(self.path)
        except BaseException:
            sock.close()
            raise
        self.sock = sock


class Client:
    def __init__(self, path: Optional[str], url: Optional[str], token: Optional[str], timeout: float,
                 tls: Optional[ssl.SSLContext]) -> None:
        self.path = path
        self.timeout = timeout
        self.headers: Dict[str, str] = {}
        self.base = BASE
        if token:
            if "\r" in token or "\n" in token:
                raise ValueError("a token has no line breaks")
            self.headers["Authorization"] = f"Bearer {token}"
        self.host: Optional[str] = None
        self.port: Optional[int] = None
        self.tls = tls
        self.where = f"socket {path}"
        if url is not None:
            self._take_url(url)
        self._closed = False
        self._begin_anew()
        in_child(self._begin_anew)

    def _begin_anew(self) -> None:
        self._lock = threading.RLock()  # a handler of a signal may come in between
        self._idle: List[http.client.HTTPConnection] = []  # a parent's stay the parent's

    def _take_url(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError(f"no address of an agent: {url!r}; it looks like http://127.0.0.1:9102")
        self.host, self.port = parts.hostname, parts.port or 9102
        prefix = parts.path.rstrip("/")
        self.base = prefix if prefix.endswith(BASE) else prefix + BASE
        if parts.scheme == "https" and self.tls is None:
            self.tls = ssl.create_default_context()
        elif parts.scheme == "http":
            self.tls = None
        self.where = f"{parts.scheme}://{parts.netloc}"

    def open(self) -> http.client.HTTPConnection:
        if self.host is None:
            return _Unix(self.path or "", self.timeout)
        if self.tls is not None:
            return http.client.HTTPSConnection(self.host, self.port, timeout=self.timeout, context=self.tls)
        return http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)

    def _take(self) -> Tuple[http.client.HTTPConnection, bool]:
        with self._lock:
            try:
                return self._idle.pop(), True
            except IndexError:
                pass
        return self.open(), False

    def _give(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < KEPT_MAX:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle, self._closed = self._idle, [], True
        for connection in idle:
            connection.close()

    def lost(self, error: BaseException) -> ErgonError:
        if isinstance(error, PermissionError):
            return AccessDenied(f"{self.where} is not for this user",
                                "ask to be added to the group of the agent's socket (ergon)")
        return Lost(f"no agent answers at {self.where} ({type(error).__name__}: {error})",
                    "start it with `ergon agent`, or name its socket in ERGON_SOCKET")

    def _once(self, connection: http.client.HTTPConnection, method: str, path: str,
              body: Optional[bytes]) -> Tuple[int, bytes]:
        headers = dict(self.headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, self.base + path, body=body, headers=headers)
        answer = connection.getresponse()
        data = answer.read(BODY_MAX + 1)
        if len(data) > BODY_MAX:
            connection.close()
            raise ProtocolError(f"an answer of {self.where} is longer than {BODY_MAX} bytes")
        if answer.will_close:
            connection.close()
        return answer.status, data

    def ask(self, method: str, path: str, body: Any = None) -> Tuple[int, Any]:
        """Status and JSON (numbers with a fraction as Decimal). Raises Lost, AccessDenied, ProtocolError."""
        payload = None if body is None else json.dumps(body).encode()
        while True:
            connection, kept = self._take()
            try:
                status, data = self._once(connection, method, path, payload)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if kept and not isinstance(error, socket.timeout):
                    continue  # it was closed while it lay here: the next one, in the end a new one
                raise self.lost(error) from error
            except BaseException:
                connection.close()
                raise
            self._give(connection)
            return status, self._decode(status, data)

    def _decode(self, status: int, data: bytes) -> Any:
        try:
            doc = json.loads(data, parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            doc = None
            if status < 400:
                raise ProtocolError(f"{self.where} answered what is no JSON") from error
        if not isinstance(doc, dict):
            if status < 400:
                raise ProtocolError(f"{self.where} answered no JSON object")
            doc = {}
        if status in (401, 403):
            code, message, cure = problem(doc)
            raise AccessDenied(message or f"{self.where} answered {status}",
                               cure or ("pass token=, or set ERGON_TOKEN" if status == 401 else None))
        return doc


def problem(doc: Any) -> Tuple[str, str, Optional[str]]:
    error = doc.get("error") if isinstance(doc, dict) else None
    if not isinstance(error, dict):
        return "", "", None
    cure = error.get("cure")
    return str(error.get("code", "")), str(error.get("message", "")), cure if isinstance(cure, str) else None
