"""Links among the static files, which nginx follows: into the release and its virtualenv, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostwright_engine import links
from hostwright_engine.errors import Failed


class Site:
    """A release with static files, its virtualenv, and what is none of nginx's business."""

    def __init__(self, root: Path) -> None:
        self.release = root / "releases" / "r1"
        self.venv = root / "venvs" / "k"
        self.shared = root / "shared"
        self.agreed = [{"path": "media", "target": str(self.shared / "private")}]
        for path in ("static/css", "node_modules/lib", "src"):
            (self.release / path).mkdir(parents=True)
        for path in (self.venv / "admin", self.shared / "private", self.shared / "exports", root / "log"):
            path.mkdir(parents=True)
        for path in (self.release / "node_modules/lib/a.js", self.venv / "admin/b.js", root / "log/access.log"):
            path.touch()
        self.link("media", str(self.shared / "private"))

    def link(self, path: str, target: str) -> None:
        (self.release / path).symlink_to(target)

    def refuse_outside(self, static: str = "static") -> None:
        links.refuse_outside(str(self.release), static, str(self.venv), self.agreed)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize(
    "target",
    [
        "css",
        "../node_modules/lib/a.js",
        "../node_modules",
        "{release}/src",  # As collectstatic --link makes them.
        "{venv}/admin/b.js",
        "not there",
        "loop",
        "loop2",
    ],
)
def test_links_that_stay_inside(site: Site, target: str) -> None:
    site.link("static/loop2", "loop")
    site.link("static/loop", target.format(release=site.release, venv=site.venv))
    site.refuse_outside()


@pytest.mark.parametrize(
    "target",
    [
        "../../../../log",
        "{release}/../../log/access.log",
        "{release}2/x",
        "/etc",
        "/",
        "../../media",
        "../../media/../../releases/r1/src",
        "../../../../venvs",
        "../../../../not-there",
        "../..",
        "../../node_modules/lib",
    ],
)
def test_links_that_lead_outside(site: Site, target: str) -> None:
    """At once, or by another link, or through a directory that others write in."""
    site.link("node_modules/lib/out", "/var/log")
    site.link("static/css/x", target.format(release=site.release))
    with pytest.raises(
        Failed, match=r"the build left .*, which leads out of the release, to .*: nginx would show"
    ) as caught:
        site.refuse_outside()
    assert str(site.release) in caught.value.message


def test_the_name_of_such_a_link_is_said_and_where_it_leads(site: Site, tmp_path: Path) -> None:
    site.link("static/css/x", "../../../../log")
    with pytest.raises(Failed) as caught:
        site.refuse_outside()
    left = site.release / "static/css/x"
    assert caught.value.message == (
        f"the build left {left}, which leads out of the release, to {tmp_path}/log: nginx would show what is there"
    )


@pytest.mark.parametrize("static", ["public/static", "public", "./public/"])
def test_the_directory_itself_may_not_lead_outside(site: Site, tmp_path: Path, static: str) -> None:
    (tmp_path / "log" / "static").mkdir()
    site.link("public", "../../log")
    with pytest.raises(Failed, match="nginx would show what is there"):
        site.refuse_outside(static)


def test_links_elsewhere_in_the_release_are_left_alone(site: Site) -> None:
    site.link("src/python3", "/usr/bin/python3")
    site.refuse_outside()
    site.refuse_outside("not/there")


def test_links_of_the_site_model_lead_where_it_says(site: Site) -> None:
    site.agreed.append({"path": "static/exports", "target": str(site.shared / "exports")})
    site.link("static/exports", str(site.shared / "exports"))
    site.refuse_outside()
    (site.release / "static/exports").unlink()
    site.link("static/exports", str(site.shared / "private"))
    with pytest.raises(Failed, match="static/exports"):
        site.refuse_outside()


@pytest.mark.parametrize("static", ["static", "static/css", "./static"])
def test_all_static_files_may_lie_elsewhere_by_the_site_model(site: Site, static: str) -> None:
    (site.release / "static").rename(site.release / "old")
    site.agreed.append({"path": "static", "target": str(site.shared / "exports")})
    site.link("static", str(site.shared / "exports"))
    site.refuse_outside(static)


def test_a_release_below_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "srv").symlink_to("disk")
    site = Site(tmp_path / "srv")
    site.link("static/x", f"{site.release}/src")
    site.link("static/y", f"{site.venv}/admin")
    site.refuse_outside()
