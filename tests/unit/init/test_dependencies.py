"""What `hostwright init` says of what a project requires."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hostwright.init.sources import SITE
from tests.unit.init.test_init import PYPROJECT, SHOP, found, tree, without_requirements

BUILD = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
EXTRAS = '[project.optional-dependencies]\npostgres = ["psycopg"]\ndev = ["pytest"]\n'
NO_PACKAGE = "[tool.poetry]\npackage-mode = false\n"
with_tomllib = pytest.mark.skipif(sys.version_info < (3, 11), reason="has no tomllib")


@pytest.mark.parametrize(
    ("required", "build", "run"),
    [
        ("psycopg[c]", True, ["libpq5"]),
        ("psycopg[c,pool]>=3", True, ["libpq5"]),
        ("psycopg", False, ["libpq5"]),
        ("psycopg[binary,pool]", False, []),
    ],
)
def test_a_driver_that_is_compiled_has_what_it_is_built_with(
    tmp_path: Path, required: str, build: bool, run: list[str]
) -> None:
    site, _ = found(tree(tmp_path, {**SHOP, "requirements.txt": f"{required}\n"}))
    packages = site.get("packages", {"build": [], "run": []})
    assert packages == {"build": ["gcc", "libpq-dev", "python3-dev"] if build else [], "run": run}


@pytest.mark.parametrize(
    ("name", "text", "project"),
    [
        ("setup.cfg", "[flake8]\nmax-line-length = 120\n", None),
        ("setup.cfg", "[metadata]\nname = shop\n", "."),
        ("setup.py", "", "."),
    ],
)
def test_setuptools_installs_what_it_describes(tmp_path: Path, name: str, text: str, project: str | None) -> None:
    site, needs = found(tree(tmp_path, without_requirements(**{name: text})))
    assert site["dependencies"].get("project") == project
    assert any(what.startswith("dependencies: no requirements") for _, what in needs) == (project is None)


@with_tomllib
def test_poetry_without_a_package_is_not_installed(tmp_path: Path) -> None:
    more = {"pyproject.toml": NO_PACKAGE + BUILD, "poetry.lock": ""}
    site, needs = found(tree(tmp_path, without_requirements(**more)))
    assert "project" not in site["dependencies"]
    said = "dependencies: no requirements file was found (poetry.lock is there: export it to one)"
    assert (SITE, f"{said}; Django alone is filled in") in needs


@with_tomllib
def test_what_a_project_without_a_package_depends_on_is_copied(tmp_path: Path) -> None:
    site, needs = found(tree(tmp_path, without_requirements(**{"pyproject.toml": PYPROJECT + NO_PACKAGE + BUILD})))
    assert site["dependencies"]["packages"][:2] == ["django>=5", "psycopg2"]
    assert needs[0][1].startswith("dependencies.packages: copied from pyproject.toml, which says package-mode = false;")


@with_tomllib
@pytest.mark.parametrize(
    ("build", "said"),
    [
        (BUILD, "dependencies.extras: pyproject.toml has postgres, dev: name those that a server needs"),
        ("", "dependencies.packages: copied from pyproject.toml without its extras postgres, dev, which has no"),
    ],
)
def test_extras_are_named(tmp_path: Path, build: str, said: str) -> None:
    _, needs = found(tree(tmp_path, without_requirements(**{"pyproject.toml": PYPROJECT + EXTRAS + build})))
    assert needs[0][1].startswith(said)


@with_tomllib
def test_a_lock_that_pip_does_not_know_is_named(tmp_path: Path) -> None:
    texts = without_requirements(**{"pyproject.toml": PYPROJECT + BUILD, "poetry.lock": ""})
    said = "dependencies: pip knows no poetry.lock, and installs the project with what is newest; a requirements file"
    assert [what for _, what in found(tree(tmp_path, texts))[1] if what.startswith(said)]


@with_tomllib
def test_what_is_beside_manage_py_counts(tmp_path: Path) -> None:
    inner = without_requirements(**{"pyproject.toml": PYPROJECT + BUILD, ".python-version": "3.12.1\n"})
    texts = {f"backend/{name}": text for name, text in inner.items()} | {"pyproject.toml": "[tool.ruff]\n"}
    site, needs = found(tree(tmp_path, texts))
    assert site["dependencies"] == {"requirements": [], "project": "backend", "packages": ["gunicorn==23.0.0"]}
    assert needs[-1][1].startswith("python.version: .python-version says 3.12.1, pyproject.toml says >=3.11")


def test_a_lock_beside_manage_py_is_named(tmp_path: Path) -> None:
    inner = {f"backend/{name}": text for name, text in without_requirements(**{"uv.lock": ""}).items()}
    _, needs = found(tree(tmp_path, inner))
    assert "(backend/uv.lock is there: export it to one)" in needs[0][1]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_requirements_in_the_encodings_that_pip_reads(tmp_path: Path, encoding: str) -> None:
    tree(tmp_path, SHOP)
    (tmp_path / "requirements.txt").write_text("gunicorn\npsycopg2\n", encoding=encoding)
    site, _ = found(tmp_path)
    assert site["dependencies"]["packages"] == []
    assert site["packages"]["run"] == ["libpq5"]
