"""Versions stand in requirements.txt; everything else follows them."""

import re
import tomllib

import environments
import pytest
import yaml
from conftest import ROOT


def name_of(requirement):
    """The name of a requirement as registries compare it: "Scikit_Learn>=1" to "scikit-learn"."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement).group()
    return re.sub(r"[-_.]+", "-", name).lower()


def pins():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


PINNED = {name_of(pin): pin for pin in pins()}
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DEPENDENCIES = [
    *PROJECT["dependencies"],
    *(one for extra in PROJECT["optional-dependencies"].values() for one in extra),
]


def test_every_requirement_is_pinned_once():
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", pin) for pin in pins())
    assert len(PINNED) == len(pins())


def constraints():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {name_of(line): line for line in lines if not line.startswith("#")}


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.name)
def test_environments_pin_what_requirements_and_constraints_pin(path):
    dependencies = yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]
    (from_pip,) = (one["pip"] for one in dependencies if isinstance(one, dict))
    assert from_pip
    known = constraints() | PINNED
    assert [one for one in from_pip if one != known.get(name_of(one))] == []


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.name)
def test_environments_are_up_to_date_and_hold_all_that_their_packages_need(path):
    """Run `python tools/environments.py` after a change of requirements.txt."""
    assert path.read_text(encoding="utf-8") == environments.environment(path.stem)


def test_every_environment_is_written_by_the_tool():
    assert {path.stem for path in ENVIRONMENTS} == set(environments.ENVIRONMENTS)
    assert (ROOT / "constraints.txt").read_text(encoding="utf-8") == environments.constraints()


def test_what_is_installed_is_what_is_pinned():
    """Nothing was installed by hand, or left at another version."""
    from importlib.metadata import version

    pins = PINNED | constraints()
    wrong = {name: version(name) for name, pin in pins.items() if f"{name}=={version(name)}" != pin}
    assert wrong == {}


def test_there_are_environments():
    assert ENVIRONMENTS


@pytest.mark.parametrize("dependency", DEPENDENCIES)
def test_dependencies_of_the_package_are_pinned_to_a_version_that_they_allow(dependency):
    from packaging.requirements import Requirement

    pin = PINNED[name_of(dependency)]
    assert Requirement(dependency).specifier.contains(pin.partition("==")[2])
