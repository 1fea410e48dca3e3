"""`hostwright-engine SITE`: answer one request. `--transaction`, `--boot` and `--check-contract` are root's own."""

import json
import os
import sys

from . import boot, contract, gate, server, stdio
from .errors import BadRequest, EngineError
from .paths import Paths


def main(argv):
    """The exit status of a call with the arguments `argv`."""
    os.umask(0o022)
    try:
        if len(argv) == 2 and argv[0] == "--check-contract":
            with open(argv[1], encoding="utf-8") as source:
                contract.check(json.load(source))
            return 0
        if not argv or len(argv) > 2 or (len(argv) == 2 and argv[1] not in ("--transaction", "--boot")):
            raise BadRequest("usage: hostwright-engine SITE")
        paths = Paths(argv[0])
        agreed = contract.load(paths.contract)
        if len(argv) == 1:
            return gate.serve(agreed, paths)
        if argv[1] == "--boot":
            return boot.run(agreed, paths)
        return server.Server(agreed, paths).run()
    except EngineError as error:
        stdio.say(dict(error.as_dict(), event="error"))
        return error.exit_status
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")
        return 1
    except (OSError, ValueError, RecursionError) as error:
        stdio.say(dict(EngineError(str(error), "Mend it on the host, then try again").as_dict(), event="error"))
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
