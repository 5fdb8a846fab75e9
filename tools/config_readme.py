"""Writes config/README.md out of steplens.config: ``python tools/config_readme.py``."""

import sys
import types
import typing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from pydantic_core import PydanticUndefined

from steplens.config import Config, keys
from steplens.languages import load_languages

HEAD = """# Configuration

<!-- Written by tools/config_readme.py from steplens/config_sections.py; a test holds the two together. -->

A run is described by one YAML file. `config/config.yaml` is the demo and always the starting point: a file
given with `--configfile`, or values given with `--config`, replace only the keys that they name.

```sh
snakemake --cores 2 --config run=four "languages=[deu, fra, cmn, jpn]"   # another run, four languages
snakemake --cores 2 --config "steps=[1, 3, 6, 11]"                       # one more step
```

Change `run` to keep the results of before; without it, results in the same folder are brought up to date.
An unknown or mistyped key, language, task or step is refused before any job starts. Machines (cores, GPUs,
a cluster) are described in `profiles/`, not here. What is redone follows from content: comments, file
times and a checkout redo nothing.

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


if __name__ == "__main__":
    (ROOT / "config" / "README.md").write_text(readme(), encoding="utf-8")
