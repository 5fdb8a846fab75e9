"""The documentation says what the code does."""

import re

from config_readme import default_settings, readme
from conftest import ROOT

from steplens.config.files import read_settings
from steplens.config.run import Config, keys, parse_config


def test_the_config_readme_is_up_to_date():
    """Run `python tools/config_readme.py` after a change of steplens/config/run.py."""
    assert (ROOT / "config" / "README.md").read_text(encoding="utf-8") == readme()


def test_the_file_of_defaults_is_up_to_date_and_holds_every_key():
    """Likewise; and read as a user's file it is the configuration that an empty one is."""
    path = ROOT / "config" / "default.yaml"
    assert path.read_text(encoding="utf-8") == default_settings()
    settings = read_settings([path])
    assert parse_config(settings) == Config()
    for name, _ in keys():
        value = settings
        for part in name.split("."):
            value = value[part]


def test_every_key_has_a_row():
    text = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    for name, _ in keys():
        assert f"| `{name}` |" in text


def test_a_key_that_may_be_empty_names_what_else_it_may_be():
    """Of a choice, all that it is between."""
    (row,) = (one for one in readme().splitlines() if one.startswith("| `speech.other_engine` |"))
    assert "| `xtts` or `recorded` or `espeak` or empty |" in row


def test_links_of_the_readme_lead_somewhere():
    """Every relative link and image of the README is in the repository."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).exists(), target


def test_every_rule_has_what_a_reader_expects():
    """A docstring, in every rule; and in those that run as jobs of their own, all the rest."""
    for path in sorted((ROOT / "workflow" / "rules").rglob("*.smk")):
        text = path.read_text(encoding="utf-8")
        local = re.findall(r"^ *localrules:\n((?: +\w+,\n)+)", text, flags=re.M)
        local = {name for names in local for name in re.findall(r"\w+", names)}
        for rule in re.split(r"^ *rule ", text, flags=re.M)[1:]:
            name = rule.split(":")[0]
            here = ['"""'] if "script:" not in rule else ['"""', "log:", "conda:"]
            job = ["message:", "benchmark:", "threads:", "mem_mb=", "runtime=", "code="]
            for part in here if name in local else [*here, *job]:
                assert part in rule, (path.name, name, part)
