"""The pipeline templates: the shell stage run for real, with programs that write down how they are called."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

TEMPLATES = Path(__file__).resolve().parents[2] / "examples" / "pipelines"
STAGE = TEMPLATES / "pipeline.sh"
SECRETS = {"VAULT_PASSWORD": "canary-vault", "SSH_PRIVATE_KEY": "canary-key"}
VARIABLES = {**SECRETS, "SSH_KNOWN_HOSTS": "192.0.2.1 ssh-ed25519 AAAA", "SMOKE_URL": "https://shop.example.com/"}

PROGRAM = """\
#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
case "$(basename "$0") $1" in
    "ansible-playbook playbooks/site.yml" | "fab deploy")
        stat -c %a "$ANSIBLE_VAULT_PASSWORD_FILE" >>"$SEEN"; cat "$ANSIBLE_VAULT_PASSWORD_FILE" >>"$SEEN"
        echo "$ANSIBLE_INVENTORY" >>"$SEEN" ;;
    "ssh-add "*) cat >>"$SEEN" ;;
esac
echo "output of $(basename "$0")"
test "$FAIL" != "$(basename "$0")" || exit "$STATUS"
if test "$SLOW" = "$(basename "$0") $1"; then
    trap 'echo undone >>"$CALLS"; exit 130' TERM
    echo begun >>"$CALLS"
    while true; do sleep 0.05; done
fi
"""


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    """A deploy/ with the stage, and the programs that it calls."""
    for program in ("fab", "ansible-playbook", "curl", "ssh-agent", "ssh-add"):
        path = tmp_path / "bin" / program
        path.parent.mkdir(exist_ok=True)
        # What the agent prints is evaluated.
        path.write_text(PROGRAM.replace('echo "output of', ': "output of') if program == "ssh-agent" else PROGRAM)
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
        "HOME": str(top),
        "TMPDIR": str(top),
        "CALLS": str(top / "calls"),
        "SEEN": str(top / "seen"),
        **dict.fromkeys(("FAIL", "SLOW", "STATUS"), ""),
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


RELEASE = [
    "ssh-agent -s",
    "ssh-add -q -",
    "ansible-playbook playbooks/site.yml",
    "fab deploy --json --lock-wait 600",
    "curl -fsS --retry 5 --retry-all-errors --max-time 20 --output /dev/null https://shop.example.com/",
]


def test_a_release_is_provisioned_deployed_and_looked_at(deploy: Path) -> None:
    assert run(deploy, "release", "staging", **VARIABLES) == (0, "")
    assert calls(deploy) == [*RELEASE, "ssh-agent -k"]
    assert (deploy / "events.jsonl").read_text() == "output of fab\n"
    assert (deploy.parent / ".ssh" / "known_hosts").read_text() == "192.0.2.1 ssh-ed25519 AAAA\n"


def test_secrets_are_in_no_argument_and_do_not_stay(deploy: Path) -> None:
    run(deploy, "release", "staging", **VARIABLES)
    seen = ["canary-key", *(["600", "canary-vault", "inventory/staging"] * 2)]
    assert (deploy.parent / "seen").read_text().splitlines() == seen
    assert "canary" not in "\n".join(calls(deploy))
    left = [path for path in deploy.parent.rglob("*") if path.is_file() and path.name != "seen"]
    assert [path for path in left if "canary" in path.read_text()] == []


def test_a_site_that_does_not_answer_is_rolled_back(deploy: Path) -> None:
    said = "error: https://shop.example.com/ does not answer: back to the release before\n"
    assert run(deploy, "release", "staging", **VARIABLES, FAIL="curl", STATUS="22") == (1, said)
    assert calls(deploy) == [*RELEASE, "fab rollback --yes --json", "ssh-agent -k"]
    assert (deploy / "events.jsonl").read_text() == "output of fab\n" * 2


@pytest.mark.parametrize(("program", "status", "last"), [("fab", 75, 4), ("fab", 1, 4), ("ansible-playbook", 2, 3)])
def test_what_fails_ends_the_stage_with_its_status(deploy: Path, program: str, status: int, last: int) -> None:
    assert run(deploy, "release", "staging", **VARIABLES, FAIL=program, STATUS=str(status)) == (status, "")
    assert calls(deploy) == [*RELEASE[:last], "ssh-agent -k"]


def test_a_cancelled_job_lets_the_deploy_undo_its_work(deploy: Path) -> None:
    process = start(deploy, "release", "staging", **VARIABLES, SLOW="fab deploy")
    while not (deploy.parent / "calls").exists() or "begun" not in calls(deploy):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert calls(deploy)[3:] == [RELEASE[3], "begun", "undone", "ssh-agent -k"]


def test_a_check_reaches_no_host(deploy: Path) -> None:
    assert run(deploy, "check", "staging", VAULT_PASSWORD="x") == (0, "")
    syntax = "ansible-playbook --syntax-check playbooks/bootstrap.yml playbooks/site.yml"
    assert calls(deploy) == ["fab config.check", syntax, "ssh-agent -k"]


def test_a_review_is_kept(deploy: Path) -> None:
    assert run(deploy, "review", "staging", **VARIABLES) == (0, "")
    assert calls(deploy)[2:] == ["ansible-playbook playbooks/site.yml --check --diff", "ssh-agent -k"]
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
    done = calls(deploy) if (deploy.parent / "calls").exists() else []
    assert [call for call in done if call != "ssh-agent -k"] == []


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
    assert [line for line in found if line != "pip install hostwright"] == STEPS


def test_the_workflow_gives_the_stage_its_variables() -> None:
    jobs = yaml.safe_load((TEMPLATES / "github-actions.yml").read_text())["jobs"]
    for job in jobs.values():
        assert job["env"] == {
            name: f"${{{{ {'secrets' if name in SECRETS else 'vars'}.{name} }}}}" for name in VARIABLES
        }
