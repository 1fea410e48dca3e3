"""The process that a transaction is: it takes the controller's commands from a socket, and acts alone when they cease."""

import json
import os
import queue
import socket
import struct
import threading
import time
import traceback

from . import commands, lock, storage
from .errors import EngineError, Failed
from .transaction import Transaction

LEASE = 20.0
"""Seconds without a word from the controller, while nothing is being done, before the transaction is undone."""

SENDING = 10
"""Seconds for a controller to take an event; what it does not take, it is told when it attaches again."""

LINE_LIMIT = 1 << 20
"""Characters of a controller's line."""

RETRY = 5.0
"""Seconds until the process tries again, alone, what it could not do."""


class Server:
    """Serves one transaction on `paths.control` until it is over."""

    def __init__(self, agreed, paths):
        self.agreed = agreed
        self.paths = paths
        self.state = storage.State(paths.state)
        self.transaction = Transaction(agreed, paths, self.state, self.emit)
        self.commands = queue.Queue()
        self.client = None
        self.sending = threading.Lock()
        self.turning = threading.Lock()
        self.heard = time.monotonic()
        self.tried = self.heard - RETRY
        self.got = 0
        self.journal = None
        self.result = "done"
        self.going_back = False
        """Whether it was to be undone: what could not be is tried again, with a controller or without."""

    def run(self):
        """End what was left unfinished, or else begin what is requested and serve it; nothing where there is neither.

        Returns the exit status of the process. Raises EngineError where what was left could not be ended.
        """
        unfinished = self.state["transaction"]
        request = unfinished or self._take_request()
        if request is None:
            return 0
        op = request["op"]
        holder = {"owner": request["owner"], "release": request.get("release"), "op": op, "recovering": bool(unfinished)}
        held = lock.take(self.paths.lock, holder)
        self.journal = storage.Journal(self.paths.journal, self.agreed["host"], op)
        os.makedirs(self.paths.run, mode=0o700, exist_ok=True)
        listener = self._listen()
        try:
            if unfinished:
                self.recover()
            else:
                self._begin(request)
                if self.state["transaction"]:
                    self._serve()
        finally:
            self.journal.close()
            # Wakes the thread that waits for controllers.
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            with self.sending:
                self._drop()
            os.unlink(self.paths.control)
            held.close()
        return 0

    def _take_request(self):
        """What is to be begun; it is begun once, whatever happens to it."""
        try:
            with open(self.paths.request, encoding="utf-8") as source:
                request = json.load(source)
            os.unlink(self.paths.request)
        except FileNotFoundError:
            return None
        return request

    def emit(self, event):
        """Store an event, then tell the controller, if one is there."""
        with self.sending:
            stored = self.journal.append(event)
            self._send(stored)

    def _send(self, event):
        if self.client is None:
            return
        try:
            self.client.sendall(json.dumps(event).encode("utf-8") + b"\n")
        except OSError:
            self._drop()

    def _drop(self):
        if self.client is not None:
            self.client.close()
            self.client = None

    # --- the controller's side

    def _listen(self):
        try:
            os.unlink(self.paths.control)
        except FileNotFoundError:
            pass
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old = os.umask(0o177)
        try:
            listener.bind(self.paths.control)
        finally:
            os.umask(old)
        listener.listen(4)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener):
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return  # It is closed: the transaction is over.
            threading.Thread(target=self._read, args=(client,), daemon=True).start()

    def _read(self, client):
        """Take the lines of one controller; the newest one that attaches is the one that is told."""
        with client.makefile("r", encoding="utf-8", errors="replace") as lines:
            try:
                for line in iter(lambda: lines.readline(LINE_LIMIT), ""):
                    self.heard = time.monotonic()
                    command = _command(line)
                    if command is None:
                        continue
                    word = command["do"]
                    number = command.get("n", self.got + 1)
                    if word == "attach":
                        self._attach(client, command)
                    elif word != "ping" and number > self.got:
                        # What comes again after a broken connection is done once.
                        self.got = number
                        if word == "abort":
                            self._cancel()
                        self.commands.put(command)
            except OSError:
                pass
        with self.sending:
            if self.client is client:
                self._drop()

    def _cancel(self):
        """Have an abort end what is under way, but neither the end of a transaction nor its undoing."""
        record = self.state["transaction"]
        with self.turning:
            if not self.going_back and (record is None or record["phase"] != "confirmed"):
                commands.cancelled.set()

    def _attach(self, client, command):
        with self.sending:
            self._drop()
            # Not settimeout(), which would end its silence too: that is what the lease is for.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SENDING, 0))
            self.client = client
            self._send({"event": "attached", "op": self.journal.stamp["op"], "got": self.got})
            for event in list(self.journal.events):
                if event["seq"] > command.get("after", 0):
                    self._send(event)

    # --- the transaction's side

    def _begin(self, request):
        try:
            self.transaction.begin(request)
        except EngineError as error:
            self.emit(dict({"event": "end", "result": "refused"}, error=error.as_dict()))
        else:
            serves = self.state["current"]["release"] if self.state["current"] else None
            self.emit({"event": "begun", "release": self.transaction.release, "kind": request["kind"], "serves": serves})

    def _serve(self):
        while self.state["transaction"]:
            try:
                command = self.commands.get(timeout=0.25)
            except queue.Empty:
                self._watch()
                continue
            self._obey(command)
            self.heard = time.monotonic()
        self.emit({"event": "end", "result": self.result})

    def _obey(self, command):
        word = command.get("do")
        answer = {"event": "done", "do": word, "n": command.get("n")}
        if word == "abort":
            with self.turning:
                self.going_back = True
                commands.cancelled.clear()
        try:
            facts = self.transaction.obey(command)
        except EngineError as error:
            self._failed(answer, error)
        except OSError as error:
            self._failed(answer, Failed("the host can't go on: {}".format(error), "Mend it, then deploy again", step=word))
        except Exception as error:
            # Whatever it is, the transaction can still be undone; the journal of the unit has the rest.
            traceback.print_exc()
            self._failed(answer, EngineError("{}: {}".format(type(error).__name__, error), step=word))
        else:
            self.result = "aborted" if word == "abort" else "done"
            self.emit(dict(facts, ok=True, **answer))

    def _failed(self, answer, error):
        if answer["do"] == "finish":
            self.result = "failed"
        self.tried = time.monotonic()
        self.emit(dict(answer, ok=False, error=error.as_dict()))

    def _watch(self):
        """Nothing to do: see whether the controller's time is over."""
        now = time.monotonic()
        if now - self.tried < RETRY:
            return
        if self.transaction.past("confirmed"):
            if self.client is None or now - self.heard > 5:
                self._obey({"do": "finish"})
        elif self.going_back:
            self._obey({"do": "abort"})
        elif self.transaction.past("flipped"):
            if time.time() - self.transaction.record["flipped"] > self.agreed["releases"]["confirm_timeout"]:
                self.emit({"event": "expired", "detail": "nobody confirmed the release in time"})
                self._obey({"do": "abort"})
        elif now - self.heard > LEASE:
            self.emit({"event": "expired", "detail": "no word from the controller for {:.0f} s".format(LEASE)})
            self._obey({"do": "abort"})

    def recover(self):
        """Finish or undo what an earlier process of this transaction left."""
        done = "finish" if self.transaction.past("confirmed") else "abort"
        self.emit({"event": "recovering", "do": done})
        self._obey({"do": done})
        if self.state["transaction"]:
            raise EngineError("the interrupted transaction could not be ended; see the journal")
        self.emit({"event": "end", "result": "finished" if done == "finish" else "aborted"})


def _command(line):
    """The command in a controller's line; None where there is none."""
    try:
        command = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(command, dict) or not isinstance(command.get("do"), str):
        return None
    if any(type(command.get(key, 0)) is not int for key in ("n", "after")):
        return None
    return command
