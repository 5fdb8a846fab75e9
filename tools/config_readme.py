"""Writes config/README.md and config/default.yaml out of steplens.config.run."""

import sys
import types
import typing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from pydantic_core import PydanticUndefined

from steplens.config.run import Config, keys
from steplens.languages.table import load_languages

HEAD = """# Configuration

<!-- Written by tools/config_readme.py from steplens/config/sections.py; a test holds the two together. -->

A run is described by one YAML file. One given with `--configfile` stands on the defaults below, which
[default.yaml](default.yaml) holds for copying, and names only what differs from them; of several, the later
goes before the earlier. Without `--configfile` the demo is taken, [config.yaml](config.yaml).
[paper.yaml](paper.yaml) is the paper's run. Values given with `--config` go before every file.

```sh
snakemake --cores 2 --configfile mine.yaml                               # a run of yours
snakemake --cores 2 --config run=four "languages=[deu, fra, cmn, jpn]"   # the demo with four languages
snakemake --cores 2 --config "steps=[1, 3, 6, 11]"                       # with one more step
snakemake --cores 2 --config "causal={step: null}"                       # a key that may be empty, emptied
```

Change `run` to keep the results of before; without it, results in the same folder are brought up to date.
Machines (cores, GPUs, a cluster) are described in `profiles/`, not here. What is redone follows from
content: comments, file times and a checkout redo nothing.

**Paths** of the model, the corpus and XTTS are those of the project, the folder of the Snakefile, wherever
Snakemake is called and whatever `--directory` says; `~` is your home. Results, and what is fetched, go to
the folder that Snakemake works in. So a configuration means the same everywhere.

**Values** are read strictly, each by the type of its key, and refused before any job starts: by its name an
unknown or mistyped key, language or value (with a suggestion), and a truth value or a text for a number;
with file and line a key that stands twice, and a number that is not in plain digits, such as `010`, `1:00`,
`1_000` or `yes`, which YAML 1.1 takes for 8, 60, 1000 and true. What stands for a text needs no quotes:
`run: 010` is named 010. Tags, merge keys (`<<`) and templates are not read; an alias may repeat up to
10,000 values.

"""


def _type(annotation) -> str:
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(annotation))
    if origin is list:
        return f"list of {_type(typing.get_args(annotation)[0])}"
    names = {
        str: "text", int: "whole number", float: "number", bool: "true or false",
        types.NoneType: "empty",
    }  # fmt: skip
    if annotation in names:
        return names[annotation]
    if origin not in (typing.Union, types.UnionType):
        raise TypeError(f"expected a type that the page of settings can name, got {annotation}")
    return " or ".join(map(_type, typing.get_args(annotation)))


def _yaml(value) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(str, value)) + "]"
    return str(value)


def readme() -> str:
    """The text of config/README.md."""
    lines = [HEAD, "| key | what it is | type | default, and an example | what a change redoes |\n",
             "|---|---|---|---|---|\n"]  # fmt: skip
    for name, field in keys(Config):
        default = field.default
        if default is PydanticUndefined:
            default = None
        lines.append(
            f"| `{name}` | {field.description} | {_type(field.annotation)} | `{_yaml(default)}` "
            f"| {field.json_schema_extra['redoes']} |\n"
        )
    lines.append("\n## Languages\n\nOne row of `resources/languages.tsv` a language; "
                 "a new language is a new row.\n\n| code | language | script |\n|---|---|---|\n")  # fmt: skip
    lines += [f"| {one.code} | {one.name} | {one.script} |\n" for one in load_languages().values()]
    return "".join(lines)


DEFAULT_HEAD = """\
# Every key with its default, written by tools/config_readme.py; a test holds it to the keys. Nothing reads
# this file: it is for copying. What each key means: README.md.
"""


def default_settings() -> str:
    """The text of config/default.yaml."""
    lines = [DEFAULT_HEAD]
    open_sections: list[str] = []
    for name, field in keys(Config):
        *sections, last = name.split(".")
        common = 0
        while common < len(sections) and sections[: common + 1] == open_sections[: common + 1]:
            common += 1
        if (not open_sections and sections) or sections[:1] != open_sections[:1]:
            lines.append("\n")
        for depth in range(common, len(sections)):
            lines.append(f"{'  ' * depth}{sections[depth]}:\n")
        lines.append(f"{'  ' * len(sections)}{last}: {_yaml(field.default)}\n")
        open_sections = sections
    return "".join(lines)


if __name__ == "__main__":
    (ROOT / "config" / "README.md").write_text(readme(), encoding="utf-8")
    (ROOT / "config" / "default.yaml").write_text(default_settings(), encoding="utf-8")
