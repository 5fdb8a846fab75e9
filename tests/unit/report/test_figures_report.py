"""Figures repeat to the byte and say what their tables say; the report is whole, in one file."""

import re
import shutil
from pathlib import Path

import made_up_run
import numpy as np
import pandas as pd
import pytest
from made_up_run import LANGUAGES, NAMES, STEPS, frames, report_files
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from steplens.errors import ReportError
from steplens.figures import (
    learning_curve,
    location,
    overlap,
    reliability,
    sensitivity,
    spearman,
    speech,
    steering,
    style,
)
from steplens.files.atomic import read_csv, write_csv
from steplens.report import page
from steplens.report.findings import collapse, null, sharing, stability, transfer
from steplens.report.findings import learning_curve as curve_findings
from steplens.report.findings import steering as steering_findings
from steplens.report.formatting import Formatter, points, two_decimals
from steplens.report.formatting import number as three_digits
from steplens.wording import percent

SUMMARY = "comparison/overlap_summary.csv"


def _draw_all() -> dict[str, Figure]:
    table = {Path(name).stem: frame for name, frame in frames().items()}
    rates = table["control_rates"]
    rates["direction"] = np.where(rates["target"] == "jpn", "Latin to CJK", "CJK to Latin")
    return {
        "figure2": location.draw_encoders(table["location"], NAMES),
        "figure3": location.draw_decoder(table["location"], NAMES),
        "figure4": overlap.draw(table["overlap"], table["overlap_summary"], NAMES),
        "figure5": spearman.draw(table["spearman"], table["spearman_summary"], NAMES),
        "figure6": sensitivity.draw(table["sensitivity"]),
        "figure7": steering.draw(rates, LANGUAGES),
        "figure8": steering.draw_quality(table["quality"]),
        "figure9": speech.draw_quality(table["speech_quality"], NAMES),
        "figure10": speech.draw_sources(table["speech_sources"]),
        "figure11": reliability.draw(
            table["stability"], table["null_ratio"], table["overlap_summary"]
        ),
        "figure20": learning_curve.draw(table["learning_curve"]),
    }


def _texts(figure: Figure) -> str:
    found = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return "\n".join(artist.get_text() for artist in found)


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    return _draw_all()


@pytest.fixture(scope="module")
def finished_run(figures, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "small"
    for name, frame in frames().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_csv(frame, folder / name)
    for name, figure in figures.items():
        style.save(figure, folder / "figures" / name)
    return folder


def _report(
    folder: Path, output: Path, model: str = "small model", with_sources: bool = False
) -> str:
    provenance = {"Model": model, "languages": LANGUAGES, "steps": STEPS}
    settings = {"run": "small", "folder": Path("results"), "steps": (1, 6)}
    page.write_report(
        **report_files(folder), output=output, settings=settings, versions={"python": "3.x"},
        provenance=provenance, with_sources=with_sources,
    )  # fmt: skip
    return output.read_text(encoding="utf-8")


def test_figures_are_the_same_bytes_in_two_runs(finished_run, tmp_path):
    for name, figure in _draw_all().items():
        style.save(figure, tmp_path / name)
        for kind in ("svg", "png"):
            first = (finished_run / "figures" / f"{name}.{kind}").read_bytes()
            assert len(first) > 1000
            assert (tmp_path / f"{name}.{kind}").read_bytes() == first, f"{name}.{kind}"


def test_the_last_bits_of_a_layout_are_not_seen(tmp_path, monkeypatch):
    """The solver's differ from process to process, and SVG names clipping rectangles by all bits."""
    settle = style._settle

    def save(name: str, shift: float) -> list[bytes]:
        figure = style.new_figure(4, 3)
        above, below = figure.subfigures(2, 1)
        for axes in (above.subplots(), *below.subplots(1, 2)):
            axes.plot([0, 1], [0, 1])

        def jiggle(figure):
            for part in figure.subfigs:
                part.bbox_relative.set_points(part.bbox_relative.get_points() + shift)
            for axes in figure.axes:
                left, bottom, width, height = axes.get_position(original=True).bounds
                axes.set_position((left + shift, bottom - shift, width + 2 * shift, height))
            settle(figure)

        monkeypatch.setattr(style, "_settle", jiggle)
        style.save(figure, tmp_path / name)
        return [(tmp_path / f"{name}.{kind}").read_bytes() for kind in ("svg", "png")]

    assert save("one", 1e-13) == save("other", -1e-13)


def test_drawing_leaves_a_readers_settings_alone(figures):
    import matplotlib

    before = dict(matplotlib.rcParams)
    sensitivity.draw(frames()["comparison/sensitivity.csv"])
    assert dict(matplotlib.rcParams) == before


def test_overlap_titles_hold_ratio_interval_and_p(figures):
    texts = _texts(figures["figure4"]).replace("\n", " ")
    assert "t = 1: diagonal ratio 56.6 % [50.1, 60.2], p = 0.167" in texts
    assert "t = 6: diagonal ratio 40.0 % [35.0, 45.0], p < 0.001" in texts
    assert "text (t2t) top-50" in texts
    assert "speech (s2t) top-50" in texts


def test_overlap_refuses_several_k():
    table = frames()
    mixed = table["comparison/overlap.csv"].assign(k=[50, 60] * 9)
    with pytest.raises(ValueError, match="k: expected one value"):
        overlap.draw(mixed, table["comparison/overlap_summary.csv"], NAMES)


def test_spearman_says_where_a_correlation_is_negative(figures):
    texts = _texts(figures["figure5"])
    assert "22.9 % [21.0, 24.0]\n(chance 33.3 %)" in texts
    assert "−0.12" in texts
    assert "negative at t = 6:" in texts


def test_decoder_marks_projections_of_encoder_states(figures):
    note = "* projections of encoder states: the same at every step"
    assert "cross_attention.k_proj*" in _texts(figures["figure3"])
    assert note in _texts(figures["figure3"])
    assert note not in _texts(figures["figure2"])


def test_enrichment_is_count_over_expected(figures):
    image = figures["figure2"].axes[0].images[0]
    # Layer 0 has no neuron, drawn as half of one; layer 1 has 3 where chance has 2.
    assert np.allclose(image.get_array(), [[0.25, 1.5], [0.25, 1.5]])
    assert image.norm(1.0) == pytest.approx(0.5)


def test_sensitivity_labels_chance(figures):
    legend = _texts(figures["figure6"])
    assert "chance, 33.3 %" in legend
    assert "p ≥ 0.05" in legend


def test_steering_shows_means_over_pairs_in_percent(figures):
    axes = figures["figure7"].axes[0]
    assert "Latin to CJK, 2 pairs" in axes.get_title()
    steered = next(line for line in axes.lines if line.get_label() == "steered")
    assert np.allclose(steered.get_ydata(), 35.0)


def _bars(axes, colour):
    """Ends of the vertical bars of one colour."""
    return [
        segment[:, 1].tolist()
        for bars in axes.collections
        if to_hex(bars.get_color()[0]) == colour.lower()
        for segment in bars.get_segments()
    ]


def test_steering_shows_the_range_over_seeds_of_random_neurons_alone(figures):
    """Lowest and highest seed, mean over the pairs; in the first panel random neurons have 15 %."""
    axes = figures["figure7"].axes[0]
    assert np.allclose(_bars(axes, style.BLUE), [[13, 19], [13, 19]])
    assert all(not _bars(axes, other) for other in (style.GREY, style.ORANGE, style.VERMILION))


def test_report_has_the_effect_against_each_seed_of_random_neurons(finished_run, tmp_path):
    html = _report(finished_run, tmp_path / "report.html")
    assert "by seed of random neurons (points)" in html
    assert "+0.5 to +7.0, 3 seeds" in html


def test_reliability_shows_means_ranges_and_the_null_beside_the_observed(figures):
    left, right = figures["figure11"].axes
    lines = {line.get_label(): line for line in [*left.lines, *right.lines]}
    assert np.allclose(lines["speech, two halves"].get_ydata(), 80)
    assert np.allclose(lines["the same, corrected for chance and noise"].get_ydata(), 40)
    assert np.allclose(lines["observed"].get_ydata(), [56.64, 40])
    assert np.allclose(lines["shuffled, speech and text together"].get_ydata(), [45, 39])
    assert np.allclose(_bars(left, style.BLUE), [[75, 85]] * 2)
    assert np.allclose(_bars(right, style.SKY), [[35, 55], [29, 49]])
    assert "chance, 2.0 %" in lines
    assert "chance, 33.3 %" in lines


def test_findings_say_how_reliable_the_neurons_are():
    plain = "\n".join(
        [*stability(made_up_run.stability()), *null(made_up_run.null_ratio())]
    ).replace("\xa0", " ")
    assert "At t = 1, two halves of the sentences agree on 80.0 % of a language's top-50" in plain
    assert "on 70.0 % in text (chance 2.0 %)" in plain
    assert "with a half of text on 30.0 %; corrected" in plain
    assert "speech and text share 40.0 %." in plain
    first, second = null(made_up_run.null_ratio())
    assert "apart it is 33.3 % [23.3, 43.3] (p = 0.0244, 40 shuffles): the ratio is above" in first
    assert "not distinguishable" not in first
    assert "above what chance gives" in second
    assert "(p = 0.3, 40 shuffles): the ratio is not distinguishable from what speech" in second


def test_halvings_without_a_corrected_overlap_are_counted_in_figure_and_findings():
    table = made_up_run.stability()
    own = (table["measure"] == "corrected") & (table["step"] == 6)
    table.loc[own & (table["language"] == "deu"), "n_without"] = 4
    table.loc[own & (table["language"] == "mean"), "n_without"] = 4
    figure = reliability.draw(table, made_up_run.null_ratio(), frames()[SUMMARY])
    assert "corrected for chance and noise\n(no value in 4 of 60)" in _texts(figure)
    first, second = stability(table)
    assert "without" not in first
    assert "(without 4 of 30 halvings of a language, where a half of speech or of text" in second


def test_a_corrected_overlap_that_has_no_value_anywhere_is_said_to_have_none():
    table = made_up_run.stability()
    own = table["measure"] == "corrected"
    table.loc[own, ["share", "share_low", "share_high"]] = np.nan
    table.loc[own, "n_without"] = np.where(table.loc[own, "language"] == "mean", 30, 10)
    figure = reliability.draw(table, made_up_run.null_ratio(), frames()[SUMMARY])
    assert "(no value in 60 of 60)" in _texts(figure)
    assert "has no value: everywhere a half" in stability(table)[0]
    assert "nan" not in stability(table)[0]


def test_the_learning_curve_shows_every_measure_by_sentences_one_line_a_step(figures):
    figure = figures["figure20"]
    ratio, halves, corrected = figure.axes
    drawn = [
        line for line in ratio.lines if len(line.get_xdata()) == 4 and line.get_linestyle() == "-"
    ]
    assert np.allclose([line.get_ydata() for line in drawn], [[40, 45, 50, 55], [30, 35, 40, 45]])
    for line in drawn:  # beside each other, by a few percent
        assert np.allclose(line.get_xdata(), [8, 15, 30, 60], rtol=0.04)
    assert np.allclose(_bars(ratio, style.LINES[0]), [[34, 46], [39, 51], [44, 56], [49, 61]])
    assert ratio.get_xscale() == "log"
    assert [label.get_text() for label in ratio.get_xticklabels()] == ["8", "15", "30", "60"]
    dashed = [axes.lines[-1] for axes in (ratio, halves, corrected)]
    assert len({line.get_linestyle() for line in halves.lines} & {"-", ":"}) == 2
    assert len(dashed) == 3
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["t = 1", "t = 6", "within speech", "within text", "chance"]


def test_points_of_which_some_subset_has_no_value_are_hollow():
    table = made_up_run.learning_curve()
    few = (table["n_sentences"] == 8) & (table["step"] == 6)
    table.loc[few, "n_left_out"] = 5
    table.loc[few, ["value", "value_low", "value_high"]] = np.nan
    table.loc[(table["n_sentences"] == 15) & (table["step"] == 6), "n_left_out"] = 1
    figure = learning_curve.draw(table)
    hollow = [
        line
        for line in figure.axes[0].lines
        if line.get_markerfacecolor() == "white" and len(line.get_xdata())
    ]
    assert [len(line.get_xdata()) for line in hollow] == [2]
    assert "not all subsets have a value" in _texts(figure)


def test_findings_say_in_which_order_the_steps_stand_at_every_number_of_sentences():
    table = made_up_run.learning_curve()
    order, unsure, change = (one.replace("\xa0", " ") for one in curve_findings(table))
    # At 8 sentences 34 to 46 and 24 to 36, for example.
    assert unsure == (
        "Ranges over subsets of t = 1 and t = 6 overlap at 8, 15 and 30 sentences: with other sentences "
        "these two might change places."
    )
    assert len(curve_findings(table.assign(value_high=table["value"]))) == 2
    assert order == (
        "The order of the steps by diagonal ratio (1 > 6) is the same at 8, 15, 30 and 60 sentences."
    )
    assert change == (
        "From 30 to 60 sentences the ratio changes by +5.0 points at t = 1 and +5.0 points at t = 6: "
        "every ratio here is the ratio at 60 sentences, not that of ever more."
    )
    table.loc[(table["step"] == 6) & (table["n_sentences"] == 15), "value"] = 0.6
    turned = curve_findings(table)[0]
    assert "changes with the number of sentences: 1 > 6 at 8, 30 and 60, 6 > 1 at 15." in turned


def test_findings_count_the_subsets_that_are_left_out():
    table = made_up_run.learning_curve()
    few = (table["n_sentences"] == 8) & (table["step"] == 6)
    table.loc[few, ["value", "value_low", "value_high"]] = np.nan
    table.loc[few, "n_left_out"] = 5
    order, _, _, few = (one.replace("\xa0", " ") for one in curve_findings(table))
    assert "1 > 6 at 15, 30 and 60, 1 at 8." in order
    assert few.endswith("fewer than two valid utterances there: 5 of 5 subsets of 8 at t = 6.")


def test_of_many_steps_the_pairs_that_change_places_are_counted():
    one = made_up_run.learning_curve().query("step == 1")
    table = pd.concat(
        [one.assign(step=step, value=one["value"] - step / 100) for step in range(1, 10)]
    )
    first = curve_findings(table)[0]
    assert first.endswith("by diagonal ratio is the same at 8, 15, 30 and 60 sentences.")
    table.loc[(table["step"] == 1) & (table["n_sentences"] == 8), "value"] = 0
    turned = curve_findings(table)[0]
    assert "one order at 15, 30 and 60, 8 of 36 pairs of steps the other way round at 8." in turned


def test_one_step_has_no_order():
    (change,) = curve_findings(made_up_run.learning_curve().query("step == 1"))
    assert change.startswith("From 30 to 60 sentences")


def test_findings_say_where_too_few_shuffles_allow_no_test():
    few = made_up_run.null_ratio().assign(n_shuffles=9, p=0.1)
    assert null(few)[-1].startswith("With 9 shuffles no p below 0.1 is possible")


@pytest.mark.parametrize("draw", [lambda f: steering.draw(f, []), steering.draw_quality])
def test_steering_without_pairs_says_so(draw):
    assert "no " in _texts(draw(pd.DataFrame()))


def test_report_holds_every_figure_and_table(finished_run, tmp_path):
    html = _report(finished_run, tmp_path / "report.html")
    for number in (*range(2, 10), 11, 20):
        assert f"<h3>Figure {number}. " in html
        assert f'href="#figure-{number}"' in html
    for number in range(1, 6):
        assert re.search(rf'<h3 id="table-{number}">Table {number}\. ', html)
    assert html.count("data:image/svg+xml;base64,") == 10
    anchors = set(re.findall(r'href="#([^"]+)"', html))
    assert anchors <= set(re.findall(r'id="([^"]+)"', html))


def test_report_of_a_run_with_two_sources_of_speech_compares_them(finished_run, tmp_path):
    html = _report(finished_run, tmp_path / "report.html", with_sources=True)
    assert "<h3>Figure 10. " in html
    assert (
        "In the decoder, speech translation (s2t), at t = 6, xtts and recorded speech share 80.0 % "
        "[70.0, 90.0] of a language" in html.replace("\xa0", " ")
    )
    assert "Figure 10" not in _report(finished_run, tmp_path / "other.html")


def test_report_shows_flagged_utterances_with_their_texts(finished_run, tmp_path):
    """Whatever the texts are: these are "NA" and "null"."""
    html = _report(finished_run, tmp_path / "report.html")
    assert "3 flagged utterances" in html
    assert '<td class="sentence" lang="de">NA</td>' in html
    assert '<td class="sentence" lang="de">null</td>' in html


def test_report_refers_to_nothing_outside(finished_run, tmp_path):
    html = _report(finished_run, tmp_path / "report.html")
    addresses = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert not re.search(r"<script|<link|@import|url\(", html)


def test_report_escapes_texts_and_shows_missing_values_as_dashes(finished_run, tmp_path):
    html = _report(finished_run, tmp_path / "report.html")
    assert '<td class="sentence" lang="ja">猫 &lt;b&gt;&amp;&lt;/b&gt;</td>' in html
    assert '<td class="sentence">–</td>' in html
    assert "nan" not in re.sub(r'"data:[^"]*"', "", html).lower()
    assert '<abbr title="German">deu</abbr>' in html


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("small model", "not comparable in value"),
        ("facebook/seamless-m4t-v2-large", "as are those"),
    ],
)
def test_report_says_whether_the_papers_model_was_run(finished_run, tmp_path, model, words):
    assert words in _report(finished_run, tmp_path / "report.html", model)


@pytest.mark.parametrize("name", [*page.RULES, 7])
def test_report_names_a_missing_file_and_its_rule(finished_run, tmp_path, name):
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    files = report_files(folder)
    path = (files["tables"] | files["figures"])[name]
    path.unlink()
    rule = page.RULES.get(name, page.FIGURE_RULE)
    with pytest.raises(ReportError, match=rf"{re.escape(str(path))}: .* rule {rule}$"):
        _report(folder, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_report_of_a_run_without_steered_pairs(finished_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    for name in ("steering/effects.csv", "steering/quality.csv", "tables/table2.csv"):
        write_csv(pd.DataFrame(), folder / name)
    for name in (
        "steering/control_rates.csv",
        "steering/mean_effect_ratios.csv",
        "tables/table1.csv",
    ):
        write_csv(read_csv(folder / name).head(0), folder / name)
    assert "No steered pair is of two scripts" in _report(folder, tmp_path / "r.html")


def test_findings_follow_the_tables():
    tables = frames()
    plain = "\n".join(
        [
            *sharing(tables["comparison/overlap_summary.csv"]),
            *steering_findings(tables["steering/effects.csv"]),
            *transfer(tables["steering/mean_effect_ratios.csv"]),
        ]
    ).replace("\N{NO-BREAK SPACE}", " ")
    assert "At t = 1, 56.6 % [50.1, 60.2]" in plain
    assert "not distinguishable from chance, 33.3 % (p = 0.167, exact, 6 permutations)" in plain
    assert "above chance, 33.3 % (p = 0.0001," in plain
    assert "highest at t = 1 and lowest at t = 6" in plain
    assert "no p below 0.167 is possible" in plain
    assert "+1.0 [−1.0, +2.0] at t = 1, +6.0 [+2.0, +12.0] at t = 6" in plain
    assert "excludes 0 at t = 6." in plain
    assert (
        "on average 0.50 [0.40, 0.60] at t = 1 (2 pairs), 0.45 [0.40, ∞] at t = 6 (9 pairs)"
        in plain
    )


def test_the_paper_s_mean_ratio_stands_beside_ours_over_the_same_pairs(finished_run, tmp_path):
    """And ours over all pairs in a row of its own; each says over how many."""
    table = page._beside_paper({Path(name).stem: table for name, table in frames().items()})
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert rows["Mean effect ratio, the paper's pairs"] == [
        "–", "–", "0.36", "0.65 (7 pairs)", "0.49", "–",
    ]  # fmt: skip
    assert rows["Mean effect ratio, all pairs (table 3)"] == [
        "–", "0.50 (2 pairs)", "–", "0.45 (9 pairs)", "–", "–",
    ]  # fmt: skip
    html = _report(finished_run, tmp_path / "report.html")
    assert "eight pairs of German or French with Mandarin or Japanese" in html
    assert "0.65 (7 pairs)" in html


def test_an_infinite_end_reads_as_such_and_breaks_no_axis():
    """In every form, in tables with its value, and where a figure's table holds one."""
    inf = float("inf")
    forms = (percent, three_digits, two_decimals, points)
    assert [form(inf) for form in forms] == ["∞ %", "∞", "∞", "+∞"]
    assert points(-inf) == "−∞"
    frame = pd.DataFrame(
        {"ratio": [0.4, inf], "ci_low": [0.3, 1.25], "ci_high": [inf, inf], "cer": [inf, 0.1],
         "cer_low": [0.2, 0.1], "cer_high": [inf, 0.2]}
    )  # fmt: skip
    cells = [[cell.text for cell in row] for row in Formatter().table(frame).rows]
    assert cells == [["0.40 [0.30, ∞]", "∞ [20.0, ∞]"], ["∞ [1.25, ∞]", "10.0 [10.0, 20.0]"]]
    tables = frames()
    quality = tables["steering/quality.csv"].assign(cer_high=inf)
    quality.loc[quality.index[0], "cer"] = inf
    rates = tables["steering/control_rates.csv"].assign(ci_high=inf, direction="Latin to CJK")
    for drawn in (steering.draw_quality(quality), steering.draw(rates, LANGUAGES)):
        assert all(np.isfinite(axes.get_ylim()).all() for axes in drawn.axes)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [("script_runs", "a run of letters"), ("characters", "one letter with its")],
)
def test_the_report_says_what_a_token_was(finished_run, tmp_path, tokens, words):
    output = tmp_path / "report.html"
    page.write_report(
        **report_files(finished_run), output=output, settings={}, versions={},
        provenance={"Model": "m"}, rate_tokens=tokens,
    )  # fmt: skip
    assert f"A token is {words}" in output.read_text(encoding="utf-8")


def test_findings_tell_collapse_from_control():
    """The share of degenerate outputs stands beside the rates, with that of random neurons."""
    quality = pd.DataFrame(
        [("asr", 1, "steered", 0.9), ("asr", 1, "steered", 0.7), ("asr", 1, "random", 0.25)],
        columns=["task", "step", "control", "degenerate_share"],
    )
    plain = "\n".join(collapse(quality)).replace("\N{NO-BREAK SPACE}", " ")
    assert "80.0 % at t = 1 (random neurons 25.0 %)" in plain
    assert collapse(pd.DataFrame()) == []


def test_tables_join_intervals_to_their_values():
    frame = pd.DataFrame(
        {
            "n": [1200], "p": [0.00833], "ratio": [0.3612], "ci_low": [0.3], "ci_high": [0.4],
            "steered": [0.5], "steered_ci_low": [0.4], "steered_ci_high": [np.nan],
        }
    )  # fmt: skip
    table = Formatter().table(frame)
    assert table.columns == ["utterances", "p", "ratio tr / asr", "steered (%)"]
    assert [cell.text for cell in table.rows[0]] == [
        "1,200", "0.00833", "0.36 [0.30, 0.40]", "50.0 [40.0, –]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("separation", "those with the largest standardised difference of means were taken"),
        ("column", "the first by layer and submodule were taken"),
        ("random", "lots were drawn among them"),
    ],
)
def test_captions_and_findings_say_what_ties_decided(finished_run, tmp_path, rule, words):
    """Of figures 3 and 4 and of the steered neurons; figure 2's sets have none."""
    output = tmp_path / "report.html"
    page.write_report(
        **report_files(finished_run), output=output, settings={"ranking": {"ties": rule}},
        versions={}, provenance={"Model": "m"},
    )  # fmt: skip
    html = output.read_text()
    top = (
        "Ties of AP decided neurons of 1 of 12 sets (top 6 of a language), at most 2 of one, among 7 of "
        f"equal AP (jpn, s2t, t\u00a0=\u00a01); {words}."
    )
    assert html.count(top) == 3  # captions of figures 3 and 4, and the findings
    assert "No neuron of any top 6 of a language was decided by a tie." in html
    assert (
        "Ties of AP decided neurons of 1 of 6 sets (top 20 and bottom 20 of a language), at most 20 of "
        f"one, among 1,411 of equal AP (jpn, t\u00a0=\u00a01); {words}."
    ) in html
