"""The simulation of coverage: its population, its intervals and its counting, against what must come out."""

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy.special import ndtr
from sklearn.metrics import average_precision_score

from benchmarks import coverage as simulation
from benchmarks.coverage import (
    INTERVALS,
    MARKS,
    SIZES,
    STATISTICS,
    STRENGTHS,
    Plan,
    coverage,
    estimate,
    planted_population,
    resampled,
    simulate,
    without_language_neurons,
)

SMALL = {"n_neurons": 240, "n_languages": 3, "k": 24}


def test_coverage_counts_the_intervals_that_hold_the_target():
    intervals = [(0.0, 1.0), (0.5, 0.7), (0.2, 0.3), (0.1, 0.2)]
    share, error = coverage(np.array(intervals), 0.2)
    assert share == 0.75  # ends count as inside
    assert error == pytest.approx(np.sqrt((5 / 8) * (3 / 8) / 8))


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_coverage_of_a_known_normal(shift):
    """Intervals x +- 1.96 about a target that lies ``shift`` away from the mean of x."""
    x = np.random.default_rng(1).standard_normal(20_000)
    share, error = coverage(np.stack([x - 1.96, x + 1.96], axis=1), shift)
    assert share == pytest.approx(ndtr(1.96 - shift) - ndtr(-1.96 - shift), abs=4 * error)
    assert error < 0.004


def test_intervals_of_normal_draws_have_their_closed_forms():
    """Draws with mean 0.3 and deviation 0.1, estimate 0.35: where each kind of interval must lie."""
    draws = 0.3 + 0.1 * np.random.default_rng(2).standard_normal(400_000)
    half = 1.96 * 0.1
    centres = {"percentile": 0.3, "centred": 0.35, "basic": 0.4, "bias-corrected": 0.4}
    assert list(centres) == list(INTERVALS)
    for name, centre in centres.items():
        found = INTERVALS[name](draws, 0.35)
        assert found == pytest.approx((centre - half, centre + half), abs=0.002)


def test_a_bias_corrected_interval_has_ends_where_all_draws_lie_on_one_side():
    low, high = INTERVALS["bias-corrected"](np.linspace(0.5, 0.6, 100), 0.4)
    assert 0.5 <= low <= high <= 0.6


def test_the_ap_of_infinitely_many_sentences_is_that_of_very_many():
    """Against scikit-learn on 20,000 sentences, whose AP has a standard error below 0.005."""
    population = planted_population(1.0, seed=3, **SMALL)
    n = 20_000
    drawn = population.draw(n, np.random.default_rng(4))[:, :, :12].astype(np.float64)
    labels = population.labels(n)
    expected = population.ap()[:, :, :12]
    for place, language, neuron in np.ndindex(*expected.shape):
        found = average_precision_score(labels == language, drawn[place, :, neuron])
        assert found == pytest.approx(expected[place, language, neuron], abs=0.02)


def test_ap_at_its_limits():
    """No effect: the share of the language. One language far above the others: 1."""
    population = planted_population(0.0, seed=3, **SMALL)
    np.testing.assert_allclose(population.ap(), 1 / 3, atol=1e-9)
    population.means[:, 0] = 30
    np.testing.assert_allclose(population.ap()[:, 0], 1, atol=1e-9)


@pytest.mark.parametrize(("shared", "crossed"), [(0.5, 0.25), (0.75, 0.0), (0.25, 0.5)])
def test_planted_shares_are_found_at_infinity_and_with_many_sentences(shared, crossed):
    """Where all other effects are small, the true ratio is shared / (shared + crossed)."""
    population = planted_population(
        2.0, seed=5, shared=shared, crossed=crossed, small=0.02, **SMALL
    )
    truth = population.truth()
    assert truth["ratio"] == pytest.approx(shared / (shared + crossed), abs=1e-9)
    found = estimate(population, population.draw(4000, np.random.default_rng(6)))
    assert found["ratio"] == pytest.approx(truth["ratio"], abs=0.03)


def test_estimates_come_to_the_truth_with_more_sentences():
    population = planted_population(2.0, seed=5, **SMALL)
    truth = population.truth()
    few, many = (
        estimate(population, population.draw(n, np.random.default_rng(6))) for n in (20, 4000)
    )
    for name in STATISTICS:
        assert abs(many[name] - truth[name]) < abs(few[name] - truth[name])
        assert many[name] == pytest.approx(truth[name], rel=0.05)


def test_the_true_ratio_hardly_depends_on_the_strength():
    """So that steps that differ in strength alone have the same truth."""
    ratios = [planted_population(one, 0).truth()["ratio"] for one in STRENGTHS.values()]
    assert np.ptp(ratios) < 0.03


def test_content_is_the_same_in_every_language_and_alike_in_speech_and_text():
    """Correlations of one neuron over sentences: between languages, modalities, and both."""
    population = planted_population(1.0, seed=7, content=0.5, wording=0.2, alike=0.8, **SMALL)
    n = 3000
    drawn = population.draw(n, np.random.default_rng(8)).astype(np.float64)
    speech, text = drawn.reshape(2, 3, n, -1)

    def correlation(one, other):
        one, other = ((each - each.mean(0)) / each.std(0) for each in (one, other))
        return (one * other).mean()

    np.testing.assert_allclose(speech.var(1), 1, atol=0.2)
    assert correlation(speech[0], speech[1]) == pytest.approx(0.5, abs=0.03)
    assert correlation(speech[0], text[0]) == pytest.approx(0.8 * 0.7, abs=0.03)
    assert correlation(speech[0], text[1]) == pytest.approx(0.8 * 0.5, abs=0.03)


def test_shares_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="n_neurons: expected at least 90"):
        planted_population(1.0, 0, n_neurons=80, n_languages=3, k=24)
    with pytest.raises(ValueError, match=r"at most 1 in all, got 0\.9 and 0\.5"):
        planted_population(1.0, 0, shared=0.9, crossed=0.5)


def mean_shifts_and_widths(content: float) -> pd.DataFrame:
    """Of the ratio by way of drawing: mean of the draws - estimate, and their standard deviation."""
    population = planted_population(0.5, seed=9, content=content, wording=0.1, **SMALL)
    rows = []
    for number in range(12):
        drawn = population.draw(40, np.random.default_rng([10, number]))
        value = estimate(population, drawn)["ratio"]
        for way, weights in simulation.WAYS.items():
            draws = resampled(population, drawn, weights(40, 3, 60, number))["ratio"]
            rows.append({"way": way, "shift": draws.mean() - value, "spread": draws.std()})
    return pd.DataFrame(rows).groupby("way").mean()


def test_without_content_both_ways_of_drawing_agree():
    """A sentence is then nothing that languages have in common."""
    found = mean_shifts_and_widths(content=0.0)
    assert found["shift"].diff().iloc[-1] == pytest.approx(0, abs=0.012)
    assert found["spread"].diff().iloc[-1] == pytest.approx(0, abs=0.006)


def test_with_content_draws_by_language_lie_higher_and_wider():
    """They give every language contents of its own, in speech and text alike: content looks like language."""
    found = mean_shifts_and_widths(content=0.8)
    assert found.loc["by language", "shift"] > found.loc["by sentence", "shift"] + 0.03
    assert found.loc["by language", "spread"] > found.loc["by sentence", "spread"]


def test_without_language_neurons_the_wording_alone_lifts_the_ratio_above_chance():
    """What a sentence says in its language is in speech and in text: 1 / 5 only where there is none of it."""
    found = without_language_neurons(Plan(sizes=(20,), n_sets=25, n_neurons=500, k=32))
    found = found.set_index("wording")
    assert found.loc[0.0, "ratio"] == pytest.approx(1 / 5, abs=4 * found.loc[0.0, "error"])
    assert found.loc[0.1, "ratio"] > 1 / 5 + 4 * found.loc[0.1, "error"]


TINY = Plan(("weak", "strong"), (10, 20), 4, 2, 5, 10, 500, 20, 3)


def test_a_small_simulation_gives_every_row_and_the_same_again():
    covered, estimates = (pd.concat(tables) for tables in zip(*simulate(TINY), strict=True))
    assert len(estimates) == 2 * 2 * 2  # strengths, sizes, statistics
    assert len(covered) == len(estimates) * 2 * len(INTERVALS) * 2  # ways of drawing, targets
    assert covered["coverage"].between(0, 1).all()
    assert covered.groupby("draws")["n_sets"].unique().map(list).to_dict() == {
        "by language": [2],
        "by sentence": [4],
    }
    # A part of the plan is the same part: no stream of random numbers depends on another.
    (_, alone), = simulate(Plan(("strong",), (20,), 4, 2, 5, 10, 500, 20, 3))  # fmt: skip
    both = estimates[(estimates["strength"] == "strong") & (estimates["n"] == 20)]
    pd.testing.assert_frame_equal(alone.reset_index(drop=True), both.reset_index(drop=True))


def test_the_command_writes_tables_and_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n", encoding="utf-8")
    simulation.main(
        "--strengths weak --sizes 10 --sets 3 --by-language 1 --mean-sets 3 --resamples 10 "
        f"--neurons 500 -k 20 --output {tmp_path / 'bench'} --write {page}".split()
    )
    for name in ("coverage", "estimates", "no_language_neurons"):
        assert len(pd.read_csv(tmp_path / "bench" / f"{name}.csv"))
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| weak | 10 |" in text
    assert "old" not in text


def test_a_page_without_marks_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("no marks\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md: expected the marks <!-- tables -->"):
        simulation.write_page(page, "tables")


def test_the_page_has_the_tables_of_every_strength_and_size():
    text = (ROOT / "docs" / "methods" / "intervals.md").read_text(encoding="utf-8")
    tables = text.partition(MARKS[0])[2].partition(MARKS[1])[0]
    for strength in STRENGTHS:
        for n in SIZES:  # estimates and coverage of the ratio and of the concentration
            assert tables.count(f"| {strength} | {n:,} |") == 4
