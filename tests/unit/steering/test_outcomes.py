"""What steering did, on small frames: every figure against a direct computation (D10 to D12)."""

import re

import numpy as np
import pandas as pd
import pytest
from conftest import write_table
from slow_outcomes import (
    LANGUAGES,
    N_RESAMPLES,
    OUTCOMES,
    SEED,
    SENTENCES,
    condition,
    made_up,
    slow_rate,
)

from steplens.control import PAIRS_OF_THE_PAPER
from steplens.errors import TableError
from steplens.files.atomic import write_csv
from steplens.statistics.bootstrap import SentenceDraws, draw_counts
from steplens.steering import outcomes as measures

ALL_SENTENCES = sorted({one for own in SENTENCES.values() for one in own})


@pytest.fixture(scope="module")
def draws():
    return measures.Draws(OUTCOMES, N_RESAMPLES, SEED)


@pytest.fixture(scope="module")
def rated(draws):
    return measures.rate_draws(OUTCOMES, LANGUAGES, draws)


def resamples():
    """The sentences of each resample, as often as they were drawn: the same for every language."""
    for counts in SentenceDraws(np.array(ALL_SENTENCES), N_RESAMPLES, SEED).of(ALL_SENTENCES):
        yield np.repeat(ALL_SENTENCES, counts)


def resampled(part, sentences):
    """The outcomes of a condition, sentence by sentence as drawn; what it lacks counts for nothing."""
    by_sentence = dict(list(part.groupby("utterance")))
    drawn = [by_sentence[sentence] for sentence in sentences if sentence in by_sentence]
    return pd.concat(drawn) if drawn else part.head(0)


def quotient(over, under):
    """0 / 0 has no value, x / 0 is infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(over, under)


def interval(values):
    """Linear between neighbours; what has no value is left out, what is infinite counts as infinite."""
    values = sorted(value for value in values if not np.isnan(value))
    ends = []
    for share in (0.025, 0.975):
        place = share * (len(values) - 1)
        below, above = values[int(np.floor(place))], values[int(np.ceil(place))]
        part = place - np.floor(place)
        if np.isinf([below, above]).any():  # the outer of the two
            ends.append(below if share < 0.5 else above)
        else:
            ends.append(below + part * (above - below))
    return tuple(ends)


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
        rates = [slow_rate(resampled(part, drawn)) for drawn in resamples()]
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
    """In each resample one draw of sentences serves both conditions, and both source languages."""
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
        [slow_rate(resampled(one, d)) - slow_rate(resampled(other, d)) for d in resamples()]
        for one, other in parts
    ]
    # Over the pairs that have a rate in the resample, as the estimate is over those that have one.
    expected = interval([known_mean(one) for one in zip(*drawn, strict=True)])
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


def test_a_resample_without_a_rate_of_one_pair_averages_the_others():
    """French has tokens in one sentence only, which a third of the resamples lack."""
    outcomes = OUTCOMES.copy()
    only = outcomes.loc[outcomes["source"] == "fra", "utterance"].iloc[0]
    outcomes.loc[(outcomes["source"] == "fra") & (outcomes["utterance"] != only), "text"] = "…"
    outcomes.loc[(outcomes["source"] == "fra") & (outcomes["utterance"] == only), "text"] = "le 本"
    rated = measures.rate_draws(outcomes, LANGUAGES, measures.Draws(outcomes, N_RESAMPLES, SEED))
    drawn = {row["source"]: steered - rated_of(rated, row, "random")
             for row, steered in rated
             if (row["task"], row["step"], row["target"], row["control"]) == ("asr", 1, "jpn", "steered")
             and row["source"] in ("deu", "fra")}  # fmt: skip
    assert np.isnan(drawn["fra"]).any()
    expected = [known_mean(pair) for pair in zip(*drawn.values(), strict=True)]
    found = measures.effects(rated, LANGUAGES)
    row = found[(found[["task", "step", "direction", "baseline"]]
                 == ["asr", 1, "Latin to CJK", "random"]).all(axis=1)].iloc[0]  # fmt: skip
    assert row["n_pairs"] == 2
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(interval(expected), abs=1e-12)


def known_mean(values):
    known = [value for value in values if not np.isnan(value)]
    return sum(known) / len(known) if known else np.nan


def rated_of(rated, row, control):
    return next(
        drawn
        for one, drawn in rated
        if [one[name] for name in measures.CONDITION]
        == [*(row[name] for name in measures.CONDITION[:4]), control]
    )


def test_ratios_are_tr_over_asr_of_the_steered_condition_with_a_paired_bootstrap(rated):
    found = measures.ratios(rated, min_source_rate=0.10)
    columns = ["source", "target", "step", "asr", "tr", "ratio", "ci_low", "ci_high"]
    assert list(found.columns) == columns
    assert len(found) == 8
    for row in found[::3].itertuples():
        asr, tr = (condition(t, row.step, row.source, row.target, "steered") for t in ("asr", "tr"))
        assert row.ratio == pytest.approx(slow_rate(tr) / slow_rate(asr), rel=1e-12)
        drawn = [
            quotient(slow_rate(resampled(tr, d)), slow_rate(resampled(asr, d))) for d in resamples()
        ]
        assert (row.ci_low, row.ci_high) == pytest.approx(interval(drawn), abs=1e-12)


def test_the_mean_ratio_of_a_step_is_that_of_its_pairs_with_their_joint_bootstrap(rated):
    found = measures.mean_ratios(rated, min_source_rate=0.10)
    found = found[found["pairs"] == "all"]
    pairs = measures.ratios(rated, min_source_rate=0.10)
    assert found["step"].tolist() == [1, 6]
    assert found["n_pairs"].tolist() == pairs.groupby("step").size().tolist()
    np.testing.assert_allclose(found["ratio"], pairs.groupby("step")["ratio"].mean())
    row, drawn = found.iloc[1], []
    for source, target in pairs[pairs["step"] == 6][["source", "target"]].to_numpy():
        asr, tr = (condition(task, 6, source, target, "steered") for task in ("asr", "tr"))
        drawn.append(
            [
                quotient(slow_rate(resampled(tr, d)), slow_rate(resampled(asr, d)))
                for d in resamples()
            ]
        )
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
    counts = SentenceDraws(np.array([1, 2, 3]), N_RESAMPLES, SEED).of([1, 2, 3])
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


def test_one_draw_of_sentences_serves_all_conditions_and_languages(draws):
    """The sums of a sentence's indicator are how often it was drawn, whatever else is summed."""
    counts = SentenceDraws(np.array(ALL_SENTENCES), N_RESAMPLES, SEED).of(ALL_SENTENCES)
    for position, sentence in enumerate(ALL_SENTENCES):
        found = draws.weighted_sums(np.array([sentence]), np.ones(1))
        np.testing.assert_array_equal(found, counts[:, position])


def test_weighted_sums_add_all_outcomes_of_a_drawn_sentence(draws):
    """Two outputs of sentence 9 and one of 50; values of any trailing shape."""
    values = np.array([[1.0, 10], [2, 20], [4, 40]])
    found = draws.weighted_sums(np.array([9, 50, 9]), values)
    counts = SentenceDraws(np.array(ALL_SENTENCES), N_RESAMPLES, SEED).of([9, 50])
    np.testing.assert_allclose(found, counts[:, [0]] * [5, 50] + counts[:, [1]] * [2, 20])


def planted(shared, n=400):
    """Steered outputs of two source languages: of 20 tokens, how many are Japanese hangs on the sentence.

    ``shared`` is the share of the variance between sentences that both languages have in common.
    Also the share of Japanese by language and sentence, (2, n).
    """
    generator = np.random.default_rng(4)
    content, own = generator.normal(size=n), generator.normal(size=(2, n))
    counts = np.clip(np.round(10 + 3 * (shared**0.5 * content + (1 - shared) ** 0.5 * own)), 0, 20)
    rows = [
        ("asr", 6, source, "jpn", control, 0, number, True, 0,
         " ".join(["本"] * japanese + ["a"] * (20 - japanese)), "a")
        for source, of_source in zip(("deu", "fra"), counts.astype(int).tolist(), strict=True)
        for number, japanese_ones in enumerate(of_source)
        for control, japanese in (("steered", japanese_ones), ("unsteered", 0))
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=OUTCOMES.columns), counts / 20


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_what_a_sentence_does_to_both_source_languages_widens_the_interval_of_their_mean(shared):
    """By the square root of one plus the correlation, against draws of each language apart."""
    outcomes, rates = planted(shared)
    draws = measures.Draws(outcomes, 4000, SEED)
    found = measures.effects(measures.rate_draws(outcomes, LANGUAGES, draws), LANGUAGES)
    (row,) = found[found["baseline"] == "unsteered"].itertuples()
    width = row.ci_high - row.ci_low
    n = rates.shape[1]
    expected = 2 * 1.96 * rates.mean(0).std() / n**0.5
    assert width == pytest.approx(expected, rel=0.06)
    apart = [
        draw_counts(n, 4000, SEED, source) @ one / n
        for source, one in zip(("deu", "fra"), rates, strict=True)
    ]
    low, high = np.percentile(np.mean(apart, axis=0), [2.5, 97.5])
    correlation = np.corrcoef(rates)[0, 1]
    assert width / (high - low) == pytest.approx((1 + correlation) ** 0.5, rel=0.08)


def with_rare_asr(**texts):
    """One pair a keyword, ``source_target``: steered texts of four sentences in asr and tr."""
    rows = [
        (task, 6, *pair.split("_"), "steered", 0, number, True, 0, text, "a")
        for pair, tasks in texts.items()
        for task, written in tasks.items()
        for number, text in enumerate(written)
    ]
    return pd.DataFrame(rows, columns=OUTCOMES.columns)


# In a third of the resamples the one sentence in which asr wrote Japanese is not drawn.
RARE = {"asr": ["本 本 本", "a", "a", "a"], "tr": ["本 a"] * 4}
NEVER_INFINITE = {"asr": ["本 a"] * 4, "tr": ["本 a a"] * 4}


def test_a_ratio_to_nothing_is_infinite_and_so_is_a_mean_with_one(tmp_path):
    """Before, such resamples were left out: the interval ended at what the others gave."""
    outcomes = with_rare_asr(deu_jpn=RARE, fra_jpn=NEVER_INFINITE)
    draws = measures.Draws(outcomes, 400, SEED)
    rated = measures.rate_draws(outcomes, LANGUAGES, draws)
    tables = {
        "ratios": measures.ratios(rated, 0.1),
        "means": measures.mean_ratios(rated, 0.1).query("pairs == 'all'"),
    }
    for table in tables.values():
        write_csv(table, tmp_path / "table.csv")
        (row, *others) = pd.read_csv(tmp_path / "table.csv").itertuples()
        assert np.isfinite([row.ratio, row.ci_low]).all()
        assert row.ci_high == np.inf
        assert all(np.isfinite(one.ci_high) for one in others)
    assert tables["means"]["n_pairs"].tolist() == [2]


def test_nothing_over_nothing_has_no_value_and_is_left_out():
    """Both tasks wrote Japanese in one sentence alone: where it is not drawn there is no ratio."""
    both = {"asr": ["本 a", "a", "a", "a"], "tr": ["本", "a", "a", "a"]}
    outcomes = with_rare_asr(deu_jpn=both)
    rated = measures.rate_draws(outcomes, LANGUAGES, measures.Draws(outcomes, 400, SEED))
    for table in (measures.ratios(rated, 0.1), measures.mean_ratios(rated, 0.1)):
        assert np.isfinite(table[["ratio", "ci_low", "ci_high"]]).all(axis=None)


def test_without_a_lowest_rate_a_pair_of_two_noughts_is_no_pair_of_the_mean():
    nothing = {"asr": ["a"] * 4, "tr": ["a"] * 4}
    outcomes = with_rare_asr(deu_jpn=nothing, fra_jpn=NEVER_INFINITE)
    rated = measures.rate_draws(outcomes, LANGUAGES, measures.Draws(outcomes, 100, SEED))
    (row,) = measures.mean_ratios(rated, 0.0).query("pairs == 'all'").itertuples()
    assert row.ratio == pytest.approx(2 / 3)
    assert row.n_pairs == 1


def test_the_mean_ratio_over_the_paper_s_pairs_leaves_spanish_out():
    """Spanish is in the mean over all pairs; both say over how many pairs they are."""
    assert {
        ("deu", "cmn"), ("deu", "jpn"), ("fra", "cmn"), ("fra", "jpn"),
        ("cmn", "deu"), ("jpn", "deu"), ("cmn", "fra"), ("jpn", "fra"),
    } == PAIRS_OF_THE_PAPER  # fmt: skip
    spanish = made_up(seed=2).query("source == 'fra' or target == 'fra'").replace("fra", "spa")
    spanish = spanish[spanish["source"] != spanish["target"]]
    outcomes = pd.concat([OUTCOMES, spanish], ignore_index=True)
    rated = measures.rate_draws(outcomes, LANGUAGES, measures.Draws(outcomes, N_RESAMPLES, SEED))
    pairs = measures.ratios(rated, 0.10)
    found = measures.mean_ratios(rated, 0.10)
    assert list(zip(found["step"], found["pairs"], strict=True)) == [
        (step, name) for step in (1, 6) for name in ("all", "paper")
    ]
    for row in found.itertuples():
        part = pairs[pairs["step"] == row.step]
        if row.pairs == "paper":
            part = part[(part["source"] != "spa") & (part["target"] != "spa")]
        assert row.n_pairs == len(part) == {"all": 6, "paper": 4}[row.pairs]
        assert [row.asr, row.tr, row.ratio] == pytest.approx(part[["asr", "tr", "ratio"]].mean())
    # The paper's are those of a run without Spanish, to the last draw.
    without = measures.rate_draws(OUTCOMES, LANGUAGES, measures.Draws(outcomes, N_RESAMPLES, SEED))
    own = measures.mean_ratios(without, 0.10)
    columns = [one for one in own.columns if one != "pairs"]
    for name in ("all", "paper"):
        pd.testing.assert_frame_equal(
            own[own["pairs"] == name][columns].reset_index(drop=True),
            found[found["pairs"] == "paper"][columns].reset_index(drop=True),
        )


def test_without_a_pair_of_the_paper_there_is_no_mean_over_its_pairs():
    outcomes = with_rare_asr(spa_jpn=NEVER_INFINITE)
    rated = measures.rate_draws(outcomes, LANGUAGES, measures.Draws(outcomes, 100, SEED))
    assert measures.mean_ratios(rated, 0.1)["pairs"].tolist() == ["all"]
    empty = measures.mean_ratios(rated, 1.0)
    assert empty.empty
    assert "pairs" in empty.columns


def test_a_rate_by_characters_weighs_a_word_by_its_letters():
    outcomes = with_rare_asr(deu_jpn={"asr": ["本 abc", "été"], "tr": ["本 a"]})
    draws = measures.Draws(outcomes, 50, SEED)
    by_runs, by_characters = (
        {
            row["task"]: row["rate"]
            for row, _ in measures.rate_draws(outcomes, LANGUAGES, draws, *more)
        }
        for more in ((), ("characters",))
    )
    assert by_runs == {"asr": 1 / 3, "tr": 1 / 2}
    assert by_characters == {"asr": 1 / 7, "tr": 1 / 2}


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
    write_table(plain, tmp_path / "plain.parquet", task="asr", language="deu")
    write_table(steered, tmp_path / "steered.parquet", task="asr", source="deu", step=6)
    unsteered = {("asr", "deu"): tmp_path / "plain.parquet"}
    found = measures.gather({("asr", "deu", 6): tmp_path / "steered.parquet"}, unsteered)
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


def _steered(step=6, source="deu", utterances=(1, 2)):
    rows = [
        ("asr", step, source, "jpn", "steered", 0, one, True, 2, f"{step} {one}")
        for one in utterances
    ]
    return pd.DataFrame(rows, columns=OUTCOMES.columns[:-1])


@pytest.mark.parametrize(
    ("frame", "told", "words"),
    [
        (_steered(), {"step": 11}, "step: expected 6, got 11: a table of something else"),
        (_steered(), {"source": "fra"}, "source: expected 'deu', got 'fra'"),
        (_steered(), {"task": "tr"}, "task: expected 'asr', got 'tr'"),
        (_steered(step=11), {}, "step: expected 6 in every row, got 11 in 2 of 2"),
        (
            pd.concat([_steered(), _steered(source="fra", utterances=[3])]),
            {},
            "source: expected 'deu' in every row, got 'fra' in 1 of 3",
        ),
        (
            pd.concat([_steered(), _steered(utterances=[2])]),
            {},
            "expected each row once, got 1 twice, the first target jpn, control steered, seed 0, "
            "utterance 2",
        ),
    ],
)
def test_outputs_of_another_condition_or_twice_are_refused(tmp_path, frame, told, words):
    """The path says which condition it is: neither the table nor a row may say another."""
    plain = pd.DataFrame({"utterance": [1, 2, 3], "text": "a", "tokens": [[1]] * 3, "ended": True})
    write_table(plain, tmp_path / "plain.parquet", task="asr", language="deu")
    path = tmp_path / "steered.parquet"
    write_table(frame, path, **({"task": "asr", "source": "deu", "step": 6} | told))
    with pytest.raises(TableError, match=re.escape(f"{path}: {words}")):
        measures.gather({("asr", "deu", 6): path}, {("asr", "deu"): tmp_path / "plain.parquet"})


def test_sentences_decoded_of_another_condition_are_refused(tmp_path):
    plain = pd.DataFrame({"utterance": [1, 2], "text": "a", "tokens": [[1]] * 2, "ended": True})
    write_table(plain, tmp_path / "plain.parquet", task="tr", language="deu")
    path = tmp_path / "steered.parquet"
    write_table(_steered(), path, task="asr", source="deu", step=6)
    with pytest.raises(TableError, match=r"plain\.parquet: task: expected 'asr', got 'tr'"):
        measures.gather({("asr", "deu", 6): path}, {("asr", "deu"): tmp_path / "plain.parquet"})
