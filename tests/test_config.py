"""A configuration is whole before any job starts: every mistake is named in one line."""

import re

import pytest
import yaml
from conftest import ROOT

from steplens.config import Config, ConfigError, keys, parse_config
from steplens.languages import load_languages


def problems(settings):
    """The lines of the refusal, without its heading."""
    with pytest.raises(ConfigError) as refusal:
        parse_config(settings)
    heading, *lines = str(refusal.value).splitlines()
    assert "config/README.md" in heading
    return lines


def nested(key, value):
    """``a.b`` and 1 to {"a": {"b": 1}}."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def test_the_defaults_are_valid():
    assert parse_config({}) == Config()


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.name)
def test_the_config_files_are_valid_and_say_what_they_set(path):
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    parsed = parse_config(settings).model_dump()
    for key, value in settings.items():
        inner = value.items() if isinstance(value, dict) else ()
        assert {name: parsed[key][name] for name, _ in inner} == dict(inner)
        assert inner or parsed[key] == value


def test_a_checked_config_filled_with_defaults_is_valid_again():
    """Snakemake hands the filled-in config on to the jobs."""
    config = parse_config({"run": "mine", "steps": [2]})
    assert parse_config(config.model_dump()) == config


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        # keys
        ("lanuages", [], "unknown key; did you mean 'languages'?"),
        ("steering.n_uterances", 3, "unknown key; did you mean 'n_utterances'?"),
        ("store.qqqq", 3, "unknown key; expected dtype"),
        ("qqqq", 3, "unknown key; expected run, seed, languages"),
        # types
        ("steps", 5, "Input should be a valid list, got 5"),
        ("run", 1, "Input should be a valid string, got 1"),
        ("corpus", None, "got None"),
        ("comparison.k", "many", "Input should be a valid integer, got 'many'"),
        ("comparison.k", 1.5, "Input should be a valid integer, got 1.5"),
        ("languages", ["deu", False], "Input should be a valid string, got False"),  # YAML's "no"
        # values
        ("run", "a/b", "expected letters, digits, .* got 'a/b'"),
        ("seed", -1, "greater than or equal to 0, got -1"),
        ("steps", [], "at least 1 item .* got \\[\\]"),
        ("steps", [1, 0], "expected steps from 1 on, got 0"),
        ("steps", [6, 1, 6], "expected each once, got 6 repeatedly"),
        ("model.dtype", "bfloat16", "'auto', 'float16' or 'float32', got 'bfloat16'"),
        ("store.dtype", "bfloat16", "'float16' or 'float32', got 'bfloat16'"),
        ("corpus.splits", [], "at least 1 item"),
        ("corpus.splits", ["test", "test"], "expected each once, got 'test' repeatedly"),
        ("corpus.splits", ["dev", "../../x"], "expected the name of a split, .* got '../../x'"),
        ("comparison.k_sweep", [10, 0], "expected values of k from 1 on, got 0"),
        ("comparison.k_sweep", [10, 10], "expected each once, got 10 repeatedly"),
        ("comparison.subsets", 0, "greater than or equal to 1, got 0"),
        ("steering.min_source_rate", 10, "less than or equal to 1, got 10"),
        ("steering.rate_tokens", "words", "'script_runs' or 'characters', got 'words'"),
        ("steering.pairs", ["deu"], "Input should be a valid list, got 'deu'"),
        ("steering.pairs", [["deu"]], "expected pairs [source, target], got [deu]"),
        ("steering.pairs", [["deu", "jpn", "fra"]],
         "expected pairs [source, target], got [deu, jpn, fra]"),
        ("steering.pairs", [["deu", "jp"]], "got 'jp'; did you mean 'jpn'?"),
        ("steering.pairs", [["German", "jpn"]], "got 'German'; did you mean 'deu'?"),
        ("steering.pairs", [["deu", "deu"]],
         "expected a target other than the source, got [deu, deu]"),
        ("steering.pairs", [["deu", "jpn"], ["jpn", "deu"], ["deu", "jpn"]],
         "expected each pair once, got [deu, jpn] repeatedly"),
        # languages
        ("languages", ["deu"], "at least 2 items"),
        ("languages", ["deu", "deu"], "expected each once, got 'deu' repeatedly"),
        ("languages", ["German", "fra"], "got 'German'; did you mean 'deu'?"),
        ("languages", ["deu", "fre"], "got 'fre'; did you mean 'fra'?"),
        ("languages", ["deu", "xq"],
         r"expected a code of resources/languages.tsv, such as deu, .* got 'xq'$"),
        ("output_language", "english", "got 'english'; did you mean 'eng'?"),
        ("output_language", "deu", "expected a language that is not among languages, got 'deu'"),
        ("corpus.parallel_over", ["deu", "jpm"], "got 'jpm'; did you mean 'jpn'?"),
        # speech
        ("speech.engine", "xttts", "'xtts', 'recorded' or 'espeak', got 'xttts'"),
        ("speech.checks.max_attempts", 0, "greater than or equal to 1, got 0"),
        # two keys together
        ("steps", [49], "expected at most decoding.max_new_tokens = 48, got 49"),
        ("steering.n_utterances", 61, "expected at most corpus.n_utterances = 60, got 61"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_key_and_what_was_expected(key, value, message):
    (line,) = problems(nested(key, value))
    named, _, rest = line.partition(": ")
    assert named.removeprefix("  - ").rstrip(".0123456789") == key  # of a list also the position
    pattern = message if ".*" in message or "$" in message else re.escape(message)
    assert re.search(pattern, rest)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        # What comes from the hub is pinned.
        ({"model": {"path": "facebook/some-model"}},
         r"model.revision: expected the commit \(40 hex digits\) of facebook/some-model .* got None"),
        ({"model": {"path": "facebook/some-model", "revision": "main"}}, "got 'main': a branch moves"),
        ({"corpus": {"path": "google/fleurs"}}, "corpus.revision: expected the commit"),
        ({"speech": {"engine": "xtts", "xtts": {"revision": None}}},
         "speech.xtts.revision: expected the commit .* of coqui/XTTS-v2"),
        # Every language has an engine.
        ({"languages": ["deu", "swe"], "speech": {"engine": "xtts"}},
         r"speech.engine: xtts cannot speak Swedish \(swe\); it is spoken by recorded, espeak: name one"),
        ({"languages": ["deu", "tha"], "speech": {"engine": "xtts", "fallback": ["espeak"]}},
         r"xtts and espeak cannot speak Thai \(tha\); it is spoken by recorded"),
        ({"languages": ["deu", "tha"], "speech": {"engine": "recorded", "other_engine": "xtts"}},
         r"speech.other_engine: xtts cannot speak Thai \(tha\), which is spoken by recorded"),
        ({"speech": {"engine": "espeak", "other_engine": "espeak"}},
         "speech.other_engine: expected another engine than speech.engine, got 'espeak'"),
        ({"speech": {"checks": {"min_seconds_per_character": 1.0}}},
         "expected min_seconds_per_character below max_seconds_per_character, got 1.0 and 0.25"),
        # Pairs are of the run.
        ({"languages": ["deu", "jpn"], "steering": {"pairs": [["deu", "jpn"], ["fra", "jpn"]]}},
         r"steering.pairs: expected languages of the run, deu, jpn, got 'fra' in \[fra, jpn\]; add it to"),
    ],
    ids=range(10),
)  # fmt: skip
def test_keys_that_do_not_go_together_are_refused(settings, message):
    (line,) = problems(settings)
    assert re.search(message, line)
    assert "{" not in line  # the sections around these keys would drown what was found


def test_a_language_is_spoken_by_the_first_engine_that_can():
    """The engine itself, or else the fallbacks in their order."""
    config = parse_config(
        {
            "languages": ["deu", "swe", "tha"],
            "speech": {"engine": "xtts", "fallback": ["espeak", "recorded"]},
        }
    )
    known = load_languages()
    spoken = {code: config.speech.engine_for(known[code]) for code in config.languages}
    assert spoken == {"deu": "xtts", "swe": "espeak", "tha": "recorded"}
    assert config.engines_in_use == {"xtts", "espeak", "recorded"}


def test_pairs_are_told_by_source_in_the_order_of_the_languages():
    """All of them unless some are named; a source without a target is no source."""
    every = parse_config({"languages": ["deu", "fra", "jpn"]}).steering_targets
    assert every == {"deu": ["fra", "jpn"], "fra": ["deu", "jpn"], "jpn": ["deu", "fra"]}
    pairs = [["jpn", "deu"], ["deu", "jpn"], ["deu", "fra"]]
    some = parse_config({"languages": ["deu", "fra", "jpn"], "steering": {"pairs": pairs}})
    assert list(some.steering_targets.items()) == [("deu", ["fra", "jpn"]), ("jpn", ["deu"])]


def test_every_language_of_the_table_can_be_configured():
    """At once, with recordings."""
    codes = [code for code in load_languages() if code != "eng"]
    config = parse_config({"languages": codes, "speech": {"engine": "recorded"}})
    assert len(config.languages) >= 30


def test_the_paper_s_config_sets_every_key_that_the_demo_s_sets():
    """Snakemake lays one file over the other: what is not set would be the demo's."""
    demo, paper = (
        yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8"))
        for name in ("config.yaml", "paper.yaml")
    )

    def flat(settings, prefix=""):
        for key, value in settings.items():
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}"

    assert set(flat(demo)) <= set(flat(paper))


def test_several_mistakes_are_told_at_once():
    lines = problems({"seed": -1, "sede": 1, "store": {"dtype": "f2"}})
    assert [line.split(":")[0] for line in lines] == ["  - seed", "  - store.dtype", "  - sede"]


@pytest.mark.parametrize(("name", "field"), list(keys()), ids=[name for name, _ in keys()])
def test_every_key_says_what_it_means_what_it_redoes_and_has_a_default(name, field):
    assert field.description.endswith(".")
    assert field.json_schema_extra["redoes"]
    assert not field.is_required()
