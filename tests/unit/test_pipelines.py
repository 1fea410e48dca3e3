"""The pipeline templates: the shell stage run for real, with programs that write down how they are called."""

from __future__ import annotations

import base64
import http.server
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "examples" / "pipelines"
STAGE = TEMPLATES / "pipeline.sh"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\ncanary-key\n-----END OPENSSH PRIVATE KEY-----"
SECRETS = {"VAULT_PASSWORD": "canary-vault", "SSH_PRIVATE_KEY": KEY}
VARIABLES = {**SECRETS, "SSH_KNOWN_HOSTS": "192.0.2.1 ssh-ed25519 AAAA", "SMOKE_URL": "https://shop.example.com/"}

FAILS = {"curl": "exit 22", "fab": 'case "$1" in rollback) exit 1 ;; esac'}

PROGRAM = """\
#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
case "$(basename "$0") $1" in
    "ansible-playbook playbooks/site.yml" | "fab deploy")
        stat -c %a "$ANSIBLE_VAULT_PASSWORD_FILE" >>"$SEEN"; "$ANSIBLE_VAULT_PASSWORD_FILE" >>"$SEEN"
        cat "$ANSIBLE_VAULT_PASSWORD_FILE" >>"$SEEN.file"
        echo "$ANSIBLE_INVENTORY" >>"$SEEN" ;;
    "ssh-add "*) cat >>"$SEEN" ;;
    "ssh-agent "*) exec "$@" ;;
    "getent "*) echo "me:x:1000:1000::$HOME_OF_ME:/bin/sh"; exit 0 ;;
esac
case "$(basename "$0")" in curl) printf 200 ;; *) echo "output of $(basename "$0")" ;; esac
case "$(basename "$0") $*" in "$FAIL"*) exit "$STATUS" ;; esac
if test "$SLOW" = "$(basename "$0") $1"; then
    trap 'echo undone >>"$CALLS"; exit 130' TERM
    echo begun >>"$CALLS"
    while true; do sleep 0.05; done
fi
"""


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    """A deploy/ with the stage, and the programs that it calls."""
    for program in ("fab", "ansible-playbook", "curl", "ssh-agent", "ssh-add", "getent"):
        path = tmp_path / "bin" / program
        path.parent.mkdir(exist_ok=True)
        path.write_text(PROGRAM)
        path.chmod(0o755)
    target = tmp_path / "deploy"
    for directory in ("inventory/staging", "playbooks"):
        (target / directory).mkdir(parents=True)
    for playbook in ("bootstrap", "site"):
        (target / "playbooks" / f"{playbook}.yml").touch()
    (target / "pipeline.sh").write_text(STAGE.read_text())
    return target


def start(deploy: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    top = deploy.parent
    environment = {
        "PATH": f"{top / 'bin'}:{os.environ['PATH']}",
        "HOME": str(top / "not-the-users-home"),
        "HOME_OF_ME": str(top),
        "TMPDIR": str(top),
        "CALLS": str(top / "calls"),
        "SEEN": str(top / "seen"),
        **{"FAIL": "nothing", "SLOW": "", "STATUS": ""},
        **variables,
    }
    argv = ["sh", "deploy/pipeline.sh", *arguments]
    return subprocess.Popen(argv, cwd=top, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(deploy: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    """(exit status, what was said on standard error)."""
    process = start(deploy, *arguments, **variables)
    _, said = process.communicate(timeout=30)
    return process.returncode, said


def calls(deploy: Path) -> list[str]:
    return (deploy.parent / "calls").read_text().splitlines()


AGENT = "ssh-agent sh ./pipeline.sh"
REACH = ["ssh-add -q -", f"getent passwd {os.getuid()}"]
CURL = "curl -sSL --proto-redir =https --max-redirs 5 --max-time 20 --output /dev/null --write-out %{http_code}"
RELEASE = [
    f"{AGENT} release staging",
    "fab config.check",
    *REACH,
    "ansible-playbook playbooks/site.yml",
    f"{CURL} https://shop.example.com/",
    "fab deploy --json --junit deploy.xml --lock-wait 600",
    f"{CURL} --fail --retry 5 --retry-all-errors https://shop.example.com/",
]
ROLLBACK = "fab rollback --yes --json --junit rollback.xml --lock-wait 600"


def test_a_release_is_provisioned_deployed_and_looked_at(deploy: Path) -> None:
    assert run(deploy, "release", "staging", **VARIABLES) == (0, "")
    assert calls(deploy) == RELEASE
    assert (deploy / "events.jsonl").read_text() == "output of fab\n"


def test_the_hosts_keys_are_added_once_where_ssh_looks_for_them(deploy: Path) -> None:
    known = deploy.parent / ".ssh" / "known_hosts"
    known.parent.mkdir()
    known.write_text("192.0.2.1 ssh-ed25519 AAA\n")
    for _ in range(2):
        run(deploy, "review", "staging", **{**VARIABLES, "SSH_KNOWN_HOSTS": "192.0.2.1 ssh-ed25519 AAAA\n-x key"})
    assert known.read_text().splitlines() == ["192.0.2.1 ssh-ed25519 AAA", "192.0.2.1 ssh-ed25519 AAAA", "-x key"]


def test_secrets_are_in_no_argument_and_do_not_stay(deploy: Path) -> None:
    run(deploy, "release", "staging", **VARIABLES)
    seen = [*KEY.splitlines(), *(["700", "canary-vault", "inventory/staging"] * 2)]
    assert (deploy.parent / "seen").read_text().splitlines() == seen
    left = [path for path in deploy.parent.rglob("*") if path.is_file() and path.name != "seen"]
    assert deploy.parent / "calls" in left
    assert [path for path in left if "canary" in path.read_text()] == []


def test_a_site_that_does_not_answer_is_rolled_back(deploy: Path) -> None:
    said = "error: https://shop.example.com/ does not answer with 2xx: back to the release before\n"
    assert run(deploy, "release", "staging", **VARIABLES, FAIL="curl", STATUS="22") == (1, said)
    assert calls(deploy) == [*RELEASE, ROLLBACK]
    assert (deploy / "events.jsonl").read_text() == "output of fab\n" * 2


def test_a_rollback_that_fails_too_is_told(deploy: Path) -> None:
    for program in ("curl", "fab"):
        path = deploy.parent / "bin" / program
        path.write_text(path.read_text().replace("esac\ncase", f"esac\n{FAILS[program]}\ncase", 1))
    status, said = run(deploy, "release", "staging", **VARIABLES)
    assert (status, said.splitlines()[1:]) == (1, ["error: the release that does not answer is still live"])
    assert calls(deploy) == [*RELEASE, ROLLBACK]


@pytest.mark.parametrize(
    ("fails", "status", "ends", "last"),
    [
        ("fab config.check", 2, 2, 2),
        # Ansible's 2 is a host that failed.
        ("ansible-playbook", 2, 1, 5),
        ("ansible-playbook", 4, 1, 5),
        ("fab deploy", 75, 75, 7),
        ("fab deploy", 1, 1, 7),
    ],
)
def test_the_exit_status_says_what_failed(deploy: Path, fails: str, status: int, ends: int, last: int) -> None:
    assert run(deploy, "release", "staging", **VARIABLES, FAIL=fails, STATUS=str(status)) == (ends, "")
    assert calls(deploy) == RELEASE[:last]


def test_a_playbook_that_can_not_be_read_is_bad_input(deploy: Path) -> None:
    assert run(deploy, "check", "staging", VAULT_PASSWORD="x", FAIL="ansible-playbook", STATUS="4") == (2, "")


REVIEW = """\
TASK [Before it] ***
ok: [server1]

TASK [Write the file] ***
ok: [server1]
fatal: [server2]: UNREACHABLE! =>
    msg: Connection refused

TASK [After it] ***
ok: [server1]

PLAY RECAP ***
server1 : ok=3
server2 : unreachable=1
"""


def test_a_review_that_fails_says_what_failed(deploy: Path) -> None:
    program = deploy.parent / "bin" / "ansible-playbook"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{REVIEW}END\nexit 4\n")
    status, said = run(deploy, "review", "staging", **VARIABLES)
    blocks = REVIEW.split("\n\n")
    failed = blocks[1].partition("ok: [server1]\n")[2]
    told = "error: the review failed; all of it is in deploy/review.txt\n"
    assert (status, said) == (1, f"{failed}\n\n{blocks[3]}{told}")
    assert (deploy / "review.txt").read_text() == REVIEW


def test_a_key_that_is_none_is_bad_input(deploy: Path) -> None:
    said = "error: SSH_PRIVATE_KEY is no private key without a passphrase\n"
    assert run(deploy, "release", "staging", **VARIABLES, FAIL="ssh-add", STATUS="1") == (2, said)


def test_a_key_may_be_one_line(deploy: Path) -> None:
    encoded = base64.b64encode(f"{KEY}\n".encode()).decode()
    assert run(deploy, "review", "staging", **{**VARIABLES, "SSH_PRIVATE_KEY": encoded}) == (0, "")
    assert (deploy.parent / "seen").read_text().startswith(f"{KEY}\n")


@pytest.mark.parametrize("slow", ["ansible-playbook playbooks/site.yml", "fab deploy", "curl -sSL"])
def test_a_cancelled_job_lets_what_runs_undo_its_work_and_starts_nothing_else(deploy: Path, slow: str) -> None:
    process = start(deploy, "release", "staging", **VARIABLES, SLOW=slow)
    while not (deploy.parent / "calls").exists() or "begun" not in calls(deploy):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 130
    at = RELEASE.index(next(call for call in RELEASE if call.startswith(slow)))
    assert calls(deploy) == [*RELEASE[: at + 1], "begun", "undone"]


def test_a_check_reaches_no_host(deploy: Path) -> None:
    assert run(deploy, "check", "staging", VAULT_PASSWORD="x") == (0, "")
    syntax = "ansible-playbook --syntax-check playbooks/bootstrap.yml playbooks/site.yml"
    assert calls(deploy) == ["fab config.check", syntax]


def test_a_review_is_kept(deploy: Path) -> None:
    assert run(deploy, "review", "staging", **VARIABLES) == (0, "")
    review = "ansible-playbook playbooks/site.yml --check --diff"
    assert calls(deploy) == [f"{AGENT} review staging", "fab config.check", *REACH, review]
    assert (deploy / "review.txt").read_text() == "output of ansible-playbook\n"


@pytest.mark.parametrize(
    ("arguments", "missing", "said"),
    [
        ((), "", "it takes check, review or release, and the name of an inventory"),
        (("release", "other"), "", "there is no inventory/other"),
        (("destroy", "staging"), "", "destroy: it takes check, review or release"),
        *((("release", "staging"), name, f"{name} is not set") for name in VARIABLES),
    ],
)
def test_bad_input_is_refused_before_anything_is_done(
    deploy: Path, arguments: tuple[str, ...], missing: str, said: str
) -> None:
    given = {name: value for name, value in VARIABLES.items() if name != missing}
    assert run(deploy, *arguments, **given) == (2, f"error: {said}\n")
    assert not (deploy.parent / "calls").exists()


def test_a_url_without_a_scheme_is_bad_input(deploy: Path) -> None:
    said = "error: SMOKE_URL begins with https:// or http://\n"
    assert run(deploy, "release", "staging", **{**VARIABLES, "SMOKE_URL": "shop.example.com"}) == (2, said)
    assert not (deploy.parent / "calls").exists()


# --- The look at the site, with curl itself


@dataclass
class Site:
    """A server with a certificate of its own, for the name localhost, behind a port that leads to it."""

    plain: str
    secure: str
    certificate: str


@pytest.fixture
def site(deploy: Path) -> Iterator[Site]:
    certificate, key = deploy.parent / "certificate.pem", deploy.parent / "key.pem"
    # As the role nginx makes one.
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=localhost"]
    subprocess.run([*argv, "-keyout", key, "-out", certificate], check=True, capture_output=True)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            plain, secure = (f"{scheme}:{server.server_port}" for scheme, server in servers.items())
            place = ""
            if self.server is servers["http://localhost"]:
                status, place = 301, secure + self.path
            elif not any(call.startswith("fab deploy") for call in calls(deploy)):
                # The first release is still to come.
                status = 503
            elif self.path.strip("/").isdigit():
                status = int(self.path.strip("/"))
            else:
                place = {
                    "/back": plain + "/200",
                    "/loop": secure + "/loop",
                    "/other": secure.replace("localhost", "127.0.0.1") + "/200",
                }[self.path]
                status = 302
            self.send_response(status)
            if place:
                self.send_header("Location", place)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    servers = {scheme: http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) for scheme in SCHEMES}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    encrypted = servers["https://localhost"]
    encrypted.socket = context.wrap_socket(encrypted.socket, server_side=True)
    # The waits between its attempts are left out.
    curl = deploy.parent / "bin" / "curl"
    curl.write_text(f'#!/bin/sh\necho "curl $*" >>"$CALLS"\nexec {shutil.which("curl")} "$@" --retry 0\n')
    for server in servers.values():
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield Site(*(f"{scheme}:{servers[scheme].server_port}" for scheme in SCHEMES), certificate.read_text())
    for server in servers.values():
        server.shutdown()
        server.server_close()


SCHEMES = ("http://localhost", "https://localhost")
UNTRUSTED = "but {url}, or where it leads, has no certificate that is trusted here for that name: SMOKE_CA takes it"


def look(deploy: Path, url: str, certificate: str) -> tuple[int, str, list[str]]:
    """(exit status, the last line of what was said, the Fabric tasks that were called)."""
    status, said = run(
        deploy, "release", "staging", **{**VARIABLES, "SMOKE_URL": url, "SMOKE_CA": certificate, "STATUS": "0"}
    )
    tasks = [call.split()[1] for call in calls(deploy) if call.startswith("fab ")][1:]
    return status, (said.splitlines() or [""])[-1], tasks


def test_a_certificate_that_is_given_is_trusted(deploy: Path, site: Site) -> None:
    assert look(deploy, f"{site.secure}/200", site.certificate) == (0, "", ["deploy"])


def test_a_redirect_to_the_encrypted_site_is_followed(deploy: Path, site: Site) -> None:
    assert look(deploy, f"{site.plain}/204", site.certificate) == (0, "", ["deploy"])


@pytest.mark.parametrize("scheme", ["plain", "secure"])
@pytest.mark.parametrize("given", ["", "no certificate"])
def test_a_certificate_that_is_not_trusted_is_found_before_the_deploy(
    deploy: Path, site: Site, scheme: str, given: str
) -> None:
    url = f"{getattr(site, scheme)}/200"
    assert look(deploy, url, given) == (2, f"error: nothing was deployed, {UNTRUSTED.format(url=url)}", [])


def test_a_name_that_is_not_known_is_found_before_the_deploy(deploy: Path, site: Site) -> None:
    said = "error: nothing was deployed, but https://shop.invalid/, or where it leads, is no name that is known here"
    assert look(deploy, "https://shop.invalid/", site.certificate) == (2, said, [])


def test_a_release_that_leads_to_a_certificate_that_is_not_trusted_stays(deploy: Path, site: Site) -> None:
    url = f"{site.secure}/other"
    said = f"error: the release is live, {UNTRUSTED.format(url=url)}"
    assert look(deploy, url, site.certificate) == (2, said, ["deploy"])


@pytest.mark.parametrize("page", ["500", "404", "304", "loop", "back"])
def test_what_does_not_end_with_2xx_or_is_not_encrypted_does_not_answer(deploy: Path, site: Site, page: str) -> None:
    url = f"{site.secure}/{page}"
    said = f"error: {url} does not answer with 2xx: back to the release before"
    assert look(deploy, url, site.certificate) == (1, said, ["deploy", "rollback"])


# --- The templates


def lines(node: Any) -> Iterator[str]:
    """The script lines of a template."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "run":
                yield value
            elif key in ("script", "before_script"):
                yield from value
            else:
                yield from lines(value)
    elif isinstance(node, list):
        for value in node:
            yield from lines(value)


STEPS = [
    "sh deploy/pipeline.sh check staging",
    "sh deploy/pipeline.sh release staging",
    "sh deploy/pipeline.sh check production",
    "sh deploy/pipeline.sh review production",
    "sh deploy/pipeline.sh release production",
]


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml"])
def test_a_template_runs_the_steps_of_the_stage(name: str) -> None:
    found = list(lines(yaml.safe_load((TEMPLATES / name).read_text())))
    assert [line.removeprefix("exec ") for line in found if line != "pip install hostwright"] == STEPS


def test_a_step_of_the_workflow_is_told_that_it_is_cancelled() -> None:
    """GitHub tells the first process of a step alone."""
    found = list(lines(yaml.safe_load((TEMPLATES / "github-actions.yml").read_text())))
    assert {line.split()[0] for line in found} == {"pip", "exec"}


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("vendor.github-workflows", TEMPLATES / "github-actions.yml"),
        ("vendor.gitlab-ci", TEMPLATES / "gitlab-ci.yml"),
        *(("vendor.github-workflows", path) for path in sorted((ROOT / ".github" / "workflows").iterdir())),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_template_is_valid_by_its_published_schema(schema: str, path: Path, tmp_path: Path) -> None:
    def check(file: Path) -> int:
        argv = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
        return subprocess.run(argv, capture_output=True, check=False).returncode

    assert check(path) == 0
    # And the schema is one that refuses.
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(path.read_text().replace("runs-on:", "runs-of:").replace("artifacts: {", "artifacts: {wen: now, "))
    assert check(wrong) == 1


def test_what_a_job_leaves_is_kept_where_it_failed_too() -> None:
    workflow = yaml.safe_load((TEMPLATES / "github-actions.yml").read_text())["jobs"].values()
    kept = [step["if"] for job in workflow for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
    assert kept == ["always()"] * 3
    read = yaml.safe_load((TEMPLATES / "gitlab-ci.yml").read_text())
    assert [read[job]["artifacts"]["when"] for job in read["stages"]] == ["always"] * 3


def test_the_workflow_gives_the_stage_its_variables() -> None:
    jobs = yaml.safe_load((TEMPLATES / "github-actions.yml").read_text())["jobs"]
    for job in jobs.values():
        assert job["env"] == {
            name: f"${{{{ {'secrets' if name in SECRETS else 'vars'}.{name} }}}}" for name in (*VARIABLES, "SMOKE_CA")
        }
