"""Versions stand in requirements.txt; everything else follows them."""

import re
import tomllib

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


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.name)
def test_environments_pin_what_requirements_pin(path):
    dependencies = yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]
    (from_pip,) = (one["pip"] for one in dependencies if isinstance(one, dict))
    assert from_pip
    assert [one for one in from_pip if one != PINNED.get(name_of(one))] == []


def test_there_are_environments():
    assert ENVIRONMENTS


@pytest.mark.parametrize("dependency", DEPENDENCIES)
def test_dependencies_of_the_package_are_pinned_to_a_version_that_they_allow(dependency):
    from packaging.requirements import Requirement

    pin = PINNED[name_of(dependency)]
    assert Requirement(dependency).specifier.contains(pin.partition("==")[2])
