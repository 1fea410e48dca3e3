"""Run by a release's own Python: everything about Django in one process. It prints one JSON line, marked, on success.

Standard input is {"mode": "check"|"pending"|"migrate"|"unmigrate"|"dump", "manage": [...], ...}; `dump` prints a database dump instead. The project's own manage command is run with
Django's entry point replaced, so that it sets up its settings as it always does.
"""

import json
import os
import runpy
import sys
import time

MARK = "\x1eHOSTWRIGHT "
LOCK = 0x686F7374
"""Of PostgreSQL's advisory locks: held while migrations run."""


def main():
    request = json.loads(sys.stdin.read())
    command = request["manage"]
    sys.path.insert(0, os.getcwd())
    from django.core import management

    management.execute_from_command_line = lambda argv=None: finish(request)
    management.execute_manager = management.execute_from_command_line
    if os.path.basename(command[0]).startswith("python"):
        command = command[1:]
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        path = command[0]
        if os.sep not in path and not os.path.exists(path):
            path = os.path.join(os.path.dirname(sys.executable), path)
        sys.argv = command
        sys.path[0] = os.path.dirname(os.path.abspath(path)) if os.path.dirname(path) else os.getcwd()
        runpy.run_path(path, run_name="__main__")
    sys.exit("the manage command {} did not call Django's execute_from_command_line".format(" ".join(request["manage"])))


def finish(request):
    """The work itself, once the settings are known. Ends the process."""
    import django

    django.setup()
    from django.core.management.base import CommandError

    try:
        modes = {"check": check, "pending": pending, "migrate": migrate, "unmigrate": unmigrate, "dump": dump}
        answer = modes[request["mode"]](request)
    except CommandError as error:
        sys.exit(str(error))
    sys.stdout.flush()
    # A line of its own, whatever the application printed last.
    print("\n" + MARK + json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)


def check(request):
    """Django's system checks, the migration plan, and the heads."""
    from django.core.management import call_command

    missing = [name for name in request["modules"] if not importable(name)]
    if missing:
        sys.exit("the virtualenv lacks {}: add it to the requirements".format(", ".join(missing)))
    for module in request["applications"]:
        load_application(module)
    call_command("check")
    executor = migrations()
    conflicts = executor.loader.detect_conflicts()
    if conflicts:
        sys.exit("conflicting migrations: {}".format("; ".join("{}: {}".format(a, ", ".join(n)) for a, n in conflicts.items())))
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return {
        "plan": [[migration.app_label, migration.name] for migration, _ in plan],
        "reversible": all(operation.reversible for migration, _ in plan for operation in migration.operations),
        "heads": heads(executor),
    }


def pending(request):
    """What of this release is not applied."""
    executor = migrations()
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return {"plan": [[migration.app_label, migration.name] for migration, _ in plan]}


def importable(name):
    import importlib.util

    return importlib.util.find_spec(name) is not None


def load_application(module):
    """Import what gunicorn or celery will import, so that a broken import is found before anything starts."""
    import importlib

    name, _, attribute = module.partition(":")
    loaded = importlib.import_module(name)
    if attribute and not hasattr(loaded, attribute.split(".")[0]):
        sys.exit("{} has no {}".format(name, attribute))


def migrations():
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    return MigrationExecutor(connection)


def heads(executor):
    found = {}
    for app, name in executor.loader.graph.leaf_nodes():
        found.setdefault(app, []).append(name)
    return found


def applied():
    return set(migrations().loader.applied_migrations)


def lock(request):
    from django.db import connection

    if connection.vendor == "postgresql":
        deadline = time.monotonic() + request["lock_timeout"]
        with connection.cursor() as cursor:
            while True:
                cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
                if cursor.fetchone()[0]:
                    break
                # Of one that was killed, the server may still be at its last statement.
                if time.monotonic() > deadline:
                    sys.exit("another process is migrating this database")
                time.sleep(0.2)
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", ["{}s".format(request["lock_timeout"])])


def migrate(request):
    """Apply what is not applied yet."""
    from django.core.management import call_command

    lock(request)
    before = applied()
    call_command("migrate", interactive=False, verbosity=1)
    return {"applied": sorted(list(key) for key in applied() - before)}


def dump(request):
    """Become pg_dump of the default database, with its output on standard output; the password is in no argument."""
    from django.db import connection

    if connection.vendor != "postgresql":
        sys.exit("releases.dump_before_migrate needs PostgreSQL, not {}".format(connection.vendor))
    settings = connection.settings_dict
    env = dict(os.environ)
    for name, key in (("PGHOST", "HOST"), ("PGPORT", "PORT"), ("PGUSER", "USER"), ("PGPASSWORD", "PASSWORD")):
        if settings.get(key):
            env[name] = str(settings[key])
    try:
        os.execvpe("pg_dump", ["pg_dump", "-Fc", "--no-password", "-d", settings["NAME"]], env)
    except FileNotFoundError:
        sys.exit("pg_dump is not on this host, which migrates: ansible-playbook playbooks/site.yml installs it")


def target(executor, head, stuck):
    """What stands for `head`, a migration of the older release, in this one: itself, or the squashed one that ends with it."""
    graph = executor.loader.graph
    if head in graph.nodes:
        return head
    for key in sorted(executor.loader.replacements):
        replaced = [tuple(one) for one in executor.loader.replacements[key].replaces]
        if key in graph.nodes and head in replaced:
            if head != replaced[-1]:
                stuck.append("{}.{} (it stands for some that the older release has)".format(*key))
            return key
    sys.exit("the newer release does not have the migrations of the older one: {}.{}".format(*head))


def unmigrate(request):
    """Go back to `targets` {app: [heads of the older release]}; apps that are not in it are undone whole."""
    executor = migrations()
    graph = executor.loader.graph
    targets = []
    stuck = []
    for app in sorted(executor.loader.migrated_apps):
        older = [target(executor, (app, name), stuck) for name in request["targets"].get(app, [])]
        if older:
            targets += older
        elif any(key[0] == app for key in executor.loader.applied_migrations):
            targets.append((app, None))
    keep = set()
    for key in targets:
        if key[1] is not None:
            keep.update(graph.forwards_plan(key))
    undo = [key for key in executor.loader.applied_migrations if key in graph.nodes and key not in keep]
    for key in sorted(undo):
        for operation in graph.nodes[key].operations:
            if not operation.reversible:
                stuck.append("{}.{} ({})".format(key[0], key[1], operation.describe()))
                break
    if stuck:
        sys.exit("these migrations can't be undone: {}".format("; ".join(stuck)))
    lock(request)
    order = [migration for migration, _ in executor.migration_plan(graph.leaf_nodes(), clean_start=True)]
    backwards = [(step, True) for step in reversed(order) if (step.app_label, step.name) in undo]
    executor.migrate(targets, plan=backwards)
    return {"undone": sorted(list(key) for key in undo)}


if __name__ == "__main__":
    main()
