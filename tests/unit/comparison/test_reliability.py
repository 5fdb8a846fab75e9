"""Halves and shuffles are what they say, and every figure is that of a slow, direct computation."""

import itertools

import numpy as np
import pandas as pd
import pytest
from made_stores import NEURONS, write_store
from slow_statistics import slow_top

from steplens.comparison.reliability import (
    MEASURES,
    TopColumns,
    best_neurons,
    null_ratios,
    null_summary,
    reliability,
    shared_neurons,
    stability,
)
from steplens.errors import StoreError, TooFewUtterances
from steplens.files.atomic import write_csv
from steplens.ranking.rank_condition import rank_condition
from steplens.ranking.selection import top_k
from steplens.ranking.table import open_condition
from steplens.statistics.relabelling import Examples, draw_halves, shuffle_labels

LANGUAGES = ["deu", "fra", "jpn"]
N_SPLITS, N_SHUFFLES, K, SEED, STEP = 4, 5, 40, 3, 6
COLUMNS = slice(0, 60)  # a table of few neurons, as scikit-learn takes one at a time
FEW = NEURONS[COLUMNS]


def examples(sentences, name="speech"):
    """Of lists of sentence ids, one a language."""
    labels = np.repeat(np.arange(len(sentences)), [len(one) for one in sentences])
    return Examples(name, LANGUAGES[: len(sentences)], np.concatenate(sentences), labels)


PARALLEL = examples([np.arange(20)] * 3)
# Sentences of their own, others shared; text is valid elsewhere.
SPEECH = examples([np.arange(0, 30, 2), np.arange(0, 30, 3), [0, 2, 3, 4, 9, 50, 51, 52, 53]])
TEXT = examples([np.arange(0, 24, 2), np.arange(3, 33, 3), [0, 2, 3, 4, 9, 27, 50, 51, 54]], "text")


def by_utterance(one, values):
    """Values by (sentence, language)."""
    keys = zip(one.sentences.tolist(), one.labels.tolist(), strict=True)
    return dict(zip(keys, np.asarray(values).tolist(), strict=True))


def test_a_sentence_is_in_one_half_in_every_language_and_modality():
    for splits in zip(*draw_halves([SPEECH, TEXT], 50, SEED), strict=True):
        half_of = {}
        for one, halves in zip((SPEECH, TEXT), splits, strict=True):
            for sentence, half in zip(one.sentences.tolist(), halves.tolist(), strict=True):
                assert half_of.setdefault(sentence, half) == half
            for half in (halves, ~halves):
                assert np.bincount(one.labels[half], minlength=3).min() >= 2


def test_parallel_sentences_are_halved_evenly_and_every_sentence_alike():
    (halves,) = draw_halves([PARALLEL], 400, SEED)
    for language in range(3):
        np.testing.assert_array_equal(halves[:, PARALLEL.labels == language].sum(1), 10)
    # Each is in the first half in one of two splits: 400 draws have a standard deviation of 0.025.
    np.testing.assert_allclose(halves.mean(0), 0.5, atol=0.12)


def test_draws_repeat_with_their_seed():
    for draw in (draw_halves, shuffle_labels):
        one, again, other = (draw([SPEECH, TEXT], 9, seed) for seed in (SEED, SEED, SEED + 1))
        for first, second, third in zip(one, again, other, strict=True):
            np.testing.assert_array_equal(first, second)
            assert (first != third).any()


@pytest.mark.parametrize(
    ("sentences", "count"),
    # Three can not be halved into two and two; nor can those whose partners are always apart.
    [([np.arange(9), np.arange(9), np.arange(3)], 3), ([np.arange(9), np.arange(9), [1]], 1)],
)
def test_too_few_utterances_for_halves_are_an_error_that_names_the_language(sentences, count):
    few = examples(sentences, "text")
    message = rf"halves: text: jpn has {count} valid .* at least 2 "
    with pytest.raises(TooFewUtterances, match=message):
        draw_halves([examples([np.arange(9)] * 3), few], 2, SEED)


def test_shuffles_keep_the_size_of_every_language_and_stay_within_a_sentence():
    """Within it, the labels are those of the utterances that it has; lone ones mix with each other."""
    for one, shuffled in zip((SPEECH, TEXT), shuffle_labels([SPEECH, TEXT], 60, SEED), strict=True):
        assert (shuffled != one.labels).any(axis=1).all()
        for labels in shuffled:
            np.testing.assert_array_equal(np.bincount(labels), np.bincount(one.labels))
        known = {*by_utterance(SPEECH, SPEECH.labels), *by_utterance(TEXT, TEXT.labels)}
        several = [s for s in {s for s, _ in known} if sum(t == s for t, _ in known) > 1]
        for sentence in several:
            here = one.sentences == sentence
            expected = sorted(one.labels[here])
            assert all(sorted(labels[here]) == expected for labels in shuffled)
        lone = ~np.isin(one.sentences, several)
        expected = sorted(one.labels[lone])
        assert all(sorted(labels[lone]) == expected for labels in shuffled)


def test_speech_and_text_of_an_utterance_get_one_label_where_all_are_valid():
    speech, text = shuffle_labels([PARALLEL, PARALLEL], 20, SEED)
    np.testing.assert_array_equal(speech, text)


def test_an_utterance_that_is_not_valid_is_skipped_in_its_cycle():
    """Against a walk along the permutation that all utterances of both conditions have."""
    everything = examples(
        [
            sorted({*SPEECH.sentences[SPEECH.labels == c], *TEXT.sentences[TEXT.labels == c]})
            for c in range(3)
        ]
    )
    whole = shuffle_labels([everything, everything], 30, SEED)[0]
    for one, drawn in zip((SPEECH, TEXT), shuffle_labels([SPEECH, TEXT], 30, SEED), strict=True):
        valid = set(by_utterance(one, one.labels))
        for labels, all_labels in zip(drawn, whole, strict=True):
            following, found = by_utterance(everything, all_labels), by_utterance(one, labels)
            for sentence, language in valid:
                if (everything.sentences == sentence).sum() == 1:
                    continue  # of lone sentences the label alone does not say who is next
                reached = following[sentence, language]
                while (sentence, reached) not in valid:
                    reached = following[sentence, reached]
                assert found[sentence, language] == reached


def test_every_permutation_of_a_sentence_is_as_likely_valid_everywhere_or_not():
    """Three languages: 6 permutations; with one of them skipped, 2. 4,000 draws, five s.d."""
    speech, text = examples([[7]] * 3), examples([[7], [], [7]], "text")
    for one, drawn in zip((speech, text), shuffle_labels([speech, text], 4_000, SEED), strict=True):
        n = len(one.labels)
        counts = [
            (drawn == order).all(axis=1).sum() for order in itertools.permutations(one.labels)
        ]
        p = 1 / len(counts)
        assert sum(counts) == 4_000, n
        np.testing.assert_allclose(
            np.array(counts) / 4_000, p, atol=5 * np.sqrt(p * (1 - p) / 4_000)
        )


@pytest.mark.parametrize("k", [1, 7, 30, 60])
def test_the_best_columns_of_blocks_are_those_of_the_whole(k):
    """With heavy ties, which go by column, and blocks narrower than k."""
    ap = np.random.default_rng(k).integers(0, 5, (3, 2, 60)) / 4
    best = TopColumns((3, 2), k)
    for start in range(0, 60, 8):
        best.add(ap[..., start : start + 8], start)
    np.testing.assert_array_equal(best.columns, top_k(ap, k))


def test_more_neurons_than_there_are_is_refused():
    best = TopColumns((1, 2), 9)
    best.add(np.ones((1, 2, 8)), 0)
    with pytest.raises(ValueError, match=r"k: expected 1 to 8 \(the number of neurons\), got 9"):
        best.columns  # noqa: B018


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Stores of speech and text with utterances that are not valid, one that is left out, and ties."""
    folder = tmp_path_factory.mktemp("reliability")
    generator = np.random.default_rng(5)
    leaning = generator.normal(0, 1, (3, 60))  # what speech and text share of a language
    stores, values = {"speech": {}, "text": {}}, {}
    left_out = {"deu": [4], "fra": [], "jpn": []}
    for modality, paths in stores.items():
        for place, language in enumerate(LANGUAGES):
            ids = np.arange(3 * place, 3 * place + 16)
            activation = np.round(generator.normal(leaning[place], 1.5, (16, 60)), 1)
            valid = ids % 7 != (3 if modality == "speech" else 5)
            activation[~valid] = 1e4
            store = folder / modality / f"{language}.zarr"
            paths[language] = write_store(store, activation, valid, ids, FEW)
            kept = valid & ~np.isin(ids, left_out[language])
            values[modality, language] = ids[kept], activation.astype("f2")[kept].astype(float)
    csv = folder / "speech_quality.csv"
    rows = pd.DataFrame(
        [(one, sentence, True) for one, sentences in left_out.items() for sentence in sentences],
        columns=["language", "utterance", "left_out"],
    )
    write_csv(rows, csv)
    return folder, stores, values, csv


@pytest.fixture(scope="module")
def tables(run):
    folder, stores, _, left_out = run
    marks = {one: folder / f"{one}-ranking.zarr" / "zarr.json" for one in stores}
    for modality, mark in marks.items():
        rank_condition(stores[modality], mark, True, 1, left_out)
    paths = {name: folder / f"{name}.csv" for name in ("stability", "null_ratio")}
    reliability(
        marks["speech"], marks["text"], stores["speech"], stores["text"], STEP, K, True,
        N_SPLITS, N_SHUFFLES, SEED, 1, paths, left_out,
    )  # fmt: skip
    return {name: pd.read_csv(path) for name, path in paths.items()}


@pytest.mark.parametrize(
    ("of", "changes", "message"),
    [
        (("text", "speech"), {}, r"digest: expected \w+, which .*text-ranking.zarr ranked"),
        (("speech", "text"), {"tasks": ("s2t", "t2t")}, "expected 'decoder', got None"),
    ],
)
def test_rankings_of_other_stores_or_of_something_else_are_refused(
    run, tables, tmp_path, of, changes, message
):
    folder, stores, _, left_out = run
    marks = [folder / f"{one}-ranking.zarr" / "zarr.json" for one in of]
    paths = {name: tmp_path / f"{name}.csv" for name in tables}
    with pytest.raises(StoreError, match=message):
        reliability(
            *marks, stores["speech"], stores["text"], STEP, K, True, N_SPLITS, N_SHUFFLES, SEED, 1,
            paths, left_out, **changes,
        )  # fmt: skip
    assert not any(path.exists() for path in paths.values())


@pytest.fixture(scope="module")
def drawn(run):
    """By modality: activations, labels, and the halves and shuffles of its utterances."""
    _, _, values, _ = run
    parts, pooled = [], []
    for modality in ("speech", "text"):
        of_language = [values[modality, language] for language in LANGUAGES]
        parts.append(examples([ids for ids, _ in of_language], modality))
        pooled.append(np.concatenate([activation for _, activation in of_language]))
    halves, shuffles = draw_halves(parts, N_SPLITS, SEED), shuffle_labels(parts, N_SHUFFLES, SEED)
    return {
        one.name: (activation, one.labels, half, shuffled)
        for one, activation, half, shuffled in zip(parts, pooled, halves, shuffles, strict=True)
    }


def test_stability_is_that_of_halves_ranked_by_scikit_learn(tables, drawn):
    tops = {
        modality: [
            [slow_top(values[part], labels[part], 3, K) for part in (half, ~half)]
            for half in halves
        ]
        for modality, (values, labels, halves, _) in drawn.items()
    }
    found = tables["stability"].set_index(["measure", "language"])
    assert list(found.index) == list(itertools.product(MEASURES, [*LANGUAGES, "mean"]))
    every = {measure: [] for measure in MEASURES}
    chance = K / 60
    for place, language in enumerate(LANGUAGES):
        shares = {measure: [] for measure in MEASURES}
        for speech, text in zip(tops["speech"], tops["text"], strict=True):
            (s1, s2), (t1, t2) = ([half[place] for half in one] for one in (speech, text))
            within = len(s1 & s2) / K, len(t1 & t2) / K
            across = (len(s1 & t2) + len(s2 & t1)) / (2 * K)
            beyond = (within[0] - chance) * (within[1] - chance)
            corrected = (across - chance) / np.sqrt(beyond) if min(within) > chance else np.nan
            for measure, share in zip(MEASURES, (*within, across, corrected), strict=True):
                shares[measure].append(share)
        for measure, values in shares.items():
            every[measure].append(values)
            row = found.loc[measure, language]
            assert row["share"] == pytest.approx(np.nanmean(values), abs=1e-8)
            assert row["share_low"] == pytest.approx(np.nanmin(values), abs=1e-8)
            assert row["share_high"] == pytest.approx(np.nanmax(values), abs=1e-8)
            assert row["n_without"] == np.isnan(values).sum()
            expected = 0 if measure == "corrected" else chance
            assert row["chance"] == pytest.approx(expected, abs=1e-8)
            for modality in ("speech", "text"):
                assert row[f"n_{modality}"] == (drawn[modality][1] == place).sum()
    for measure, values in every.items():
        over_languages = np.nanmean(values, axis=0)
        row = found.loc[measure, "mean"]
        assert row["n_without"] == np.isnan(values).sum()
        assert row["share"] == pytest.approx(over_languages.mean(), abs=1e-8)
        assert row["share_low"] == pytest.approx(over_languages.min(), abs=1e-8)
    assert (found["step"] == STEP).all()
    assert (found["n_splits"] == N_SPLITS).all()


def test_the_null_is_that_of_shuffles_ranked_by_scikit_learn(tables, drawn):
    tops = {
        modality: [slow_top(values, labels, 3, K) for labels in shuffles]
        for modality, (values, _, _, shuffles) in drawn.items()
    }
    real = [slow_top(values, labels, 3, K) for values, labels, _, _ in drawn.values()]

    def ratio(speech, text):
        counts = np.array([[len(one & other) for other in text] for one in speech])
        return counts.trace() / counts.sum()

    observed = ratio(*real)
    found = tables["null_ratio"].set_index("null")
    for null, shift in (("together", 0), ("apart", 1)):
        ratios = [
            ratio(tops["speech"][i], tops["text"][(i + shift) % N_SHUFFLES])
            for i in range(N_SHUFFLES)
        ]
        row = found.loc[null]
        assert row["diagonal_ratio"] == pytest.approx(observed, abs=1e-8)
        assert row["null_ratio"] == pytest.approx(np.mean(ratios), abs=1e-8)
        low, high = np.percentile(ratios, [2.5, 97.5])
        assert (row["null_ratio_low"], row["null_ratio_high"]) == pytest.approx(
            (low, high), abs=1e-8
        )
        reached = sum(one >= observed for one in ratios)
        assert row["p"] == pytest.approx((1 + reached) / (1 + N_SHUFFLES), abs=1e-8)
        assert row[["step", "k", "n_languages", "n_shuffles"]].tolist() == [STEP, K, 3, N_SHUFFLES]


@pytest.mark.parametrize("width", [1, 32, 50])
def test_the_width_of_blocks_changes_nothing(run, drawn, monkeypatch, width):
    _, stores, _, left_out = run
    _, _, halves, shuffles = drawn["speech"]

    def best():
        condition = open_condition(stores["speech"], True, left_out)
        return best_neurons(condition, K, halves, shuffles)

    expected = best()
    monkeypatch.setattr("steplens.ranking.table._NARROWEST", width)
    monkeypatch.setattr("steplens.ranking.table._BLOCK_BYTES", 1)
    for one, other in zip(best(), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_shared_neurons_are_those_of_python_sets():
    generator = np.random.default_rng(7)
    one, other = (np.array([generator.permutation(30)[:12] for _ in range(4)]) for _ in range(2))
    expected = [[len({*a} & {*b}) for b in other.tolist()] for a in one.tolist()]
    assert shared_neurons(one, other).tolist() == expected


def sets_sharing(*shares, n_neurons=100, k=20):
    """Halves (2, 1 split, 1 language, k) of speech and of text: shared within speech, text, and across."""
    within_speech, within_text, across = (round(k * share) for share in shares)
    free = iter(range(n_neurons))
    take = lambda n: [next(free) for _ in range(n)]  # noqa: E731
    first = take(k)
    second = first[:within_speech] + take(k - within_speech)
    # Text takes what it shares with speech from where the halves of speech differ, then its own.
    text_first = second[k - across :] + take(k - across)
    text_second = first[k - across :] + text_first[k - within_text :]
    text_second += take(k - across - within_text)
    return np.array([[[first]], [[second]]]), np.array([[[text_first]], [[text_second]]])


def test_the_corrected_overlap_takes_chance_off_all_three_terms():
    speech, text = sets_sharing(0.5, 0.5, 0.3)
    found = {name: one.item() for name, one in stability(speech, text, 100).items()}
    assert [found[name] for name in MEASURES[:3]] == [0.5, 0.5, 0.3]
    assert found["corrected"] == pytest.approx((0.3 - 0.2) / (0.5 - 0.2))
    assert [found[f"{name}_chance"] for name in MEASURES] == [0.2, 0.2, 0.2, 0]


@pytest.mark.parametrize(
    ("within_speech", "within_text"),
    [(0.0, 0.5), (0.5, 0.0), (0.15, 0.5), (0.2, 0.5), (0.5, 0.2), (0.1, 0.1)],
)
def test_halves_that_agree_no_better_than_chance_have_no_corrected_overlap(
    within_speech, within_text
):
    """Two factors below chance have a positive product, and no value either."""
    speech, text = sets_sharing(within_speech, within_text, 0.1)
    found = stability(speech, text, 100)
    assert (found["speech"], found["text"]) == (within_speech, within_text)
    assert np.isnan(found["corrected"]).all()
    assert found["corrected_chance"] == 0


def noisy_halves(generator, planted, n_splits, n_neurons, k, noise):
    """Top-k of planted neurons, seen through noise, in two halves: (2, n_splits, n_languages, k)."""
    signal = np.zeros((len(planted), n_neurons))
    np.put_along_axis(signal, planted, 1.0, axis=1)
    seen = signal + noise * generator.normal(size=(2, n_splits, *signal.shape))
    return top_k(seen, k)


@pytest.mark.parametrize("noise", [0.3, 0.4, 0.5])  # half as much: four times the sentences
@pytest.mark.parametrize("planted", ["shared", "independent"])
def test_the_true_overlap_is_found_however_noisy_the_halves(planted, noise):
    """With chance left in, 0.38 came out as 0.39, 0.42 and 0.46, and nothing as 0.04, 0.07 and 0.13."""
    generator = np.random.default_rng(8)
    k, n_neurons, n_languages = 100, 4000, 8
    drawn = np.array([generator.permutation(n_neurons) for _ in range(n_languages)])
    speech, text = drawn[:, :k], drawn[:, k - 38 : 2 * k - 38]
    if planted == "independent":
        text = np.array([generator.permutation(n_neurons)[:k] for _ in range(n_languages)])
    chance = k / n_neurons
    true = np.mean([len({*one} & {*other}) for one, other in zip(speech, text, strict=True)]) / k
    expected = (true - chance) / (1 - chance)
    assert expected == pytest.approx({"shared": 0.364, "independent": 0}[planted], abs=0.03)
    halves = [noisy_halves(generator, one, 10, n_neurons, k, noise) for one in (speech, text)]
    found = stability(*halves, n_neurons)
    assert found["speech"].mean() < {0.3: 0.7, 0.4: 0.4, 0.5: 0.25}[noise]
    assert not np.isnan(found["corrected"]).any()
    assert found["corrected"].mean() == pytest.approx(expected, abs=0.03)


def test_apart_means_the_text_of_the_next_shuffle():
    """Speech and text of one shuffle share everything, those of two shuffles nothing."""
    sets = np.arange(24).reshape(3, 2, 4)
    found = null_ratios(sets, sets)
    assert found["together"].tolist() == [1, 1, 1]
    assert np.isnan(found["apart"]).all()


@pytest.mark.parametrize(
    ("observed", "draws", "p", "mean"),
    [
        (0.5, [0.2, 0.5, 0.6], 3 / 4, 1.3 / 3),
        (0.9, [0.2, 0.5, 0.6], 1 / 4, 1.3 / 3),
        (0.5, [0.2, np.nan, 0.4], 2 / 4, 0.3),  # without any overlap: counted as reached
        (np.nan, [0.2, 0.4], np.nan, 0.3),
        (0.5, [np.nan, np.nan], 1.0, np.nan),
    ],
)
def test_p_counts_the_observed_one_among_the_draws(observed, draws, p, mean):
    found = null_summary(observed, np.array(draws))
    assert found["p"] == pytest.approx(p, nan_ok=True)
    assert found["null_ratio"] == pytest.approx(mean, nan_ok=True)
