"""A configuration is whole before any job starts: every mistake is named in one line."""

import csv
import re
import time

import pytest
import yaml
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import OSA

from steplens.config.files import read_settings
from steplens.config.run import Config, keys, parse_config
from steplens.config.sections import Section
from steplens.config.suggestions import NAMES, edit_distance, nearest_language
from steplens.errors import ConfigError
from steplens.languages.table import load_languages


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

    def require_set(given, found):
        for key, value in given.items():
            if isinstance(value, dict):
                require_set(value, found[key])
            else:
                assert found[key] == value

    require_set(settings, parsed)


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
        ("steps", 5, "Input should be a valid list, got 5; write [5]"),
        ("languages", "deu,fra", "got 'deu,fra'; write [deu,fra]"),
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


def test_the_paper_s_config_repeats_no_default():
    """What stands there differs: nobody has to compare two files to see what the paper's run is."""
    paper = parse_config(read_settings([ROOT / "config" / "paper.yaml"]))

    def stands(section, default):
        for name in section.model_fields_set:
            value, usual = getattr(section, name), getattr(default, name)
            if isinstance(value, Section):
                yield from stands(value, usual)
            else:
                yield name, value, usual

    assert [name for name, value, usual in stands(paper, Config()) if value == usual] == []
    assert (paper.languages, paper.steps) == (["deu", "spa", "fra", "cmn", "jpn"], [1, 6, 11])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        # swapped letters before another letter, the model's own languages before others
        ("jnp", "jpn"), ("edu", "deu"), ("deuu", "deu"), ("cnm", "cmn"), ("fre", "fra"),
        # other codes
        ("zh", "cmn"), ("zh-CN", "cmn"), ("ja", "jpn"), ("no", "nob"), ("de_de", "deu"), ("ger", "deu"),
        ("pt-BR", "por"), ("ara", "arb"),
        # names
        ("mandarin", "cmn"), ("Mandarin Chinese", "cmn"), ("Chinese", "cmn"), ("Deutsch", "deu"),
        ("日本語", "jpn"), ("français", "fra"), ("francais", "fra"), ("ESPAÑOL", "spa"), ("Farsi", "pes"),
        ("Germn", "deu"), ("Japanses", "jpn"),
        ("xq", None), ("qqqqqqqq", None), ("", None), ("x" * 100_000, None),
    ],
)  # fmt: skip
def test_a_language_is_suggested_by_any_of_its_names(typed, meant):
    assert nearest_language(typed, {"deu", "spa", "fra", "cmn", "jpn", "eng"}) == meant


def test_the_model_s_own_languages_are_suggested_first():
    """Of equally near codes; without the model it is the first of the table."""
    assert nearest_language("xor") == "kor"
    assert nearest_language("xor", {"yor"}) == "yor"
    (line,) = problems({"languages": ["deu", "jnp"]})
    assert line.endswith("got 'jnp'; did you mean 'jpn'?")


def test_every_language_has_other_names_and_none_is_another_s():
    """The own name leads to the language, and so does ISO 639-1."""
    with NAMES.open(encoding="utf-8", newline="") as file:
        rows = {row["code"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert rows.keys() == load_languages().keys()
    for code, row in rows.items():
        assert nearest_language(row["own_name"] or code) == code
        assert nearest_language(row["iso_639_1"] or code) == code
        fasttext = load_languages()[code].fasttext
        assert fasttext in (row["iso_639_1"], "", code)


@given(*[st.text("abcd", max_size=6)] * 2)
def test_the_distance_is_that_of_the_library(one, other):
    """rapidfuzz's OSA, which jobs cannot import everywhere."""
    assert edit_distance(one, other) == OSA.distance(one, other)


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("studies", ["modalty"], "modality"), ("model.device", "cdua", "cuda"),
        ("store.dtype", "flaot16", "float16"), ("speech.engine", "espaek", "espeak"),
        ("speech.fallback", ["xtss"], "xtts"), ("speech.other_engine", "recoreded", "recorded"),
        ("ranking.ties", "seperation", "separation"), ("ranking.scope", "modul", "module"),
        ("steering.rate_tokens", "character", "characters"),
    ],
)  # fmt: skip
def test_every_choice_has_a_suggestion(key, value, meant):
    (line,) = problems(nested(key, value))
    assert line.endswith(f"; did you mean {meant!r}?")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steering.k", True), ("steering.k", "200"), ("steering.k", 200.0), ("seed", False),
        ("comparison.k_sweep", [True]), ("steps", [1, True]), ("model.path", 3),
        ("similarity.variance", True), ("similarity.variance", "0.5"), ("steering.pairs", [[1, 2]]),
        ("speech.xtts.accept_cpml", 1), ("speech.checks.leave_out_flagged", "yes"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(key, value):
    """A truth value is no number, and a text is none either."""
    lines = problems(nested(key, value))
    assert all(
        line.startswith(f"  - {key}") and "Input should be a valid" in line for line in lines
    )


def test_a_whole_number_may_stand_for_a_number():
    assert parse_config({"similarity": {"variance": 1}}).similarity.variance == 1.0


LONG = "x" * 1_000_000


@pytest.mark.parametrize(
    "settings",
    [
        {"run": LONG}, {"run": "x" * 101}, {"languages": ["deu", LONG]}, {LONG: 1}, {"steering": {LONG: 1}},
        {"model": {"path": LONG}}, {"model": {"path": f"a/{'b' * 300}"}}, {"corpus": {"path": "a\0b"}},
        {"corpus": {"splits": [LONG]}}, {"speech": {"xtts": {"speaker": LONG}}}, {"studies": [LONG]},
        {"model": {"path": "a/b", "revision": LONG}}, {"steps": [-(10**4000)]}, {"steps": [10**6000]},
        {"steering": {"pairs": [[LONG, "deu"]]}}, {"steps": list(range(-200_000, 0))},
        {"languages": [1] * 100_000}, {"causal": {"step": 10**5000}}, {"seed": [[LONG] * 9] * 9},
        {"seed": {"a": {"b": {"c": LONG}}}},
    ],
    ids=range(20),
)  # fmt: skip
def test_a_message_repeats_a_hundred_letters_of_an_input_at_most(settings):
    with pytest.raises(ConfigError) as refusal:
        parse_config(settings)
    lines = str(refusal.value).splitlines()
    assert len(lines) <= 12
    assert all(len(line) < 700 for line in lines)
    assert "x" * 101 not in str(refusal.value)


def test_lists_are_checked_in_linear_time():
    """All pairs of all languages, and many steps, in about a second: squared, it would take minutes."""
    codes = list(load_languages())
    pairs = [[one, other] for one in codes for other in codes if one != other]
    steps = list(range(1, 100_001))
    start = time.perf_counter()
    config = parse_config(
        {
            "languages": [code for code in codes if code != "eng"],
            "speech": {"engine": "recorded"},
            "steering": {"pairs": [pair for pair in pairs if "eng" not in pair]},
            "steps": steps,
            "decoding": {"max_new_tokens": 100_000},
        }
    )
    assert time.perf_counter() - start < 30
    assert len(config.steering.pairs) == 88 * 87


def test_several_mistakes_are_told_at_once():
    lines = problems({"seed": -1, "sede": 1, "store": {"dtype": "f2"}})
    assert [line.split(":")[0] for line in lines] == ["  - seed", "  - store.dtype", "  - sede"]


@pytest.mark.parametrize(("name", "field"), list(keys()), ids=[name for name, _ in keys()])
def test_every_key_says_what_it_means_what_it_redoes_and_has_a_default(name, field):
    assert field.description.endswith(".")
    assert field.json_schema_extra["redoes"]
    assert not field.is_required()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"modality": {"regularisation": float("inf")}},
            "modality.regularisation: .*finite.*got inf",
        ),
        ({"encoding": {"fixed_seconds": float("nan")}}, "encoding.fixed_seconds: .*got nan"),
        ({"seed": 10**26}, "seed: .*4294967295.*got 1000"),
    ],
)
def test_numbers_that_no_stage_can_use_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(settings)
