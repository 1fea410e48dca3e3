"""What the engine refuses or fails at. Each becomes one event, never a traceback."""


LINE_LIMIT = 1000
"""Characters of a line that an error carries: the controller takes an event only up to a limit."""


class EngineError(Exception):
    """`hint` says what to do; `log` is the path of the whole output, `tail` its last lines."""

    kind = "failed"
    exit_status = 1

    def __init__(self, message, hint="", step="", log="", tail=()):
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.step = step
        self.log = log
        self.tail = [line[:LINE_LIMIT] for line in tail]

    def as_dict(self):
        """The error as the controller gets it."""
        return {
            "kind": self.kind,
            "step": self.step,
            "message": self.message,
            "hint": self.hint,
            "log": self.log,
            "tail": self.tail,
        }


class Failed(EngineError):
    """The work failed."""


class BadRequest(EngineError):
    """What was asked for can't be right; nothing was changed."""

    kind = "bad_input"
    exit_status = 2


class Busy(EngineError):
    """Another transaction holds the lock; `holder` has its owner, since, release and op."""

    kind = "busy"
    exit_status = 75

    def __init__(self, holder):
        super().__init__(
            "{} is deploying {} since {}".format(
                holder.get("owner", "someone"), holder.get("release", "?"), holder.get("since", "?")
            ),
            "Wait for it (--lock-wait), or look at it with: fab status",
        )
        self.holder = holder

    def as_dict(self):
        return dict(super().as_dict(), **{k: self.holder.get(k) for k in ("owner", "since", "release", "op")})
