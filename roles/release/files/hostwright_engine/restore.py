"""Replacing what is in a database by a dump of pg_dump -Fc, in one transaction."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

from . import commands, contract

OTHERS = re.compile(
    r"^\d+; \d+ \d+ (COMMENT - EXTENSION|SCHEMA - public|(COMMENT|ACL) - (SCHEMA )?public|ACL - FOREIGN DATA WRAPPER) "
)
"""Lines of a dump's table of contents that only a superuser can restore: they are the server's, which has them."""

FIRST = b"""\
BEGIN;
SET lock_timeout = '60s';
DROP OWNED BY CURRENT_USER;
DO $$ BEGIN IF to_regnamespace('public') IS NULL THEN CREATE SCHEMA public; END IF; END $$;
"""
"""pg_restore --clean would drop one thing after another, and can't drop what a partition has from its parent.

The transaction is ours: psql's --single-transaction commits whatever came before the end of its input.
"""


def restore(paths, name, user, env):
    """Replace all that the role `user` owns in the database `name` by the dump on standard input, or change nothing.

    Returns the exit status, 0 where it is done. The dump lies in an unnamed file meanwhile.
    """
    become = commands.become(user)
    with tempfile.TemporaryFile(dir=paths.srv) as dump, tempfile.TemporaryFile(dir=paths.srv) as wanted:
        try:
            with os.fdopen(os.dup(0), "rb") as source:
                shutil.copyfileobj(source, dump)
            dump.flush()
        except OSError as error:
            sys.stderr.write("the dump can't be kept in {} meanwhile: {}\n".format(paths.srv, error.strerror))
            return 1
        dump.seek(0)
        listing = subprocess.Popen(
            ["pg_restore", "--list"], env=env, stdin=dump, stdout=subprocess.PIPE, preexec_fn=become
        )
        contents = listing.communicate()[0].decode("utf-8", "surrogateescape")
        if listing.returncode:
            return 1
        kept = "".join(line + "\n" for line in contents.splitlines() if not OTHERS.match(line))
        wanted.write(kept.encode("utf-8", "surrogateescape"))
        wanted.flush()
        # pg_restore opens the file by its number, as the application's user.
        os.fchown(wanted.fileno(), contract.account(user).pw_uid, -1)
        dump.seek(0)
        return _replace(name, dump, wanted, env, become)


def _replace(name, dump, wanted, env, become):
    version = subprocess.check_output(["pg_restore", "--version"], env=env, preexec_fn=become).decode()
    reader = ["pg_restore", "--no-owner", "--use-list", "/dev/fd/{}".format(wanted.fileno())]
    if int(re.search(r"\d+", version).group()) >= 12:
        reader += ["-f", "-"]
    reading = subprocess.Popen(
        reader,
        env=env,
        stdin=dump,
        stdout=subprocess.PIPE,
        preexec_fn=become,
        pass_fds=[wanted.fileno()],
    )
    psql = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", name, "-f", "-"]
    writing = subprocess.Popen(
        psql, env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, preexec_fn=become
    )
    try:
        writing.stdin.write(FIRST)
        with reading.stdout:
            shutil.copyfileobj(reading.stdout, writing.stdin)
        if reading.wait() == 0:
            writing.stdin.write(b"COMMIT;\n")
    except BrokenPipeError:
        reading.kill()  # psql has ended, and has said why.
    try:
        writing.stdin.close()
    except BrokenPipeError:
        pass  # As above.
    statuses = [process.wait() for process in (reading, writing)]
    return 1 if any(statuses) else 0
