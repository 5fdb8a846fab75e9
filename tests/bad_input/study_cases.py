"""Neighbouring studies: settings that cannot be, and stores that tell them nothing."""

import numpy as np
from made_stores import NEURONS, write_store

from bad_input.case import Case, World
from bad_input.config_cases import setting
from steplens.config.run import parse_config
from steplens.errors import ConfigError, SimilarityError, StoreError
from steplens.planning.start_checks import require_common_sentences
from steplens.studies.inequality.measure import measure
from steplens.studies.modality.ranking import open_pair
from steplens.studies.similarity.measure import similarity

N = 8
SETTINGS = {"variance": 0.99, "sentences_per_component": 5, "shuffles": 1, "seed": 1}


def activation():
    return np.random.default_rng(1).normal(size=(N, len(NEURONS)))


def pair(model: str = "made up", n_valid: int = N, of_text: str = "t2t", languages=("deu", "jpn")):
    """Prepares the stores of two tasks at step 6; of the text the model, or how many are valid, differs."""

    def prepare(world: World):
        found = {}
        for task, codes in (("s2t", ("deu", "jpn")), ("t2t", languages)):
            of_speech = task == "s2t"
            told = {
                "module": "decoder", "step": 6, "task": task if of_speech else of_text,
                "model": "made up" if of_speech else model,
            }  # fmt: skip
            valid = np.arange(N) < (N if of_speech else n_valid)
            hidden = np.random.default_rng(2).normal(size=(N, 2, 4))
            found[task] = {
                code: write_store(
                    world.folder / task / f"{code}.zarr", activation(), valid, hidden=hidden, **told
                )
                for code in codes
            }
        return world, found

    return prepare


def rank(given):
    return open_pair(given[1], 6, True, None)


def compare(given):
    world, stores = given
    condition = {"module": "decoder", "tasks": ("s2t", "t2t"), "step": 6}
    output = world.folder / "pairs.parquet"
    similarity(stores["s2t"], stores["t2t"], condition, SETTINGS, 1, output)


def with_nan(world: World):
    values = activation()
    values[3, 5] = np.nan
    told = {"module": "decoder", "task": "s2t", "step": 6}
    return world, write_store(world.folder / "deu.zarr", values, np.ones(N, bool), **told)


def concentrate(given):
    world, store = given
    condition = {"module": "decoder", "task": "s2t", "language": "deu", "step": 6}
    measure(store, world.folder / "deu.parquet", True, condition)


FOUR = {"corpus": {"n_utterances": 4}, "steering": {"n_utterances": 4}}

CASES = [
    setting("an unknown study", {"studies": ["modalty"]}, "studies.0", "'modality'", "got 'modalty'"),
    setting("a study twice", {"studies": ["inequality", "inequality"]}, "studies", "expected each once",
            "got 'inequality' repeatedly"),
    setting("a single fold", {"modality": {"folds": 1}}, "modality.folds",
            "should be greater than or equal to 2", "got 1"),
    Case("similarity: too few sentences, before anything runs", lambda world: parse_config(FOUR),
         lambda config: require_common_sentences(config, {"similarity_encoders"}), ConfigError,
         "corpus.n_utterances", "study similarity", "expected at least", "got 4",
         "leave similarity out of studies"),
    setting("a step for causal that is not captured", {"causal": {"step": 4}}, "causal.step",
            "expected one of steps, 1, 6, 11", "got 4"),
    setting("causal without modality", {"studies": ["causal"]}, "studies", "expected modality beside it",
            "got causal"),
    setting("variance above one", {"similarity": {"variance": 1.5}}, "similarity.variance",
            "should be less than or equal to 1", "got 1.5"),
    Case("modality: speech and text of two models", pair(model="another"), rank, ValueError, "model",
         "{folder}/t2t/deu.zarr", "expected made up", "got another", "run the workflow again"),
    Case("modality: text of another task", pair(of_text="tr"), rank, StoreError, "task",
         "{folder}/t2t/deu.zarr", "expected 't2t'", "'tr'", "run the workflow again"),
    Case("modality: too few valid utterances", pair(n_valid=1), rank, ValueError, "valid utterances",
         "{folder}/t2t/deu.zarr", "expected at least 2", "deu has 1", "drop the step or the language"),
    Case("similarity: too few common sentences", pair(n_valid=3), compare, SimilarityError, "sentences",
         "{folder}/t2t/deu.zarr", "expected at least 5", "have 3 valid", "corpus.n_utterances"),
    Case("similarity: speech and text of two models", pair(model="another"), compare, StoreError, "model",
         "{folder}/t2t", "made up", "another", "run the workflow again"),
    Case("inequality: NaN in a valid utterance", with_nan, concentrate, StoreError, "utterance 3",
         ("{folder}/deu.zarr", "layer 0"), "expected finite", "got NaN", "store.dtype"),
]  # fmt: skip
