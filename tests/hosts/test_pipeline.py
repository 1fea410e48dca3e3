"""The script lines of the pipeline templates, run as jobs run them: clean host, fresh clone, variables and no more."""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
import xml.etree.ElementTree as xml
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from hostwright import cli
from hostwright.lab import machine, plan
from tests.hosts.clean import PATH, Machine, clean, offer, on_debian_12
from tests.hosts.conftest import ROOT, environment, eventually, git
from tests.hosts.labs import all_hosts

pytestmark = [pytest.mark.hosts, on_debian_12, all_hosts]

TEMPLATES = ROOT / "examples" / "pipelines"
VAULT = "canary-of-the-vault"
ENVIRONMENTS = ("staging", "production")
STATE = "/var/lib/hostwright/mysite/state.json"
CERTIFICATE = "/etc/ssl/certs/hostwright-mysite.self-signed.pem"
# Production has the name that init writes.
DOMAINS = {"staging": "staging.example.com", "production": "mysite.example.com"}

PROJECT = {
    "manage.py": "import os\nimport sys\n\nfrom django.core.management import execute_from_command_line\n\n"
    'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")\nexecute_from_command_line(sys.argv)\n',
    "requirements.txt": "django>=5.2,<5.3\ngunicorn>=23,<24\npsycopg[binary]>=3.2,<4\n",
    "mysite/settings.py": """\
import os

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")
DEBUG = False
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
ROOT_URLCONF = "mysite.urls"
WSGI_APPLICATION = "mysite.wsgi.application"
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "mysite"}}
""",
    "mysite/wsgi.py": "import os\n\nfrom django.core.wsgi import get_wsgi_application\n\n"
    'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")\napplication = get_wsgi_application()\n',
    "mysite/urls.py": "from django.http import HttpResponse\nfrom django.urls import path\n\n"
    'TEXT = "the first"\nurlpatterns = [path("", lambda request: HttpResponse(TEXT))]\n',
}


@dataclass
class Pipeline:
    """A project on this machine with deploy/ in it, the clean host that its jobs run on, and its two environments."""

    project: Path
    runner: Machine
    variables: dict[str, str]
    schema: Any
    servers: dict[str, plan.Host]
    certificates: dict[str, str] = field(default_factory=dict)

    def commit(self, text: str, changes: Mapping[str, str] = {}) -> None:
        """A commit whose page says `text`."""
        urls = self.project / "mysite" / "urls.py"
        urls.write_text(re.sub(r'TEXT = ".*"', f'TEXT = "{text}"', urls.read_text()))
        for path, content in changes.items():
            (self.project / path).write_text(content)
        git(self.project, "add", "-A")
        git(self.project, "commit", "-q", "--allow-empty", "-m", text)
        self.runner.clone(self.project, "/root/project.git")

    def fresh(self) -> str:
        """The lines that begin a job: a fresh clone, and nothing of the job before."""
        return "rm -rf /root/build /root/.ssh && git clone -q /root/project.git /root/build && cd /root/build"

    def environment(self, name: str, **more: str) -> dict[str, str]:
        look = {"SMOKE_URL": f"https://{DOMAINS[name]}/", "SMOKE_CA": self.certificates.get(name, "")}
        return {**self.variables, **look, **more}

    def job(self, name: str, lines: list[str], status: int = 0, **more: str) -> str:
        """Run the lines of one job in one shell, in a fresh clone."""
        return self.runner.run(
            "\n".join([f"{self.fresh()}", "set -e", *lines, ""]), self.environment(name, **more), status
        )

    def page(self, name: str) -> str:
        return self.runner.run(f"curl -fsS --max-time 10 --cacert /root/{name}.pem https://{DOMAINS[name]}/")

    def state(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(machine.execute(self.servers[name], ["cat", STATE]))
        return found

    def nothing_is_left(self, name: str) -> None:
        state = self.state(name)
        on_disk = machine.execute(self.servers[name], ["ls", "/srv/mysite/releases"]).split()
        assert state["transaction"] is None
        assert sorted(on_disk) == sorted(state["releases"])
        assert machine.execute(self.servers[name], ["ls", "-A", "/srv/mysite/incoming"]) == ""

    def events(self) -> list[dict[str, Any]]:
        """The events that the last job kept, each of them as the schema has it."""
        found = [json.loads(line) for line in self.runner.read("/root/build/deploy/events.jsonl").splitlines()]
        for event in found:
            self.schema.validate(event)
        return found


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with clean("pipeline") as runner:
        project = tmp_path_factory.mktemp("project")
        for path, text in PROJECT.items():
            (project / path).parent.mkdir(exist_ok=True)
            (project / path).write_text(text)
        git(project, "init", "-q")
        cli.init(project, "deploy")
        servers = dict(zip(ENVIRONMENTS, runner.servers, strict=True))
        describe(project / "deploy", servers, runner.public_key)
        schema = jsonschema.Draft202012Validator(json.loads((ROOT / "docs" / "events.schema.json").read_text()))
        variables = {
            **offer(runner, tmp_path_factory.mktemp("wheel")),
            "PATH": f"/root/python/bin:{PATH}",
            "CI": "true",
            "VAULT_PASSWORD": VAULT,
            "SSH_PRIVATE_KEY": runner.key,
            "SSH_KNOWN_HOSTS": runner.known_hosts.strip(),
        }
        found = Pipeline(project, runner, variables, schema, servers)
        # What the image of a job has.
        packages = "curl git openssh-client python3-venv"
        runner.run(f"apt-get update -q && apt-get install -q -y {packages} && python3 -m venv /root/python")
        found.commit("the first")
        # Once for new servers, from somebody's own machine.
        bootstrap = [
            "pip install -q hostwright",
            *(
                f"cd /root/build/deploy && VAULT=$PWD/../vault && printf '%s' {VAULT} >$VAULT && "
                f"ANSIBLE_VAULT_PASSWORD_FILE=$VAULT ansible-playbook -i inventory/{name} playbooks/bootstrap.yml"
                for name in ENVIRONMENTS
            ),
        ]
        runner.put("/root/.ssh/known_hosts", runner.known_hosts)
        runner.run("\n".join(["set -e", "git clone -q /root/project.git /root/build", *bootstrap]), variables)
        names = "".join(f"{servers[name].address} {DOMAINS[name]}\n" for name in ENVIRONMENTS)
        runner.run(f"printf '{names}' >>/etc/hosts")
        trust(found)
        yield found


def trust(pipeline: Pipeline) -> None:
    """Take the certificates that the servers made themselves, after a release that stopped for want of them."""
    for name, server in pipeline.servers.items():
        said = pipeline.job(name, ["pip install -q hostwright", f"exec sh deploy/pipeline.sh release {name}"], 2)
        assert "error: nothing was deployed, " in said
        assert machine.execute(server, ["ls", "-A", "/srv/mysite/releases"]) == ""
        pipeline.certificates[name] = machine.execute(server, ["cat", CERTIFICATE])
        pipeline.runner.put(f"/root/{name}.pem", pipeline.certificates[name])


def describe(deploy: Path, servers: Mapping[str, plan.Host], key: str) -> None:
    """Fill in what init could not tell, copy production to staging, and encrypt the vaults."""
    production = deploy / "inventory" / "production"
    site = production / "group_vars" / "all" / "site.yml"
    text = site.read_text()
    assert "    tls: self_signed\n" in text
    assert text.count(DOMAINS["production"]) == 2
    site.write_text(text.replace(DOMAINS["production"], DOMAINS["staging"]))
    subprocess.run(["cp", "-r", production, production.with_name("staging")], check=True)
    site.write_text(text)
    password = deploy.parent.parent / "vault-password"
    password.write_text(VAULT)
    for name, server in servers.items():
        hosts = deploy / "inventory" / name / "hosts.yml"
        filled = hosts.read_text().replace("192.0.2.11", server.address)
        hosts.write_text(filled.replace("- ~/.ssh/id_ed25519.pub", f"- {key}"))
        vault = deploy / "inventory" / name / "group_vars" / "all" / "vault.yml"
        argv = ["ansible-vault", "encrypt", "--vault-password-file", str(password), str(vault)]
        subprocess.run(argv, check=True, capture_output=True, env=environment())
    (deploy / "pipeline.sh").write_text((TEMPLATES / "pipeline.sh").read_text())


def jobs(template: str) -> dict[str, list[list[str]]]:
    """Job -> its steps, each the lines of one shell."""
    read = yaml.safe_load((TEMPLATES / template).read_text())
    if template.startswith("github"):
        return {
            name: [step["run"].splitlines() for step in job["steps"] if "run" in step]
            for name, job in read["jobs"].items()
        }
    before = read[".hostwright"]["before_script"]
    return {name: [[*before, *read[name]["script"]]] for name in read["stages"]}


ENVIRONMENT = {"staging": "staging", "review": "production", "production": "production"}


@pytest.mark.parametrize("template", ["github-actions.yml", "gitlab-ci.yml"])
def test_a_commit_goes_to_staging_and_production(pipeline: Pipeline, template: str) -> None:
    text = f"by {template}"
    pipeline.commit(text)
    # GitLab hides one line alone, so its key is base64; and its look begins without encryption.
    github = template.startswith("github")
    one_line = base64.b64encode(pipeline.runner.key.encode()).decode()
    more = {"GITHUB_STEP_SUMMARY": "/root/summary.md"} if github else {"SSH_PRIVATE_KEY": one_line}
    pipeline.runner.run("rm -f /root/summary.md")
    for name, steps in jobs(template).items():
        environment = ENVIRONMENT[name]
        # One shell for each step, with `bash -e` as in both systems; `exec` in a step does not end the job.
        lines = [f"bash -e -c {shlex.quote(chr(10).join(step))}" for step in steps]
        pipeline.job(environment, lines, **more, SMOKE_URL=f"{'https' if github else 'http'}://{DOMAINS[environment]}/")
        if name == "review":
            assert "PLAY RECAP" in pipeline.runner.read("/root/build/deploy/review.txt")
            assert pipeline.page("staging") == text
            continue
        assert pipeline.page(environment) == text
        assert [event["event"] for event in pipeline.events()][-1] == "end"
        suite = xml.fromstring(pipeline.runner.read("/root/build/deploy/deploy.xml"))[0]
        assert (suite[-1].attrib["name"], suite.attrib["failures"]) == ("deploy", "0")
        if github:
            assert "mysite: deploy of" in pipeline.runner.read("/root/summary.md")
        pipeline.nothing_is_left(environment)


RELEASE = ["pip install -q hostwright", "exec sh deploy/pipeline.sh release staging"]


def test_work_that_failed_ends_with_1(pipeline: Pipeline) -> None:
    before = pipeline.page("staging")
    urls = pipeline.project / "mysite" / "urls.py"
    kept = urls.read_text()
    pipeline.commit("broken", {"mysite/urls.py": kept + "raise RuntimeError('never healthy')\n"})
    said = pipeline.job("staging", RELEASE, 1)
    urls.write_text(kept)
    assert "never healthy" in said
    assert pipeline.events()[-1]["result"] == "failed"
    case = xml.fromstring(pipeline.runner.read("/root/build/deploy/deploy.xml"))[0][-1]
    assert case[0].tag == "failure"
    assert pipeline.page("staging") == before
    pipeline.nothing_is_left("staging")


def test_a_host_that_can_not_be_provisioned_ends_with_1(pipeline: Pipeline) -> None:
    pipeline.commit("without a server")
    nobody = pipeline.servers["staging"].address.rsplit(".", 1)[0] + ".250"
    moved = f"sed -i 's/ansible_host: .*/ansible_host: {nobody}/' deploy/inventory/staging/hosts.yml"
    for step in ("review", "release"):
        lines = [moved, "export ANSIBLE_TIMEOUT=2", RELEASE[0], f"exec sh deploy/pipeline.sh {step} staging"]
        said = pipeline.job("staging", lines, 1)
        assert "UNREACHABLE" in said
        assert "Failed to connect" in said


def test_bad_input_ends_with_2_and_changes_nothing(pipeline: Pipeline) -> None:
    before = pipeline.state("staging")
    site = "deploy/inventory/staging/group_vars/all/site.yml"
    for step in ("check", "review", "release"):
        lines = [f"sed -i 's/^  web:/  wep:/' {site}", RELEASE[0], f"exec sh deploy/pipeline.sh {step} staging"]
        assert "site.wep: unknown key (did you mean web?)" in pipeline.job("staging", lines, 2)
    assert "the vault password is wrong" in pipeline.job("staging", RELEASE, 2, VAULT_PASSWORD="another")
    assert "is no private key" in pipeline.job("staging", RELEASE, 2, SSH_PRIVATE_KEY="another")
    assert "SSH_KNOWN_HOSTS is not set" in pipeline.job("staging", RELEASE, 2, SSH_KNOWN_HOSTS="")
    assert pipeline.state("staging") == before


def test_a_page_that_does_not_answer_brings_the_release_before_back(pipeline: Pipeline) -> None:
    before = pipeline.page("staging")
    pipeline.commit("healthy, and still wrong")
    # Where nginx itself answers with a redirect.
    url = f"http://{DOMAINS['staging']}/nowhere"
    said = pipeline.job("staging", RELEASE, 1, SMOKE_URL=url)
    assert f"error: {url} does not answer with 2xx: back to the release before" in said
    assert pipeline.page("staging") == before
    assert [event["kind"] for event in pipeline.events() if event["event"] == "begin"] == ["deploy", "rollback"]
    assert xml.fromstring(pipeline.runner.read("/root/build/deploy/rollback.xml"))[0].attrib["failures"] == "0"


def test_somebody_elses_deploy_ends_with_75(pipeline: Pipeline) -> None:
    server = pipeline.servers["staging"]
    lock = ["flock", "/var/lib/hostwright/mysite/lock", "sleep", "120"]
    argv = [pipeline.runner.engine.program, "exec", server.container, *lock]
    with subprocess.Popen(argv) as holder:
        try:
            said = pipeline.job("staging", RELEASE, 75, LOCK_WAIT="2")
        finally:
            machine.execute(server, ["pkill", "-f", "sleep 120"])
            holder.wait(timeout=30)
    assert "is deploying" in said
    pipeline.nothing_is_left("staging")


CANCEL = """\
{fresh}
pip install -q hostwright
setsid bash -e -c 'exec sh deploy/pipeline.sh release staging' &
job=$!
until grep -q '"state": "uploaded"' deploy/events.jsonl 2>/dev/null; do
    kill -0 $job || exit 99
    sleep 0.02
done
{cancel}
status=0
wait $job || status=$?
exit $status
"""


def test_a_cancelled_job_is_undone_and_ends_with_130(pipeline: Pipeline) -> None:
    before = pipeline.page("staging")
    pipeline.commit("cancelled")
    script = CANCEL.format(fresh=pipeline.fresh(), cancel="kill -TERM $job")
    pipeline.runner.run(script, pipeline.environment("staging"), 130)
    assert pipeline.events()[-1]["result"] == "failed"
    assert pipeline.page("staging") == before
    pipeline.nothing_is_left("staging")
    nothing_stays_on_the_runner(pipeline)


def test_a_job_that_is_killed_leaves_nothing_that_is_stuck(pipeline: Pipeline) -> None:
    """SIGTERM, and SIGKILL to all of it before it can act on that."""
    before = pipeline.page("staging")
    pipeline.commit("killed")
    script = CANCEL.format(fresh=pipeline.fresh(), cancel="kill -TERM $job; kill -KILL -- -$job")
    pipeline.runner.run(script, pipeline.environment("staging"), 137)
    eventually("the end of the transaction", lambda: pipeline.state("staging")["transaction"] is None, 60)
    assert pipeline.page("staging") == before
    pipeline.nothing_is_left("staging")
    nothing_stays_on_the_runner(pipeline)
    pipeline.job("staging", RELEASE)
    assert pipeline.page("staging") == "killed"


def nothing_stays_on_the_runner(pipeline: Pipeline) -> None:
    """No process of the job, no agent with the key, and no file with the vault's password."""
    look = "pgrep -af '^ssh-agent|bin/fab |bin/ansible-playbook ' || true"
    eventually("the end of the job's agent", lambda: pipeline.runner.run(look) == "", 30)
    found = pipeline.runner.run(f"grep -rlF {VAULT} /tmp /root --exclude=.script || true")
    assert found == ""
