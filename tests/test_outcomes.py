"""What steering did, on small frames: every figure against a direct computation (D10 to D12)."""

import numpy as np
import pandas as pd
import pytest

from steplens import outcomes as measures
from steplens.atomic import write_parquet
from steplens.bootstrap import draw_counts
from steplens.control import control_rate
from steplens.languages import load_languages

LANGUAGES = load_languages()
SCRIPTS = {"deu": "Latin", "fra": "Latin", "jpn": "CJK"}
N_RESAMPLES, SEED = 60, 3
SENTENCES = {"deu": [4, 7, 9, 12, 20, 31], "fra": [4, 9, 12, 50], "jpn": [7, 9, 31]}
WORDS = {"Latin": ["ja", "das ist", "nein"], "CJK": ["本", "日本語", "行く"]}


def made_up(seed=1):
    """Outcomes of every pair, task, step and control; random in two seeds, some without a token."""
    generator = np.random.default_rng(seed)
    # The more steered, the more of the target's script.
    shares = {"unsteered": 0.05, "random": 0.15, "other_language": 0.3, "steered": 0.7}
    rows = []
    for task, step, source, target in [
        (task, step, source, target)
        for task in ("asr", "tr") for step in (6, 1)
        for source in SENTENCES for target in SENTENCES if source != target
    ]:  # fmt: skip
        for control, share in shares.items():
            for number in (0, 1) if control == "random" else (0,):
                for utterance in SENTENCES[source]:
                    words = [
                        generator.choice(WORDS[SCRIPTS[target if hit else source]])
                        for hit in generator.random(generator.integers(0, 6)) < share
                    ]
                    reference = " ".join(generator.choice(WORDS[SCRIPTS[source]], 3))
                    rows.append(
                        (task, step, source, target, control, number, utterance,
                         bool(generator.random() < 0.8), int(generator.integers(0, 20)),
                         " ".join(words), reference)
                    )  # fmt: skip
    columns = [*measures.CONDITION, "seed", "utterance", "ended", "longest_repeat", "text"]
    return pd.DataFrame(rows, columns=[*columns, "reference"])


OUTCOMES = made_up()


@pytest.fixture(scope="module")
def draws():
    return measures.Draws(OUTCOMES, N_RESAMPLES, SEED)


@pytest.fixture(scope="module")
def rated(draws):
    return measures.rate_draws(OUTCOMES, LANGUAGES, draws)


def condition(task, step, source, target, control):
    """The outcomes of one condition."""
    wanted = dict(zip(measures.CONDITION, (task, step, source, target, control), strict=True))
    return OUTCOMES[(OUTCOMES[list(wanted)] == pd.Series(wanted)).all(axis=1)]


def slow_rate(part):
    source, target = part[["source", "target"]].iloc[0]
    return control_rate(part["text"], SCRIPTS[target], SCRIPTS[source])


def resamples(source):
    """The sentences of each resample, as often as they were drawn."""
    sentences = sorted(SENTENCES[source])
    for counts in draw_counts(len(sentences), N_RESAMPLES, SEED, source):
        yield np.repeat(sentences, counts)


def resampled(part, sentences):
    """The outcomes of a condition, sentence by sentence as drawn."""
    by_sentence = dict(list(part.groupby("utterance")))
    return pd.concat([by_sentence[sentence] for sentence in sentences])


def interval(values):
    values = np.array(values, dtype=float)
    return tuple(np.percentile(values[np.isfinite(values)], [2.5, 97.5]))


def test_rates_pool_all_texts_of_a_condition_over_random_seeds(rated):
    table = measures.control_rates(rated)
    for row in table.itertuples():
        part = condition(row.task, row.step, row.source, row.target, row.control)
        assert row.rate == pytest.approx(slow_rate(part), rel=1e-12)
        seeds = 2 if row.control == "random" else 1
        assert row.n_texts == len(part) == seeds * len(SENTENCES[row.source])
        assert row.n_without_script == sum(
            np.isnan(slow_rate(part[i : i + 1])) for i in range(len(part))
        )


def test_rates_are_those_of_pairs_of_different_script_sorted(rated):
    table = measures.control_rates(rated)
    pairs = [("deu", "jpn"), ("fra", "jpn"), ("jpn", "deu"), ("jpn", "fra")]
    assert list(table[measures.CONDITION].itertuples(index=False, name=None)) == [
        (task, step, *pair, control)
        for task in ("asr", "tr") for step in (1, 6)
        for pair in pairs for control in measures.CONTROLS
    ]  # fmt: skip


def test_the_interval_of_a_rate_is_that_of_a_literal_bootstrap(rated):
    table = measures.control_rates(rated)
    for row in table[table["control"].isin(["random", "steered"])][::5].itertuples():
        part = condition(row.task, row.step, row.source, row.target, row.control)
        rates = [slow_rate(resampled(part, drawn)) for drawn in resamples(row.source)]
        assert (row.ci_low, row.ci_high) == pytest.approx(interval(rates), abs=1e-12)


@pytest.mark.parametrize("baseline", ["unsteered", "random", "other_language"])
@pytest.mark.parametrize(
    ("direction", "pairs"),
    [
        ("Latin to CJK", [("deu", "jpn"), ("fra", "jpn")]),
        ("CJK to Latin", [("jpn", "deu"), ("jpn", "fra")]),
    ],
)
def test_an_effect_is_the_mean_difference_of_the_pairs_and_its_bootstrap(
    rated, direction, pairs, baseline
):
    """In each resample one draw of a source's sentences serves both conditions."""
    found = measures.effects(rated, LANGUAGES)
    (row,) = found[
        (found["task"] == "tr") & (found["step"] == 6)
        & (found["direction"] == direction) & (found["baseline"] == baseline)
    ].itertuples()  # fmt: skip
    parts = [[condition("tr", 6, *pair, c) for c in ("steered", baseline)] for pair in pairs]
    difference = np.mean([slow_rate(one) - slow_rate(other) for one, other in parts])
    assert row.difference == pytest.approx(difference, abs=1e-12)
    assert row.n_pairs == 2
    drawn = [
        [slow_rate(resampled(one, d)) - slow_rate(resampled(other, d)) for d in resamples(source)]
        for (source, _), (one, other) in zip(pairs, parts, strict=True)
    ]
    expected = interval(np.mean(drawn, axis=0))
    assert (row.ci_low, row.ci_high) == pytest.approx(expected, abs=1e-12)


def test_effects_stand_once_for_each_task_step_direction_and_baseline(rated):
    found = measures.effects(rated, LANGUAGES)
    assert len(found) == 2 * 2 * 2 * 3
    assert not found.duplicated(["task", "step", "direction", "baseline"]).any()


def test_a_pair_without_a_rate_is_left_out_of_the_mean():
    """No output of French has a token in either script: the mean is that of German alone."""
    outcomes = OUTCOMES.copy()
    outcomes.loc[outcomes["source"] == "fra", "text"] = "…"
    rated = measures.rate_draws(outcomes, LANGUAGES, measures.Draws(outcomes, N_RESAMPLES, SEED))
    found = measures.effects(rated, LANGUAGES)
    row = found[(found[["task", "step", "direction", "baseline"]]
                 == ["asr", 1, "Latin to CJK", "random"]).all(axis=1)].iloc[0]  # fmt: skip
    steered, random = (condition("asr", 1, "deu", "jpn", c) for c in ("steered", "random"))
    assert row["difference"] == pytest.approx(slow_rate(steered) - slow_rate(random), abs=1e-12)
    assert row["n_pairs"] == 1
    assert np.isfinite([row["ci_low"], row["ci_high"]]).all()


def test_ratios_are_tr_over_asr_of_the_steered_condition_with_a_paired_bootstrap(rated):
    found = measures.ratios(rated, min_source_rate=0.10)
    columns = ["source", "target", "step", "asr", "tr", "ratio", "ci_low", "ci_high"]
    assert list(found.columns) == columns
    assert len(found) == 8
    for row in found[::3].itertuples():
        asr, tr = (condition(t, row.step, row.source, row.target, "steered") for t in ("asr", "tr"))
        assert row.ratio == pytest.approx(slow_rate(tr) / slow_rate(asr), rel=1e-12)
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = [
                np.divide(slow_rate(resampled(tr, d)), slow_rate(resampled(asr, d)))
                for d in resamples(row.source)
            ]
        assert (row.ci_low, row.ci_high) == pytest.approx(interval(drawn), abs=1e-12)


def test_the_mean_ratio_of_a_step_is_that_of_its_pairs_with_their_joint_bootstrap(rated):
    found = measures.mean_ratios(rated, min_source_rate=0.10)
    pairs = measures.ratios(rated, min_source_rate=0.10)
    assert found["step"].tolist() == [1, 6]
    assert found["n_pairs"].tolist() == pairs.groupby("step").size().tolist()
    np.testing.assert_allclose(found["ratio"], pairs.groupby("step")["ratio"].mean())
    row, drawn = found.iloc[1], []
    for source, target in pairs[pairs["step"] == 6][["source", "target"]].to_numpy():
        asr, tr = (condition(task, 6, source, target, "steered") for task in ("asr", "tr"))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = [
                np.divide(slow_rate(resampled(tr, d)), slow_rate(resampled(asr, d)))
                for d in resamples(source)
            ]
        drawn.append(np.where(np.isfinite(ratio), ratio, np.nan))
    expected = interval(np.nanmean(drawn, axis=0))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(expected, abs=1e-12)


def test_pairs_below_the_threshold_have_no_ratio(rated):
    asr = [row["rate"] for row, _ in rated if (row["control"], row["task"]) == ("steered", "asr")]
    threshold = float(np.median(asr))
    found = measures.ratios(rated, threshold)
    assert len(found) == sum(rate >= threshold for rate in asr) < len(asr)
    assert measures.ratios(rated, 1.1).empty


@pytest.mark.parametrize(
    "function",
    [
        lambda: measures.control_rates([]),
        lambda: measures.ratios([], 0.1),
        lambda: measures.effects([], LANGUAGES),
    ],
)
def test_languages_of_one_script_give_empty_tables_with_columns(function):
    table = function()
    assert table.empty
    assert len(table.columns) > 5


def test_quality_by_hand():
    """Edits: "abc" to "abd" 1, "abcd" to "" 4, "xy" to "xyzz" 2; 7 edits over 9 characters."""
    rows = [
        ("asr", 1, "deu", "jpn", "steered", 0, 1, True, 11, "abd", "abc"),
        ("asr", 1, "deu", "jpn", "steered", 0, 2, False, 12, "", "abcd"),
        ("asr", 1, "deu", "jpn", "steered", 0, 3, True, 40, "xyzz", "xy"),
        ("asr", 1, "deu", "jpn", "unsteered", 0, 1, True, 0, "abc", "abc"),
    ]
    outcomes = pd.DataFrame(rows, columns=OUTCOMES.columns)
    found = measures.quality(outcomes, measures.Draws(outcomes, N_RESAMPLES, SEED), 12)
    assert found["control"].tolist() == ["unsteered", "steered"]
    plain, steered = found.to_dict("records")
    assert (plain["cer"], plain["degenerate_share"], plain["unfinished_share"]) == (0, 0, 0)
    assert steered["cer"] == pytest.approx(7 / 9)
    assert steered["degenerate_share"] == pytest.approx(2 / 3)
    assert steered["unfinished_share"] == pytest.approx(1 / 3)
    assert steered["n_texts"] == 3
    edits, characters = np.array([1, 4, 2]), np.array([3, 4, 2])
    counts = draw_counts(3, N_RESAMPLES, SEED, "deu")
    expected = interval((counts * edits).sum(1) / (counts * characters).sum(1))
    assert (steered["cer_low"], steered["cer_high"]) == pytest.approx(expected, abs=1e-12)
    expected = interval((counts * [0, 1, 1]).sum(1) / 3)
    found = steered["degenerate_low"], steered["degenerate_high"]
    assert found == pytest.approx(expected, abs=1e-12)


def test_quality_of_empty_references_is_nan():
    rows = [("asr", 1, "deu", "jpn", "steered", 0, n, True, 0, "abc", "") for n in (1, 2)]
    outcomes = pd.DataFrame(rows, columns=OUTCOMES.columns)
    found = measures.quality(outcomes, measures.Draws(outcomes, N_RESAMPLES, SEED), 12)
    assert found[["cer", "cer_low", "cer_high"]].isna().all(axis=None)


def test_one_draw_of_sentences_serves_all_conditions_of_a_source(draws):
    """The sums of a sentence's indicator are how often it was drawn, whatever else is summed."""
    for source, sentences in SENTENCES.items():
        counts = draw_counts(len(sentences), N_RESAMPLES, SEED, source)
        for position, sentence in enumerate(sorted(sentences)):
            found = draws.weighted_sums(source, np.array([sentence]), np.ones(1))
            np.testing.assert_array_equal(found, counts[:, position])


def test_weighted_sums_add_all_outcomes_of_a_drawn_sentence(draws):
    """Two outputs of sentence 9 and one of 50; values of any trailing shape."""
    values = np.array([[1.0, 10], [2, 20], [4, 40]])
    found = draws.weighted_sums("fra", np.array([9, 50, 9]), values)
    counts = draw_counts(4, N_RESAMPLES, SEED, "fra")  # sentences 4, 9, 12, 50
    np.testing.assert_allclose(found, counts[:, [1]] * [5, 50] + counts[:, [3]] * [2, 20])


def test_gathering_puts_the_unsteered_text_beside_each_steered_one(tmp_path):
    plain = pd.DataFrame(
        {
            "utterance": [1, 2, 3],
            "text": ["eins", "zwei", "drei"],
            "tokens": [[5, 6], [7, 7, 7], [8]],
            "ended": [True, False, True],
        }
    )
    steered = pd.DataFrame(
        [("asr", 6, "deu", target, control, 0, utterance, True, 2, f"{control} {utterance}")
         for target in ("jpn", "fra") for control in ("steered", "random") for utterance in (2, 1)],
        columns=OUTCOMES.columns[:-1],
    )  # fmt: skip
    write_parquet(plain, tmp_path / "plain.parquet")
    write_parquet(steered, tmp_path / "steered.parquet")
    found = measures.gather(
        [tmp_path / "steered.parquet"], {("asr", "deu"): tmp_path / "plain.parquet"}
    )
    assert list(found.columns) == list(OUTCOMES.columns)
    assert found["reference"].tolist() == found["utterance"].map({1: "eins", 2: "zwei"}).tolist()
    unsteered = found[found["control"] == "unsteered"]
    assert unsteered[["target", "utterance", "text", "ended", "longest_repeat"]].to_numpy().tolist() == [
        [target, *row] for target in ("jpn", "fra")
        for row in ([2, "zwei", False, 3], [1, "eins", True, 0])
    ]  # fmt: skip
    pd.testing.assert_frame_equal(
        found[found["control"] != "unsteered"][steered.columns].reset_index(drop=True), steered
    )
