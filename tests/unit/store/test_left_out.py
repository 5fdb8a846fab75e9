"""What ``tables/speech_quality.csv`` leaves out has no part in any statistic, of speech or of text."""

import made_stores
import numpy as np
import pandas as pd
import pytest
from conftest import write_table
from fleurs_files import LANGUAGES, line, write_split
from small_left_out import SIZES, write_left_out
from small_stores import NEURONS, write_store

from steplens.comparison.compare_step import compare_step, resampled_pairs
from steplens.languages.error_rate import character_edits
from steplens.ranking.rank_condition import rank_condition
from steplens.ranking.table import open_condition, open_ranking
from steplens.settings import Selection
from steplens.statistics.bootstrap import SentenceDraws
from steplens.steering import outcomes
from steplens.steering.summary import count_valid, score_decoding

TABLES = ("overlap", "overlap_summary", "spearman", "spearman_summary", "sensitivity")
LEFT_OUT = {"deu": [2, 5], "jpn": [0, 10]}


def activations(seed, left_out_value=0.0):
    """Rows that are left out hold a value of their own."""
    generator = np.random.default_rng(seed)
    found = {}
    for language, size in SIZES.items():
        found[language] = generator.normal(size=(size, len(NEURONS))).astype("f2")
        found[language][LEFT_OUT.get(language, [])] += left_out_value
    return found


def write_stores(folder, of_language, valid=None):
    return {
        language: write_store(folder / f"{language}.zarr", rows, valid and valid[language])
        for language, rows in of_language.items()
    }


def kept(language):
    return np.setdiff1d(np.arange(SIZES[language]), LEFT_OUT.get(language, []))


def ranked(stores, folder, left_out=None):
    mark = folder / "ranking.zarr" / "zarr.json"
    rank_condition(stores, mark, True, threads=1, left_out=left_out)
    return mark


def test_a_ranking_is_that_of_stores_without_the_utterances(tmp_path):
    """AP, medians and counts, to the bit."""
    everything = activations(1)
    valid = {language: np.arange(size) % 4 != 1 for language, size in SIZES.items()}
    table = write_left_out(tmp_path / "quality.csv", LEFT_OUT)
    stores = write_stores(tmp_path / "all", everything, valid)
    found = open_ranking(ranked(stores, tmp_path / "all", table))
    stores = write_stores(
        tmp_path / "some",
        {language: rows[kept(language)] for language, rows in everything.items()},
        {language: mask[kept(language)] for language, mask in valid.items()},
    )
    expected = open_ranking(ranked(stores, tmp_path / "some"))
    np.testing.assert_array_equal(found.ap, expected.ap)
    np.testing.assert_array_equal(found.median, expected.median)
    assert found.n_valid.tolist() == expected.n_valid.tolist()


def test_without_a_table_everything_counts(tmp_path):
    stores = write_stores(tmp_path, activations(1))
    assert [mask.sum() for mask in open_condition(stores, True).valid] == list(SIZES.values())


def test_too_few_utterances_that_are_left_is_an_error_that_says_so(tmp_path):
    stores = write_stores(tmp_path, activations(1))
    table = write_left_out(tmp_path / "quality.csv", {"fra": [0, 1, 2, 3, 4, 6]})
    message = r"fra has 1 valid .* 6 badly spoken ones are left out \(tables/speech_quality.csv\)"
    with pytest.raises(ValueError, match=message):
        open_condition(stores, True, table)


def test_activations_of_the_utterances_change_no_comparison(tmp_path):
    """Neither estimates nor intervals, to the byte; and without the table they do."""
    table = write_left_out(tmp_path / "quality.csv", LEFT_OUT)

    def written(value, left_out):
        folder = tmp_path / f"{value} {left_out is None}"
        shared = {"step": 1, "include_step_invariant": True, "n_resamples": 10, "seed": 1}
        for seed, modality in enumerate(("speech", "text")):
            stores = write_stores(folder / modality, activations(seed, value))
            shared[f"stores_{modality}"] = stores
            shared[f"ranking_{modality}"] = ranked(stores, folder / modality, table)
        shared |= {"threads": 1, "left_out": left_out}
        files = [folder / f"{number}.csv" for number in range(5)]
        compare_step(**shared, k=20, ks=[5, 20], tables=dict(zip(TABLES, files, strict=True)))
        return [path.read_bytes() for path in files]

    found = written(0.0, table)
    assert written(50.0, table) == found
    different = [one != other for one, other in zip(written(50.0, None), found, strict=True)]
    assert different == [False, True, False, True, True]  # the matrices are of the rankings alone


@pytest.mark.parametrize("drawn_bytes", [1, 10_000, 10**9])
def test_resamples_ranked_a_few_at_a_time_are_the_same(tmp_path, drawn_bytes):
    """One, several or all of them: what fits into memory changes no draw."""
    conditions = [
        open_condition(write_stores(tmp_path / str(seed), activations(seed)), True)
        for seed in (0, 1)
    ]
    expected = list(resampled_pairs(*conditions, Selection(), 7, 3))
    found = list(resampled_pairs(*conditions, Selection(), 7, 3, drawn_bytes))
    assert len(found) == len(expected) > 0
    for pair, other in zip(found, expected, strict=True):
        for one, same in zip(pair, other, strict=True):
            np.testing.assert_array_equal(one.ap, same.ap)
            np.testing.assert_array_equal(one.tiebreak, same.tiebreak)


def test_counts_of_valid_utterances_are_without_them(tmp_path):
    """Left out and not valid counts once, as left out."""
    valid = {language: np.arange(size) >= 3 for language, size in SIZES.items()}
    stores = {
        language: made_stores.write_store(
            tmp_path / f"{language}.zarr",
            rows,
            valid[language],
            neurons=NEURONS,
            task="s2t",
            step=6,
        )
        for language, rows in activations(1).items()
    }
    table = write_left_out(tmp_path / "quality.csv", LEFT_OUT)
    keyed = {("s2t", language, 6): path for language, path in stores.items()}
    count_valid(keyed, tmp_path / "counts.csv", table)
    found = pd.read_csv(tmp_path / "counts.csv").set_index("language")
    assert found["n_utterances"].to_dict() == SIZES
    assert found["n_left_out"].to_dict() == {"deu": 2, "fra": 0, "jpn": 2}
    assert found["n_valid"].to_dict() == {"deu": 5, "fra": 4, "jpn": 7}


@pytest.mark.parametrize("task", ["s2t", "t2t", "asr", "tr"])
def test_recognition_is_scored_without_them(tmp_path, task):
    """In text as in speech: of three sentences the one that is wrong is left out."""
    lines = [
        line(number, text=f"satz {word}") for number, word in enumerate(["eins", "zwei", "drei"])
    ]
    for language in ("deu", "eng"):
        write_split(tmp_path, LANGUAGES[language], "test", lines)
    sentences = pd.DataFrame(
        {"utterance": [0, 1, 2], "text": ["satz eins", "satz zwei", "satz drei"]}
    )
    write_table(sentences, tmp_path / "corpus.parquet", language="deu")
    write_table(
        sentences.assign(text=["Satz eins.", "satz zwei", "etwas ganz anderes"]),
        tmp_path / "d.parquet",
        task=task,
        language="deu",
    )

    def score(left_out):
        score_decoding(
            {"deu": tmp_path / "corpus.parquet"}, {(task, "deu"): tmp_path / "d.parquet"}, tmp_path,
            ["test"], "eng", 10, 1, tmp_path / "scores.csv", left_out,
        )  # fmt: skip
        return pd.read_csv(tmp_path / "scores.csv").iloc[0]

    everything = score(None)
    assert everything["n"] == 3
    assert everything["cer"] > 0.3
    found = score(write_left_out(tmp_path / "quality.csv", {"deu": [2], "fra": [0, 1, 2]}))
    assert (found["n"], found["cer"], found["exact_match"]) == (2, 0, 1)


def test_intervals_of_recognition_are_those_of_one_draw_of_sentences(tmp_path):
    """Sentence by sentence: what a language lacks, leaves out or cannot translate counts for nothing."""
    generator = np.random.default_rng(6)
    ids = {"deu": [1, 2, 3, 5, 8, 9], "jpn": [2, 3, 4, 8]}
    words = ["eins", "zwei", "drei", "vier"]
    texts = {number: " ".join(generator.choice(words, 3)) for number in range(10)}
    english = [line(number, text=text) for number, text in texts.items() if number != 5]
    write_split(tmp_path, LANGUAGES["eng"], "test", english)
    corpora, decodings, edits = {}, {}, {}
    for language, own in ids.items():
        corpora[language] = tmp_path / f"{language}.parquet"
        sentences = pd.DataFrame({"utterance": own, "text": [texts[one] for one in own]})
        write_table(sentences, corpora[language], language=language)
        for task in ("s2t", "asr"):
            decoded = [
                texts[one] if generator.random() < 0.5 else f"{texts[one][2:]} mehr" for one in own
            ]
            decodings[task, language] = tmp_path / f"{task}-{language}.parquet"
            path = decodings[task, language]
            write_table(sentences.assign(text=decoded), path, task=task, language=language)
            edits[task, language] = {
                one: character_edits(texts[one], text)
                for one, text in zip(own, decoded, strict=True)
                if one not in {"deu": [2], "jpn": []}[language] and (task, one) != ("s2t", 5)
            }
    score_decoding(
        corpora, decodings, tmp_path, ["test"], "eng", 200, 7, tmp_path / "scores.csv",
        write_left_out(tmp_path / "quality.csv", {"deu": [2]}),
    )  # fmt: skip
    every = np.unique(np.concatenate(list(ids.values())))
    found = pd.read_csv(tmp_path / "scores.csv").set_index(["task", "language"])
    for key, of_sentence in edits.items():
        rates = []
        for counts in SentenceDraws(every, 200, 7).of(every):
            drawn = [of_sentence[one] for one in np.repeat(every, counts) if one in of_sentence]
            if drawn:
                total = np.sum(drawn, axis=0)
                rates.append((total[0] / total[1], np.mean([one[0] == 0 for one in drawn])))
        row = found.loc[key]
        assert row["n"] == len(of_sentence)
        for name, values in zip(("cer", "exact_match"), np.array(rates).T, strict=True):
            ends = np.percentile(values, [2.5, 97.5])
            assert [row[f"{name}_low"], row[f"{name}_high"]] == pytest.approx(ends, abs=1e-8)


def test_steered_outputs_of_the_sentences_are_left_out_of_their_source_language_only():
    frame = pd.DataFrame(
        [
            {"source": source, "target": target, "utterance": utterance, "control": control}
            for source, target in (("deu", "jpn"), ("jpn", "deu"), ("fra", "jpn"))
            for control in ("unsteered", "steered") for utterance in (0, 2, 5)
        ]
    )  # fmt: skip
    found = outcomes.without(frame, {code: np.array(ids) for code, ids in LEFT_OUT.items()})
    numbers = found.groupby("source")["utterance"].agg(list).to_dict()
    assert numbers == {"deu": [0, 0], "fra": [0, 2, 5] * 2, "jpn": [2, 5] * 2}
    assert found.index.tolist() == list(range(len(found)))
    pd.testing.assert_frame_equal(outcomes.without(frame, {}), frame)
