"""The configuration of a run as its files and its command line say it, read strictly.

Snakemake reads both by YAML 1.1, in which of two equal keys the last one holds without a word and ``010`` is
8, and hands on only what came of it. Therefore they are read once more here, every value by the type of
its key: a text is what stands there, a number is a plain decimal number.
"""

import re
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from steplens.config.run import Config, keys, refusal
from steplens.errors import shown

_MAX_BYTES = 2_000_000  # 7,656 pairs of languages take a twentieth
_MAX_DEPTH = 12
_MAX_REPEATED = 10_000  # values that aliases repeat, all together
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = ("", "~", "null", "Null", "NULL")
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_COMMAND_LINE = "--config"


def read_settings(files: Iterable[str | Path], arguments: Iterable[str] = ()) -> dict[str, Any]:
    """The settings of a run, one source laid over the other as Snakemake does it.

    Parameters
    ----------
    files : iterable of path
        Config files in YAML or JSON; later ones go before earlier ones.
    arguments : iterable of str
        ``key=value`` of ``--config``; they go before files.

    Returns
    -------
    dict
        For ``steplens.config.run.parse_config``. Sections are merged, lists are replaced.

    Raises
    ------
    ConfigError
        A line each with file, line and key: a key that stands twice, a number that YAML 1.1 reads as another,
        text that is no YAML, tags, and aliases that repeat more than 10,000 values.
    """
    faults: list[str] = []
    settings: dict[str, Any] = {}
    for path in files:
        _lay_over(settings, _read_file(Path(path), faults))
    given: dict[str, Any] = {}
    for argument in arguments:
        _read_argument(argument, given, faults)
    _lay_over(settings, given)
    if faults:
        raise refusal(faults)
    return settings


def require_one_option(command: Sequence[str]) -> None:
    """Raise ConfigError for ``--config`` or ``--configfile`` given twice: only the last would count."""
    words = [word.partition("=")[0] for word in command]
    for option, n, what in (
        (_COMMAND_LINE, sum(word in (_COMMAND_LINE, "-C") for word in words), "keys"),
        ("--configfile", sum(word.startswith("--configf") for word in words), "files"),
    ):
        if n > 1:
            raise refusal(
                [
                    f"{option}: expected it once, got it {n} times, of which Snakemake takes the last alone; "
                    f"give all {what} after one"
                ]
            )


def origin_note(config: Config, files: Collection[str | Path]) -> str:
    """Where the settings of a run come from, in words for the start of its log.

    Parameters
    ----------
    config : Config
    files : collection of path
        Those of ``--configfile``.
    """
    if not files:
        return "Configuration: the demo, config/config.yaml; --configfile takes another."
    text = f"Configuration: {', '.join(_name(Path(one)) for one in files)}."
    if "path" not in config.model.model_fields_set:
        text += f" It names no model.path: {config.model.path} is studied, the demo's toy model."
    return text


def _lay_over(settings: dict[str, Any], others: Mapping[str, Any]) -> None:
    for key, value in others.items():
        below = settings.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            _lay_over(below, value)
        else:
            settings[key] = value


def _read_file(path: Path, faults: list[str]) -> dict[str, Any]:
    name = _name(path)
    if not path.is_file():
        faults.append(
            f"{name}: expected a file, which every job reads again, got something else or nothing; write "
            "the settings into a file"
        )
        return {}
    n_bytes = path.stat().st_size
    if n_bytes > _MAX_BYTES:
        faults.append(
            f"{name}: expected at most {_MAX_BYTES:,} bytes of settings, got {n_bytes:,}; is this a "
            "configuration?"
        )
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        faults.append(f"{name}: expected UTF-8, got a byte of something else at {error.start}")
        return {}
    if text.lstrip().startswith("{"):
        text = text.replace("\t", " ")  # between the values of JSON tabs are allowed, in YAML not
    return _Reader(name, faults).read(text)


def _read_argument(argument: str, given: dict[str, Any], faults: list[str]) -> None:
    key, _, text = argument.partition("=")
    # In a line of its own, since Snakemake takes `k=` for no value.
    reader = _Reader(_COMMAND_LINE, faults)
    found = {key: reader.value(text, key)}
    twice = _first_in_both(given, found)
    if twice:
        faults.append(
            f"{_COMMAND_LINE}: {twice}: expected each key once, got it twice; leave one of them out"
        )
    _lay_over(given, found)


def _first_in_both(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> str:
    """The dotted name of a key that both set, or nothing."""
    for key in one.keys() & other.keys():
        if not (isinstance(one[key], dict) and isinstance(other[key], dict)):
            return f"{prefix}{key}"
        inner = _first_in_both(one[key], other[key], f"{prefix}{key}.")
        if inner:
            return inner
    return ""


def _name(path: Path) -> str:
    """A path in a message: from its end, where the file's name is."""
    name = str(path)
    return name if len(name) <= 100 else f"…{name[-99:]}"


class _Refused(Exception):
    """A fault after which the rest cannot be read."""


class _Reader:
    """Reads one source; faults are collected with the place where they stand."""

    def __init__(self, source: str, faults: list[str]):
        self._source = source
        self._faults = faults
        self._kinds = _kinds_of_keys()
        self._seen: set[int] = set()
        self._n_repeated = 0

    def read(self, text: str) -> dict[str, Any]:
        """A whole file."""
        found = self.value(text, "")
        if found is None:
            return {}
        if not isinstance(found, dict):
            self._faults.append(
                f"{self._source}: expected keys with their values, such as `seed: 1`, got {shown(found)}"
            )
            return {}
        return found

    def value(self, text: str, key: str) -> Any:
        """A value of a key; None after a fault that leaves nothing to be read."""
        try:
            self._check_events(text)
            node = yaml.compose(text, Loader=_LOADER)
            return None if node is None else self._convert(node, key, 0)
        except _Refused:
            pass
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark else 1
            problem = getattr(error, "problem", None) or getattr(error, "reason", "") or "no YAML"
            self._fault(
                line, key, f"expected YAML, got {shown(text) if key else ''}: {problem}; check colons, "
                "brackets, quotes and indentation, for which tabs do not count"
            )  # fmt: skip
        return None

    def _check_events(self, text: str) -> None:
        """Before anything is built: how deep, and nothing that builds other things than settings."""
        depth = 0
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            line = event.start_mark.line + 1
            if depth > _MAX_DEPTH:
                self._fault(
                    line,
                    "",
                    f"expected at most {_MAX_DEPTH} levels, got more; is this a configuration?",
                )
                raise _Refused
            tag = getattr(event, "tag", None)
            if tag is not None and tag != "!":
                self._fault(
                    line, "", f"expected a plain value, got the tag {shown(tag)}; leave it out"
                )
                raise _Refused

    def _fault(self, line: int, key: str, problem: str) -> None:
        where = self._source if self._source == _COMMAND_LINE else f"{self._source}:{line}"
        self._faults.append(
            f"{where}: {_shown_key(key)}: {problem}" if key else f"{where}: {problem}"
        )

    def _convert(self, node: yaml.Node, key: str, depth: int) -> Any:
        line = node.start_mark.line + 1
        if id(node) in self._seen:
            self._n_repeated += 1
        self._seen.add(id(node))
        if self._n_repeated > _MAX_REPEATED or depth > _MAX_DEPTH:
            self._fault(
                line, key, f"expected aliases (*name) that repeat at most {_MAX_REPEATED:,} values, got "
                "more; write the values themselves"
            )  # fmt: skip
            raise _Refused
        if isinstance(node, yaml.SequenceNode):
            return [self._convert(one, key, depth + 1) for one in node.value]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key, depth)
        return self._scalar(node, key, line)

    def _mapping(self, node: yaml.MappingNode, key: str, depth: int) -> dict[str, Any]:
        lines: dict[str, int] = {}
        found = {}
        for name_node, value_node in node.value:
            line = name_node.start_mark.line + 1
            if not isinstance(name_node, yaml.ScalarNode):
                self._fault(line, key, "expected a key of letters, got a list or keys of its own")
                raise _Refused
            name = name_node.value
            dotted = f"{key}.{name}" if key else name
            if name == "<<":
                self._fault(
                    line,
                    key,
                    "expected keys, got <<, which merges others; write the keys themselves",
                )
                continue
            if name in lines:
                here = (
                    "the command line" if self._source == _COMMAND_LINE
                    else f"lines {lines[name]} and {line}"
                )  # fmt: skip
                self._fault(
                    line, dotted, f"expected each key once, got it twice, in {here}, of which YAML takes the "
                    "last alone; put what belongs together under one"
                )  # fmt: skip
                continue
            lines[name] = line
            found[name] = self._convert(value_node, dotted, depth + 1)
        return found

    def _scalar(self, node: yaml.ScalarNode, key: str, line: int) -> Any:
        text, kinds = node.value, self._kinds.get(key, frozenset())
        if node.style:  # in quotes, or a block of text
            return text
        # None is Python's, as which Snakemake documents nested values of the command line.
        if text in _NULL or (text == "None" and self._source == _COMMAND_LINE):
            return None
        if str in kinds:
            return text
        if bool in kinds:
            lower = text.lower()
            return lower in _TRUE if lower in (*_TRUE, *_FALSE) else text
        if float in kinds:
            if _NUMBER.fullmatch(text):
                return float(text)
            if _NOT_FINITE.fullmatch(text):
                return float(text.replace(".", ""))
            return self._no_number(node, key, line, "a number")
        if int in kinds:
            if _WHOLE.fullmatch(text) and len(text) < 1000:  # Python's own limit is 4,300 digits
                return int(text)
            if _NUMBER.fullmatch(text):
                return float(text)
            return self._no_number(node, key, line, "a whole number")
        return text  # of a key that is not known, or has keys of its own: refused as such

    def _no_number(self, node: yaml.ScalarNode, key: str, line: int, wanted: str) -> Any:
        """The text, which the type of the key refuses; a fault where YAML 1.1 would make a number of it."""
        text = node.value
        if text in ("true", "false"):
            return text == "true"
        taken = _taken_by_yaml(text)
        if taken is None or text.lower() in ("true", "false"):
            return text
        how, instead = taken
        self._fault(
            line, key, f"expected {wanted} in plain digits, got {shown(text, quoted=False)}, {how}; "
            f"write {instead}",
        )  # fmt: skip
        return None


def _taken_by_yaml(text: str) -> tuple[str, str] | None:
    """What YAML 1.1 makes of a plain text that is no plain number, and what to write; None: text."""
    if text.lower() in (*_TRUE, *_FALSE):
        return f"which YAML 1.1 takes for {str(text.lower() in _TRUE).lower()}", "the number"
    if len(text) > 40:
        return None
    digits = text.lstrip("+-")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        value = None
    if isinstance(value, bool) or not isinstance(value, int | float):
        if re.fullmatch("0[0-9_]+", digits):  # 08: neither octal nor decimal
            return "where the leading 0 stands for octal", str(int(digits.replace("_", "")))
        return None
    if ":" in text:
        return (
            f"which YAML 1.1 takes for {value}, as hours, minutes and seconds to the base of 60",
            str(value),
        )
    if "_" in text:
        return f"which YAML 1.1 takes for {value}", str(value)
    if digits.lower().startswith(("0x", "0b")):
        return f"which YAML 1.1 takes for {value}", str(value)
    if digits.startswith("0") and digits.isdigit():
        return f"which YAML 1.1 takes for octal, {value}", " or ".join(
            dict.fromkeys([str(int(digits)), str(value)])
        )
    return None


def _shown_key(key: str) -> str:
    return key if len(key) <= 100 else f"{key[:99]}…"


def _kinds_of_keys() -> dict[str, frozenset[type]]:
    """The types that a single value of every key may have."""
    return {name: frozenset(_kinds(field.annotation)) for name, field in keys()}


def _kinds(annotation: Any) -> Iterable[type]:
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return {type(value) for value in typing.get_args(annotation)}
    if origin in (list, typing.Union, types.UnionType):
        return {kind for one in typing.get_args(annotation) for kind in _kinds(one)}
    return {annotation}
