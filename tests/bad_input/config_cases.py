"""Settings: typos, ranges, and keys that do not go together. Nothing runs, and nothing is written."""

import itertools

from bad_input.case import Case, World
from steplens.config.files import read_settings
from steplens.config.run import parse_config
from steplens.corpus.fleurs import check_corpus
from steplens.errors import ConfigError
from steplens.models.checkpoint import check_checkpoint

README = "every key is explained in config/README.md"


def setting(name: str, settings: dict, key: str, expected: str, got: str, do: str = README):
    return Case(f"config: {name}", lambda world: settings, parse_config, ConfigError,
                f"  - {key}", "the configuration", expected, got, do)  # fmt: skip


def file(name: str, text: str, key: str, expected: str, got: str, do: str, line: int = 1):
    """A config file that is read strictly."""

    def written(world: World):
        path = world.folder / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return Case(f"config file: {name}", written, lambda path: read_settings([path]), ConfigError,
                key, f"{{folder}}/mine.yaml:{line}: ", expected, got, do)  # fmt: skip


def argument(name: str, text: str, key: str, expected: str, got: str, do: str = README):
    return Case(f"--config: {name}", lambda world: [text], lambda given: read_settings([], given),
                ConfigError, key, "--config: ", expected, got, do)  # fmt: skip


def bomb(letters: str = "abcdefgh") -> str:
    """Ten values, ten times as many for every further letter."""
    lines = ["a: &a [" + "x, " * 10 + "]"]
    for old, new in itertools.pairwise(letters):
        lines.append(f"{new}: &{new} [" + f"*{old}, " * 10 + "]")
    return "\n".join(lines) + f"\nlanguages: *{letters[-1]}\n"


HUB = "facebook/some-model"
LONG = "x" * 100_000

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
            "encoding.fixed_seconds", "finite number", "got nan"),
    setting("speech fixed at a word", {"encoding": {"fixed_seconds": "natural"}},
            "encoding.fixed_seconds", "valid number", "got 'natural'"),
    setting("an unknown engine", {"speech": {"engine": "xttts"}}, "speech.engine",
            "'xtts', 'recorded' or 'espeak'", "got 'xttts'"),
    setting("an engine that does not speak a language", {"languages": ["deu", "swe"],
            "speech": {"engine": "xtts"}}, "speech.engine", "spoken by recorded, espeak",
            "xtts cannot speak Swedish (swe)", "name one of them under speech.fallback"),
    setting("a branch of the hub", {"model": {"path": HUB, "revision": "main"}}, "model.revision",
            "expected the commit (40 hex digits)", "got 'main'", "a branch moves"),
    setting("a truth value where a number is due", {"steering": {"k": True}}, "steering.k",
            "valid integer", "got True"),
    setting("a study with swapped letters", {"studies": ["modaltiy"]}, "studies", "'similarity' or 'causal'",
            "got 'modaltiy'", "did you mean 'modality'?"),
    setting("a language with swapped letters", {"languages": ["deu", "jnp"]}, "languages",
            "expected a code of resources/languages.tsv", "got 'jnp'", "did you mean 'jpn'?"),
    setting("a language by its own name", {"languages": ["Deutsch", "fra"]}, "languages",
            "expected a code of resources/languages.tsv", "got 'Deutsch'", "did you mean 'deu'?"),
    setting("a language by ISO 639-1", {"languages": ["deu", "zh"]}, "languages",
            "expected a code of resources/languages.tsv", "got 'zh'", "did you mean 'cmn'?"),
    setting("a run name too long for a folder", {"run": LONG}, "run", "at most 100 characters", "got 'xxx"),
    setting("a path too long", {"model": {"path": LONG}}, "model.path", "expected a path of 1 to 1000",
            "got 'xxx"),
    setting("a folder's name too long", {"corpus": {"path": f"a/{'b' * 256}"}}, "corpus.path",
            "at most 255 bytes", "256 bytes"),
    Case("config: a path that is no folder and no name", lambda world: "/no/such/model",
         lambda path: check_checkpoint(path, ["deu"]), ConfigError, "model.path", "/no/such/model",
         "expected a checkpoint folder or a name owner/name", "got '/no/such/model'",
         "there is no such folder"),
    Case("config: the whole disk as corpus", lambda world: "/", lambda path: check_corpus(path, [], [], []),
         ConfigError, "corpus.path", "got /", "expected a folder that holds data/", "it has no folder data",
         "or the name google/fleurs"),
    file("a section twice", "corpus: {n_utterances: 9}\nseed: 1\ncorpus: {splits: [dev]}\n", "corpus: ",
         "expected each key once", "got it twice, in lines 1 and 3", "put what belongs together", 3),
    file("yes for a number", "steering: {k: yes}\n", "steering.k", "expected a whole number in plain digits",
         "got yes, which YAML 1.1 takes for true", "write the number"),
    file("a number with a leading nought", "seed: 1\nsteering: {k: 010}\n", "steering.k",
         "expected a whole number in plain digits", "got 010, which YAML 1.1 takes for octal, 8",
         "write 10 or 8", 2),
    file("a number with a colon", "seed: 1:00\n", "seed", "expected a whole number in plain digits",
         "got 1:00, which YAML 1.1 takes for 60", "write 60"),
    file("a number with an underscore", "seed: 1_2\n", "seed", "expected a whole number in plain digits",
         "got 1_2, which YAML 1.1 takes for 12", "write 12"),
    file("aliases of aliases", bomb(), "d: ", "repeat at most 10,000 values", "got more",
         "write the values themselves"),
    file("a tag", "seed: !!python/name:os.getcwd ''\n", "the tag", "expected a plain value",
         "got the tag", "leave it out"),
    argument("a number with a leading nought", "steering={k: 010}", "steering.k",
             "expected a whole number in plain digits", "got 010", "write 10 or 8"),
    argument("no YAML", "steps=[1, 6", "steps", "expected YAML", "got '[1, 6'", "check colons, brackets"),
    setting("text where a number is due", {"seed": "one"}, "seed", "valid integer", "got 'one'"),
]  # fmt: skip
