"""The site model: what it accepts, and what it says of what it does not."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostwright import config
from hostwright.errors import BadInput

MINIMAL: dict[str, Any] = {"name": "shop", "source": {"git": "."}}


def refusal(**changes: Any) -> str:
    with pytest.raises(BadInput) as caught:
        config.load({**MINIMAL, **changes})
    return caught.value.message


def test_defaults_of_the_smallest_site() -> None:
    site = config.load(MINIMAL)
    assert site.manage == ["python", "manage.py"]
    assert site.dependencies.requirements == ["requirements.txt"]
    assert site.releases.keep == 5
    assert site.web is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"helth": {}}, "site.helth: unknown key (did you mean health?)"),
        ({"health": {"pth": "/"}}, "site.health.pth: unknown key (did you mean path?)"),
        ({"hooks": [{"nam": "x"}]}, "site.hooks.0.nam: unknown key (did you mean name?)"),
        ({"zzz": 1}, "site.zzz: unknown key"),
        ({"releases": {"keep": "many"}}, "site.releases.keep: must be a whole number"),
        ({"releases": {"keep": 0}}, "site.releases.keep: must be 1 or more"),
        ({"project_dir": "../x"}, "site.project_dir: must be a path inside the release"),
        ({"project_dir": "/x"}, "site.project_dir: must be a path inside the release"),
        ({"name": "Shop!"}, "site.name: must be small letters, digits and hyphens, a letter first, at most 24"),
        ({"source": {}}, "site.source: needs exactly one of git, path, pypi, archive (has none)"),
        ({"source": {"git": ".", "path": "x"}}, "site.source: needs exactly one of git, path, pypi, archive"),
        ({"source": {"pypi": "x"}}, "site.source: pypi needs version"),
        ({"source": {"archive": "x.tar"}}, "site.source: archive needs sha256"),
        ({"web": {}}, "site.web: needs exactly one of wsgi, asgi"),
        ({"web": {"wsgi": "a:b", "tls": "files"}}, "site.web: tls: files needs tls_certificate"),
        ({"web": {"wsgi": "a:b", "tls": "files", "tls_key": "/k"}}, "site.web: tls: files needs tls_certificate"),
        ({"web": {"wsgi": "a:b", "tls": "files", "tls_key_pem": "k"}}, "site.web: tls: files needs tls_certificate"),
        ({"env": {"A": "1"}, "secrets": {"A": "2"}}, "site: in env and in secrets at once: A"),
        ({"env": {"HOSTWRIGHT_X": "1"}}, "site: names that begin with HOSTWRIGHT_"),
        ({"env": {"A": "x\0y"}}, "site: env.A holds a NUL character"),
        ({"secrets": {"A": "x\0y"}}, "site: secrets.A holds a NUL character"),
        ({"env": {"A-B": "1"}}, "site.env.A-B: the name must be letters, digits and _, no digit first"),
        (
            {"processes": [{"name": "beat", "command": ["x"]}], "celery": {"app": "a", "beat": True}},
            "site: two processes or timers would share a unit's name: beat",
        ),
    ],
)
def test_a_wrong_key_is_named_by_its_path(changes: dict[str, Any], message: str) -> None:
    assert message in refusal(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # The nearest key, however deep it is.
        (
            {"celery": {"app": "a", "workers": [{"queus": ["x"]}]}},
            "celery.workers.0.queus: unknown key (did you mean queues?)",
        ),
        ({"services": {"database": []}}, "services.database: unknown key (did you mean databases?)"),
        (
            {"services": {"redis": {"passwort": "canary"}}},
            "services.redis.passwort: unknown key (did you mean password?)",
        ),
        ({"web": {"wsgi": "a", "domain": []}}, "web.domain: unknown key (did you mean domains?)"),
        (
            {"celery": {"app": "a", "workers": [{"concurrency": 0}]}},
            "celery.workers.0.concurrency: must be 1 or more",
        ),
        ({"hooks": [{"name": "a", "stage": "later", "command": ["x"]}]}, "hooks.0.stage: must be 'build', "),
        (
            {"hooks": [{"name": "a", "stage": "build", "command": []}]},
            "hooks.0.command: must not be empty",
        ),
        (
            {"hooks": [{"name": "a", "stage": "build", "command": "make x"}]},
            "hooks.0.command: must be a list",
        ),
        ({"hooks": [{"name": "a", "stage": "build", "command": ["a\nb"]}]}, "hooks.0.command.0: must be a single line"),
        (
            {"processes": [{"name": "a", "command": ["x"], "stop_signal": "KILL"}]},
            "processes.0.stop_signal: must be 'TERM', 'INT', ",
        ),
        ({"processes": [{"command": ["x"]}]}, "processes.0.name: is needed"),
        (
            {"processes": [{"name": "A b", "command": ["x"]}]},
            "processes.0.name: must be small letters, digits and hyphens",
        ),
        (
            {"files": [{"path": "a", "content": "x", "mode": "644"}]},
            'files.0.mode: must be a mode in quotes, such as "0640"',
        ),
        ({"services": {"amqp": {"vhost": "v", "user": "u"}}}, "services.amqp.password: is needed"),
        ({"source": {"git": ".", "sha256": "x"}}, "source.sha256: must be 64 hexadecimal digits"),
        ({"packages": {"run": ["libpq5; reboot"]}}, "packages.run.0: must be the name of a distribution's package"),
        ({"python": {"version": "2.7"}}, "python.version: must be 3, or a version such as 3.12, in quotes"),
        ({"python": {"interpreter": "python3"}}, "python.interpreter: must be an absolute path"),
        ({"allowed_addresses": ["10.0.0.0/40"]}, "allowed_addresses.0: must be an IP address or network such as"),
        ({"allowed_addresses": ["db.example.com"]}, "allowed_addresses.0: must be an IP address or network such as"),
        # What would be read as something else further on.
        ({"files": [{"path": "a", "content": "x", "link": "."}]}, "files.0.link: must be something inside"),
        ({"files": [{"path": "./", "content": "x"}]}, "files.0.path: must be something inside"),
        ({"shared": {"data": "."}}, "shared.data: must be '' or something inside"),
        ({"shared": {"data": "../x"}}, "shared.data: must be '' or a path inside the release"),
        ({"shared": {"my data": ""}}, "must have no spaces"),
        ({"shared": {"a%h": ""}}, "must have no spaces"),
        ({"static": {"root": "st atic"}}, "static.root: must have no spaces"),
        ({"static": {"root": "static; deny all"}}, "static.root: must have no spaces"),
        ({"static": {"root": "."}}, "static.root: must be something inside"),
        ({"static": {"root": ""}}, "static.root: must be a path inside the release"),
        ({"project_dir": ""}, "project_dir: must be a path inside the release"),
        ({"project_dir": "a\tb"}, "project_dir: must be a path inside the release"),
        ({"web": {"wsgi": "a", "locations": {"/x/": "/srv/x; }"}}}, "web.locations./x/: must have no spaces"),
        ({"web": {"wsgi": "a", "locations": {"/x y/": "/srv/x"}}}, "web.locations./x y/: the name must be a URL path"),
        ({"web": {"wsgi": "a", "domains": ["a.example; }"]}}, "web.domains.0: must be a host name such as"),
        ({"web": {"wsgi": "a", "domains": ["bücher.example"]}}, "web.domains.0: must be a host name such as"),
        ({"web": {"wsgi": "a; b"}}, "web.wsgi: must be a module such as shop.wsgi"),
        ({"web": {"wsgi": "a", "upload_limit": "10 MB"}}, "web.upload_limit: must be a size such as 10m"),
        ({"health": {"host": "bücher.example"}}, "health.host: must be text in ASCII"),
        ({"health": {"headers": {"X-A": "a\r\nb"}}}, "health.headers.X-A: must be text in ASCII"),
        ({"health": {"path": "/a b"}}, "health.path: must be a URL path"),
        (
            {"timers": [{"name": "a", "command": ["x"], "calendar": "daily\n[Service]"}]},
            "timers.0.calendar: must be a calendar expression of systemd",
        ),
        ({"name": "root"}, "site: name: root is a user or group of others, and the site would be that one"),
        ({"name": "postgres"}, "site: name: postgres is a user or group of others"),
        # The user that an image comes with may be root without a password.
        ({"name": "ubuntu"}, "site: name: ubuntu is a user or group of others"),
        ({"name": "sudo"}, "site: name: sudo is a user or group of others"),
        # The user that builds another site.
        ({"name": "shop-build"}, "site: name: shop-build is a user or group of others"),
        ({"env": {"A": "\ud800"}}, "site: env.A holds half a character"),
        ({"secrets": {"A": "canary" * 30000}}, "site: secrets.A is longer than the 128 KiB that a program can be"),
        ({"hooks": [{"name": "a", "stage": "build", "command": ["\udcff"]}]}, "hooks.0.command.0: must be a single"),
        ({"shared": {"a": "", "a/b": ""}}, "site: shared: a/b lies in another one"),
        ({"shared": {"media/a/b": ""}, "media": {}}, "site: shared: media/a/b lies in another one"),
        # Not in pydantic's words.
        ({"env": {"A": 1}}, "site.env.A: must be text: put it in quotes"),
        ({"env": {"A": True}}, "site.env.A: must be text: put it in quotes"),
        ({"env": {"A": ["canary"]}}, "site.env.A: must be text"),
        ({"env": {"A": None}}, "site.env.A: must be text"),
        ({"python": {"version": 3.12}}, "site.python.version: must be text: put it in quotes"),
        ({"web": "canary"}, "site.web: must be a mapping of keys"),
        ({"web": {"wsgi": "a", "redirect_to_tls": "canary"}}, "site.web.redirect_to_tls: must be true or false"),
        (
            {"services": {"postgresql_settings": {"work_mem": ["canary"]}}},
            "site.services.postgresql_settings.work_mem: must be text or a whole number or a number or true or false",
        ),
        (
            {"partitions": [{"table": "t", "key": "k", "interval": "canary"}]},
            "site.partitions.0.interval: must be 'hour', 'day', 'week', 'month', 'quarter' or 'year' or a whole number",
        ),
        (
            {"processes": [{"name": "a", "command": ["x"], "singleton": True, "count": 2}]},
            "site: the process a is a singleton, so its count must be 1",
        ),
        # What no host could do.
        ({"health": {"status": []}}, "site.health.status: must not be empty"),
        (
            {"celery": {"app": "a", "workers": [{"queues": ["a b"]}]}},
            "site.celery.workers.0.queues.0: must be letters, digits, _, ., $ and -, a letter or _ first, at most 63",
        ),
        (
            {"services": {"postgresql_settings": {"a.b.c": 1}}},
            "site.services.postgresql_settings.a.b.c: the name must be a setting such as work_mem or",
        ),
        ({"celery": {"app": "a", "workers": [{"queues": []}]}}, "site.celery.workers.0.queues: must not be empty"),
        (
            {"timers": [{"name": "a", "command": ["x"], "calendar": "*:0/90"}]},
            "timers.0.calendar: must be a calendar expression of systemd",
        ),
        (
            {"web": {"wsgi": "a", "port": 443, "tls": "self_signed"}},
            "site.web: port and tls_port must be two",
        ),
        ({"web": {"wsgi": "a", "locations": {"/": "/srv/x"}}}, "site.web: locations: / is the application's own"),
        (
            {"web": {"wsgi": "a"}, "media": {"url": "/static/"}},
            "site: web.locations, static.url and media.url: two are: /static/",
        ),
        (
            {"web": {"wsgi": "a", "locations": {"/docs": "/srv/x", "/docs/": "/srv/y"}}},
            "site: web.locations, static.url and media.url: two are: /docs/",
        ),
        (
            {"files": [{"path": "a", "content": "canary"}, {"path": "./a", "content": "canary"}]},
            "site: files: two have the path: a",
        ),
        (
            {"files": [{"path": "a", "content": "x", "link": "conf/a"}], "shared": {"b": "conf//a"}},
            "site: files and shared: two have the link: conf/a",
        ),
        ({"shared": {"a": "", "a/": ""}}, "site: shared: there twice: a"),
        (
            {"hooks": [{"name": "a", "stage": stage, "command": ["x"]} for stage in ("build", "after_deploy")]},
            "site: hooks: two have the name: a",
        ),
        (
            {"services": {"databases": [{"name": "shop"}, {"name": "shop", "owner": "ann"}]}},
            "site: services.databases: two have the name: shop",
        ),
        (
            {
                "services": {"databases": [{"name": "shop"}]},
                "partitions": [{"table": "t", "key": "k", "database": "other"}],
            },
            "site: partitions: t: services.databases has no other",
        ),
        (
            {
                "services": {"databases": [{"name": "shop"}]},
                "partitions": [{"table": "t", "key": "k", "database": "shop"}, {"table": "public.t", "key": "k"}],
            },
            "site: partitions: there twice: shop public.t",
        ),
        (
            {"partitions": [{"table": f"{schema}.t", "key": "k", "retention": "archive"} for schema in ("a", "b")]},
            "site: partitions: children of two tables would have one name in archive_schema: archive.t",
        ),
    ],
)
def test_a_wrong_value_is_named_by_its_path_and_not_shown(changes: dict[str, Any], message: str) -> None:
    said = refusal(**changes)
    assert message in said
    assert "canary" not in said


@pytest.mark.parametrize(
    "changes",
    [
        {
            "web": {
                "wsgi": "a",
                "domains": ["shop.example.com", "*.example.com", ".example.com", "localhost", "10.0.0.1"],
            }
        },
        {"web": {"wsgi": "a.b:c", "locations": {"/docs/": "/srv/docs-1.0/html"}}},
        {"shared": {"data/in": "var/in", "beat": ""}},
        {
            "timers": [
                {"name": "a", "command": ["x"], "calendar": c} for c in ("Mon..Fri *-*~07 10:00:00 Europe/Berlin",)
            ]
        },
        {"env": {"PEM": "-----BEGIN-----\n\tx\n", "EMOJI": "ü☃", "EMPTY": "", "DOS": "a\r\nb"}},
        {"services": {"postgresql_settings": {"random_page_cost": 1.1, "work_mem": "16MB", "jit": False}}},
        {"services": {"postgresql_settings": {"pg_stat_statements.max": 1000}}},
        {"celery": {"app": "a", "workers": [{"queues": ["high.priority", "low-1"]}]}},
        {"project_dir": "back end/it's"},
        {"web": {"wsgi": "a", "port": 443}},
        {"web": {"wsgi": "a"}, "static": {"root": None}, "media": {"url": "/static/"}},
        {"services": {"databases": []}, "partitions": [{"table": "t", "key": "k", "database": "elsewhere"}]},
        {"static": {"root": "var/static@2+3"}},
    ],
)
def test_what_a_real_site_may_have(changes: dict[str, Any]) -> None:
    assert config.load({**MINIMAL, **changes}).name == "shop"


@pytest.mark.parametrize("key", [1, True, None, 2.5])
def test_a_key_that_is_no_text(key: Any) -> None:
    with pytest.raises(BadInput):
        config.load({**MINIMAL, key: "canary"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"web": {"wsgi": "a", "workers": True}}, "site.web.workers: must be a whole number"),
        ({"web": {"wsgi": "a", "hsts_seconds": True}}, "site.web.hsts_seconds: must be a whole number"),
        ({"releases": {"keep": True}}, "site.releases.keep: must be a whole number"),
        ({"services": {"redis": {"databases": {"a": False}}}}, "site.services.redis.databases.a: must be a whole"),
        ({"partitions": [{"table": "t", "key": "k", "keep": True}]}, "site.partitions.0.keep: must be a whole number"),
        ({"partitions": [{"table": "t", "key": "k", "interval": True}]}, "site.partitions.0.interval: must be 'hour'"),
        (
            {"partitions": [{"table": "t", "key": "k", "method": "list", "values": {"no": [False]}}]},
            "site.partitions.0.values.no.0: must be text or a whole number: put yes, no, on and off in quotes",
        ),
    ],
)
def test_yes_and_no_are_no_numbers(changes: dict[str, Any], message: str) -> None:
    assert message in refusal(**changes)


def test_a_number_may_come_as_text_from_a_template() -> None:
    site = config.load({**MINIMAL, "web": {"wsgi": "a", "workers": "4"}, "releases": {"keep": "7"}})
    assert site.web is not None
    assert (site.web.workers, site.releases.keep) == (4, 7)


def test_every_wrong_key_is_reported_at_once() -> None:
    assert refusal(helth={}, manag=[]).count("\n") == 1


@pytest.mark.parametrize("data", [None, [], "x", 3])
def test_a_site_that_is_no_mapping(data: Any) -> None:
    with pytest.raises(BadInput, match="must be a mapping"):
        config.load(data)


def test_secrets_are_not_shown_and_are_revealed_on_purpose() -> None:
    site = config.load(
        {
            **MINIMAL,
            "secrets": {"SECRET_KEY": "canary-1"},
            "files": [{"path": "a.ini", "content": "canary-2"}],
            "services": {
                "databases": [{"name": "shop", "password": "canary-3"}],
                "redis": {"password": "canary-4"},
                "amqp": {"vhost": "v", "user": "u", "password": "canary-5"},
            },
        }
    )
    for text in (json.dumps(config.shown(site)), repr(site), str(site)):
        assert "canary" not in text
    revealed = json.dumps(config.revealed(site))
    assert [f"canary-{n}" in revealed for n in range(1, 6)] == [True] * 5


SECRET_PLACES: list[dict[str, Any]] = [
    {"secrets": {"A": 7}},
    {"secrets": {"A": ["canary"]}},
    {"secrets": "canary"},
    {"secrets": ["canary"]},
    {"secrets": {"A": "canary\0"}},
    {"files": [{"path": "../a", "content": "canary"}]},
    {"files": [{"path": "a", "content": {"canary": 1}}]},
    {"files": "canary"},
    {"services": {"databases": [{"name": "a b", "password": "canary"}]}},
    {"services": {"databases": [{"name": "a", "password": ["canary"]}]}},
    {"services": {"redis": {"password": {"x": "canary"}}}},
    {"services": {"redis": "canary"}},
    {"services": {"amqp": {"vhost": "a b", "user": "u", "password": "canary"}}},
    {"web": {"wsgi": "a", "tls_key_pem": ["canary"]}},
    {"env": {"A": {"canary": 1}}},
    {"source": {"git": ["https://user:canary@example.com"]}},
]


@pytest.mark.parametrize("changes", SECRET_PLACES)
def test_a_refusal_never_shows_a_value(changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as caught:
        config.load({**MINIMAL, **changes})
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_refusal_does_not_show_a_secret() -> None:
    assert "canary" not in refusal(secrets={"A": ["canary"]})
    assert "canary" not in refusal(secrets={"A": "canary"}, env={"A": "canary"})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(list(config.Site.model_fields)) | st.text(), json_values, max_size=5))
def test_any_input_is_loaded_or_refused_and_nothing_else_is_raised(data: dict[str, Any]) -> None:
    with contextlib.suppress(BadInput):
        config.load({**MINIMAL, **data})


def test_a_secret_is_hidden_within_other_texts_too() -> None:
    site = config.load(
        {
            "name": "shop",
            "source": {"git": "."},
            "env": {"BROKER_URL": "redis://:canary-1@h/0", "MODE": "db"},
            "secrets": {"KEY": "canary-1", "SHORT": "db"},
            "services": {"redis": {"password": "canary-1-and-more"}},
            "processes": [{"name": "mail", "command": ["mail", "--password=canary-1-and-more"]}],
        }
    )
    shown = config.shown(site)
    assert "canary" not in str(shown)
    assert shown["env"] == {"BROKER_URL": "redis://:**********@h/0", "MODE": "db"}
    assert shown["processes"][0]["command"] == ["mail", "--password=**********"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:canary@example.com/x.git", "https://**********@example.com/x.git"),
        ("https://canary@example.com/x.git", "https://**********@example.com/x.git"),
        ("ssh://git:canary@example.com:22/x.git", "ssh://**********@example.com:22/x.git"),
        ("ssh://git@example.com/x.git", "ssh://git@example.com/x.git"),
        ("git@example.com:x.git", "git@example.com:x.git"),
        ("https://example.com/x@y.git", "https://example.com/x@y.git"),
    ],
)
def test_a_token_in_an_address_is_not_shown(url: str, shown: str) -> None:
    site = config.load({**MINIMAL, "source": {"git": url}, "dependencies": {"packages": [f"x @ git+{url}"]}})
    assert config.shown(site)["source"]["git"] == shown
    assert config.shown(site)["dependencies"]["packages"] == [f"x @ git+{shown}"]
