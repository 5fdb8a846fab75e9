"""Settings: typos, ranges, and keys that do not go together. Nothing runs, and nothing is written."""

from bad_input.case import Case
from steplens.config import ConfigError, parse_config

README = "every key is explained in config/README.md"


def setting(name: str, settings: dict, key: str, expected: str, got: str, do: str = README):
    return Case(f"config: {name}", lambda world: settings, parse_config, ConfigError,
                f"  - {key}", "the configuration", expected, got, do)  # fmt: skip


HUB = "facebook/some-model"

CASES = [
    setting("a typo", {"steering": {"n_uterances": 3}}, "steering.n_uterances", "unknown key",
            "steering.n_uterances", "did you mean 'n_utterances'?"),
    setting("a run name with a slash", {"run": "a/b"}, "run", "expected letters, digits", "got 'a/b'"),
    setting("a run name that climbs", {"run": "../x"}, "run", "expected letters, digits", "got '../x'"),
    setting("one utterance", {"corpus": {"n_utterances": 1}}, "corpus.n_utterances",
            "should be greater than or equal to 2", "got 1"),
    setting("a split that is a path", {"corpus": {"splits": ["../test"]}}, "corpus.splits",
            "expected the name of a split", "got '../test'"),
    setting("a step past the limit", {"steps": [1, 99]}, "steps",
            "expected at most decoding.max_new_tokens = 48", "got 99"),
    setting("a step of nought", {"steps": [0]}, "steps", "expected steps from 1 on", "got 0"),
    setting("a language twice", {"languages": ["deu", "deu"]}, "languages", "expected each once",
            "got 'deu' repeatedly"),
    setting("one language", {"languages": ["deu"]}, "languages", "at least 2 items", "got ['deu']"),
    setting("an unknown language", {"languages": ["deu", "jp"]}, "languages",
            "expected a code of resources/languages.tsv", "got 'jp'", "did you mean 'jpn'?"),
    setting("the output language among the others", {"output_language": "deu"}, "output_language",
            "not among languages", "got 'deu'"),
    setting("no resamples", {"comparison": {"resamples": 0}}, "comparison.resamples",
            "should be greater than or equal to 20", "got 0"),
    setting("no subsets", {"comparison": {"subsets": 0}}, "comparison.subsets",
            "should be greater than or equal to 1", "got 0"),
    setting("k of nought in the sweep", {"comparison": {"k_sweep": [0, 5]}}, "comparison.k_sweep",
            "expected values of k from 1 on", "got 0"),
    setting("more steered sentences than there are", {"steering": {"n_utterances": 61}},
            "steering.n_utterances", "expected at most corpus.n_utterances = 60", "got 61"),
    setting("a pair of one language", {"steering": {"pairs": [["deu", "deu"]]}}, "steering.pairs",
            "expected a target other than the source", "got [deu, deu]",
            "steering a language to itself says nothing"),
    setting("a pair twice", {"steering": {"pairs": [["deu", "jpn"], ["deu", "jpn"]]}}, "steering.pairs",
            "expected each pair once", "got [deu, jpn] repeatedly"),
    setting("a pair that is none", {"steering": {"pairs": [["deu"]]}}, "steering.pairs",
            "expected pairs [source, target]", "got [deu]"),
    setting("a pair with a mistyped language", {"steering": {"pairs": [["deu", "jp"]]}}, "steering.pairs",
            "expected a code of resources/languages.tsv", "got 'jp'", "did you mean 'jpn'?"),
    setting("a pair with a language that is not of the run", {"languages": ["deu", "jpn"],
            "steering": {"pairs": [["deu", "fra"]]}}, "steering.pairs",
            "expected languages of the run, deu, jpn", "got 'fra' in [deu, fra]", "add it to languages"),
    setting("a token of another kind", {"steering": {"rate_tokens": "words"}}, "steering.rate_tokens",
            "'script_runs' or 'characters'", "got 'words'"),
    setting("a dtype that moves AP", {"store": {"dtype": "bfloat16"}}, "store.dtype",
            "'float16' or 'float32'", "got 'bfloat16'"),
    setting("speech fixed at less than one stacked frame", {"encoding": {"fixed_seconds": 0.03}},
            "encoding.fixed_seconds", "from 0.035 (one stacked frame) to 120 seconds", "got 0.03"),
    setting("speech fixed at more than any encoder takes", {"encoding": {"fixed_seconds": 600}},
            "encoding.fixed_seconds", "expected null, or from 0.035", "got 600"),
    setting("speech fixed at no number", {"encoding": {"fixed_seconds": float("nan")}},
            "encoding.fixed_seconds", "expected null, or from 0.035", "got nan"),
    setting("speech fixed at a word", {"encoding": {"fixed_seconds": "natural"}},
            "encoding.fixed_seconds", "valid number", "got 'natural'"),
    setting("an unknown engine", {"speech": {"engine": "xttts"}}, "speech.engine",
            "'xtts', 'recorded' or 'espeak'", "got 'xttts'"),
    setting("an engine that does not speak a language", {"languages": ["deu", "swe"],
            "speech": {"engine": "xtts"}}, "speech.engine", "spoken by recorded, espeak",
            "xtts cannot speak Swedish (swe)", "name one of them under speech.fallback"),
    setting("a branch of the hub", {"model": {"path": HUB, "revision": "main"}}, "model.revision",
            "expected the commit (40 hex digits)", "got 'main'", "a branch moves"),
    setting("text where a number is due", {"seed": "one"}, "seed", "valid integer", "got 'one'"),
]  # fmt: skip
