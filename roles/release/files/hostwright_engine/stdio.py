"""Standard input and output of a request: a line of JSON in, events as lines of JSON out."""

import json
import os
import sys

from .errors import BadRequest

REQUEST_LIMIT = 1 << 20
"""Bytes of a request's line."""


def say(event):
    """Print one event."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def read_line(limit=REQUEST_LIMIT):
    """The first line of standard input, byte by byte, so that the rest stays there for a command."""
    line = bytearray()
    while len(line) < limit:
        byte = os.read(0, 1)
        if not byte or byte == b"\n":
            return bytes(line)
        line += byte
    raise BadRequest("the request is longer than {} bytes".format(limit))
