"""Requests from outside while something happens: as many as asked for, each with what came of it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType


@dataclass
class Load:
    """`rate` requests a second from four clients: GET and POST, kept-alive connections and new ones."""

    address: str
    rate: float = 100.0
    done: int = 0
    failed: list[str] = field(default_factory=list)
    releases: set[str] = field(default_factory=set)

    def __enter__(self) -> Load:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._client, args=(n,), daemon=True) for n in range(4)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _client(self, number: int) -> None:
        keep, post = number % 2 == 0, number >= 2
        pause = len(self._threads) / self.rate
        # It connects again by itself at the first request after it was closed.
        connection = http.client.HTTPConnection(self.address, timeout=15)
        due = time.monotonic()
        while not self._stop.is_set():
            try:
                body = json.dumps({"customer": f"client {number}", "cents": 1}) if post else None
                headers = {} if keep else {"Connection": "close"}
                connection.request("POST" if post else "GET", "/api/orders", body, headers)
                answer = connection.getresponse()
                data = answer.read()
                problem = "" if answer.status in (200, 201) else f"status {answer.status}: {data[:100]!r}"
                release = json.loads(data)["release"] if not problem else ""
            except (OSError, http.client.HTTPException, ValueError) as error:
                problem, release = f"{type(error).__name__}: {error}", ""
            with self._lock:
                self.done += 1
                if problem:
                    self.failed.append(f"{time.strftime('%H:%M:%S')} client {number}: {problem}")
                else:
                    self.releases.add(release)
            if not keep or problem:
                connection.close()
            due = max(due + pause, time.monotonic() - 1)
            self._stop.wait(max(0, due - time.monotonic()))
        connection.close()
