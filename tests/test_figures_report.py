"""Figures repeat to the byte and say what their tables say; the report is whole, in one file."""

import itertools
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from steplens import report
from steplens.figures import (
    location,
    overlap,
    reliability,
    sensitivity,
    spearman,
    speech,
    steering,
    style,
)
from steplens.report_findings import collapse, null, sharing, stability, transfer
from steplens.report_findings import steering as steering_findings
from steplens.report_format import Formatter

LANGUAGES = ["deu", "fra", "jpn"]
NAMES = {"deu": "German", "fra": "French", "jpn": "Japanese"}
STEPS = [1, 6]
CONTROLS = ["unsteered", "random", "other_language", "steered"]
PAIRS = [("deu", "jpn"), ("fra", "jpn"), ("jpn", "deu"), ("jpn", "fra")]


def _location() -> pd.DataFrame:
    conditions = [
        ("speech_encoder", "speech", 0, ["ffn1_layer_norm", "conv_module.glu"]),
        ("text_encoder", "text", 0, ["self_attn.q_proj", "ffn.fc1"]),
        *(
            ("decoder", task, step, ["self_attn.q_proj", "cross_attention.k_proj"])
            for task in ("s2t", "t2t")
            for step in STEPS
        ),
    ]
    rows = [
        (module, task, step, language, layer, submodule, "k_proj" in submodule, 8, layer * 3, 2.0)
        for module, task, step, submodules in conditions
        for language, layer, submodule in itertools.product(LANGUAGES, range(2), submodules)
    ]
    columns = "module task step language layer submodule step_invariant n_units count expected"
    return pd.DataFrame(rows, columns=columns.split())


def _matrices(value: str, diagonal: float, rest: float) -> pd.DataFrame:
    rows = [
        (step, one, other, diagonal if one == other else rest)
        for step, one, other in itertools.product(STEPS, LANGUAGES, LANGUAGES)
    ]
    return pd.DataFrame(rows, columns=["step", "speech_language", "text_language", value])


def _steering() -> pd.DataFrame:
    rows = [
        (task, step, source, target, control, 0.1 * place + 0.05 * (task == "asr"))
        for task, step, (source, target), (place, control) in itertools.product(
            ("asr", "tr"), STEPS, PAIRS, enumerate(CONTROLS)
        )
    ]
    return pd.DataFrame(rows, columns=["task", "step", "source", "target", "control", "rate"])


def _speech_quality() -> pd.DataFrame:
    rows = [
        (one, number, "xtts", "Ana", 0, 6.0, 0.06, 0.1, 0.05 * number, number == 3, number == 3,
         "CER 0.90" if number == 3 else "", "NA", "null")
        for one, number in itertools.product(LANGUAGES, range(4))
    ]  # fmt: skip
    columns = (
        "language utterance engine voice attempt seconds seconds_per_character silent_share cer "
        "flagged left_out reason reference recognised"
    )
    return pd.DataFrame(rows, columns=columns.split()).assign(available="")


def _sources() -> pd.DataFrame:
    conditions = [
        ("speech_encoder", "", 0, "xtts", "recorded"),
        *(
            ("decoder", task, step, *pair)
            for task, step, pair in itertools.product(
                ("s2t", "asr"),
                STEPS,
                (("xtts", "recorded"), ("xtts", "text"), ("recorded", "text")),
            )
        ),
    ]
    frame = pd.DataFrame(conditions, columns=["module", "task", "step", "one", "other"])
    for name, value in (("shared", 0.8), ("diagonal_ratio", 0.6), ("rho", 0.5)):
        frame = frame.assign(
            **{name: value, f"{name}_low": value - 0.1, f"{name}_high": value + 0.1}
        )
    return frame.assign(k=50, chance=1 / 3, p=0.01)


def _stability() -> pd.DataFrame:
    shares = {"speech": 0.8, "text": 0.7, "speech_text": 0.3, "corrected": 0.4}
    rows = [
        (step, 50, measure, language, share + shift, share - 0.05, share + 0.05, 0.02, 10, 60, 60)
        for step, (measure, share), (language, shift) in itertools.product(
            STEPS, shares.items(), [*zip(LANGUAGES, (-0.1, 0, 0.1), strict=True), ("mean", 0)]
        )
    ]
    columns = "step k measure language share share_low share_high chance n_splits n_speech n_text"
    return pd.DataFrame(rows, columns=columns.split())


def _null_ratio() -> pd.DataFrame:
    rows = [
        (step, 50, 3, name, observed, ratio, ratio - 0.1, ratio + 0.1, p, 40)
        for step, observed, kinds in (
            (1, 0.5664, (("together", 0.45, 1 / 41), ("apart", 0.333, 1 / 41))),
            (6, 0.4, (("together", 0.39, 0.3), ("apart", 0.333, 1 / 41))),
        )
        for name, ratio, p in kinds
    ]
    columns = "step k n_languages null diagonal_ratio null_ratio null_ratio_low null_ratio_high p n_shuffles"
    return pd.DataFrame(rows, columns=columns.split())


def _frames() -> dict[str, pd.DataFrame]:
    """Every table of a small run, by its path in the run's folder."""
    rates = _steering()
    keys = ["task", "source", "target", "step"]
    wide = rates.pivot(index=keys, columns="control", values="rate").reset_index()
    ratio = pd.DataFrame(
        [("deu", "jpn", 1, 0.4, 0.1, 0.25, 0.2, 0.3), ("jpn", "deu", 1, 0.4, 0.3, 0.75, 0.7, 0.8)],
        columns=["source", "target", "step", "asr", "tr", "ratio", "ci_low", "ci_high"],
    )
    mean = pd.DataFrame([{"source": "mean", "target": "mean", "step": 1, "ratio": 0.5}])
    means = pd.DataFrame(
        [(1, 0.6, 0.3, 0.5, 0.4, 0.6, 2)],
        columns=["step", "asr", "tr", "ratio", "ci_low", "ci_high", "n_pairs"],
    )
    summary = pd.DataFrame(
        [
            (1, 50, 3, 0.5664, 0.501, 0.602, 1 / 3, 1 / 6, 6, True),
            (6, 50, 3, 0.4, 0.35, 0.45, 1 / 3, 0.0001, 6, True),
        ],
        columns=[
            "step",
            "k",
            "n_languages",
            "diagonal_ratio",
            "ci_low",
            "ci_high",
            "chance",
            "p",
            "n_permutations",
            "exact",
        ],
    )
    sentence = "猫 <b>&</b>"
    return {
        "comparison/location.csv": _location(),
        "comparison/overlap.csv": _matrices("overlap", 30, 10).assign(k=50),
        "comparison/overlap_summary.csv": summary,
        "comparison/spearman.csv": _matrices("rho", 0.5, -0.123),
        "comparison/spearman_summary.csv": pd.DataFrame(
            {
                "step": STEPS, "diagonal_concentration": [0.229, 0.201],
                "ci_low": [0.21, 0.19], "ci_high": [0.24, 0.22],
                "chance": 1 / 3, "any_negative": [False, True],
            }
        ),
        "comparison/sensitivity.csv": pd.DataFrame(
            [(step, k, 0.5, 0.4, 0.6, 1 / 6, 1 / 3) for step in STEPS for k in (10, 100, 1000)],
            columns=["step", "k", "diagonal_ratio", "ci_low", "ci_high", "p", "chance"],
        ),
        "comparison/stability.csv": _stability(),
        "comparison/null_ratio.csv": _null_ratio(),
        "comparison/valid_counts.csv": pd.DataFrame(
            [("s2t", one, step, 1200, 1200 - step) for one in LANGUAGES for step in STEPS],
            columns=["task", "language", "step", "n_utterances", "n_valid"],
        ),
        "steering/control_rates.csv": rates.assign(
            n_seeds=np.where(rates["control"] == "random", 3, 1),
            seed_low=rates["rate"] - 0.02,
            seed_high=rates["rate"] + 0.04,
        ),
        "steering/quality.csv": rates.drop(columns="rate").assign(
            cer=1.2, degenerate_share=0.1, unfinished_share=0.0
        ),
        "steering/effects.csv": pd.DataFrame(
            [
                ("asr", step, "Latin to CJK", "random", step / 100, low, step / 50, 2, 3, 0.005, 0.07)
                for step, low in zip(STEPS, (-0.01, 0.02), strict=True)
            ],
            columns=[
                "task", "step", "direction", "baseline",
                "difference", "ci_low", "ci_high", "n_pairs", "n_seeds", "seed_low", "seed_high",
            ],
        ),
        "steering/mean_effect_ratios.csv": means,
        "tables/speech_quality.csv": _speech_quality(),
        "comparison/speech_sources.csv": _sources(),
        "tables/recognition.csv": pd.DataFrame(
            {"task": "asr", "language": LANGUAGES, "n": 9, "exact_match": 0.25, "cer": np.nan}
        ),
        "tables/table1.csv": wide,
        "tables/table2.csv": pd.DataFrame(
            [("jpn", "deu", 1, 7, sentence, sentence, sentence, np.nan)],
            columns=[
                "source", "target", "step", "utterance",
                "reference", "unsteered", "steered_asr", "steered_tr",
            ],
        ),
        "tables/table3.csv": pd.concat([ratio, mean]),
        "tables/table4.csv": wide[keys].assign(
            steered_p_target=0.5, steered_p_target_low=0.4, steered_p_target_high=0.6
        ),
        "tables/table5.csv": pd.DataFrame(
            [("decoder", 2, 64, 128, 12345)],
            columns=["component", "layers", "neurons_per_layer", "neurons", "parameters"],
        ),
    }  # fmt: skip


def _draw_all() -> dict[str, Figure]:
    table = {Path(name).stem: frame for name, frame in _frames().items()}
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
    for name, frame in _frames().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        frame.to_csv(folder / name, index=False)
    for name, figure in figures.items():
        style.save(figure, folder / "figures" / name)
    return folder


def _report(
    folder: Path, output: Path, model: str = "small model", with_sources: bool = False
) -> str:
    provenance = {"Model": model, "languages": LANGUAGES, "steps": STEPS}
    settings = {"run": "small", "folder": Path("results"), "steps": (1, 6)}
    report.write_report(folder, output, settings, {"python": "3.x"}, provenance, with_sources)
    return output.read_text(encoding="utf-8")


def test_figures_are_the_same_bytes_in_two_runs(finished_run, tmp_path):
    for name, figure in _draw_all().items():
        style.save(figure, tmp_path / name)
        for kind in ("svg", "png"):
            first = (finished_run / "figures" / f"{name}.{kind}").read_bytes()
            assert len(first) > 1000
            assert (tmp_path / f"{name}.{kind}").read_bytes() == first, f"{name}.{kind}"


def test_drawing_leaves_a_readers_settings_alone(figures):
    import matplotlib

    before = dict(matplotlib.rcParams)
    sensitivity.draw(_frames()["comparison/sensitivity.csv"])
    assert dict(matplotlib.rcParams) == before


def test_overlap_titles_hold_ratio_interval_and_p(figures):
    texts = _texts(figures["figure4"]).replace("\n", " ")
    assert "t = 1: diagonal ratio 56.6 % [50.1, 60.2], p = 0.167" in texts
    assert "t = 6: diagonal ratio 40.0 % [35.0, 45.0], p < 0.001" in texts
    assert "text (t2t) top-50" in texts
    assert "speech (s2t) top-50" in texts


def test_overlap_refuses_several_k():
    table = _frames()
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
    assert np.allclose(lines["the same, corrected for unreliability"].get_ydata(), 40)
    assert np.allclose(lines["observed"].get_ydata(), [56.64, 40])
    assert np.allclose(lines["shuffled, speech and text together"].get_ydata(), [45, 39])
    assert np.allclose(_bars(left, style.BLUE), [[75, 85]] * 2)
    assert np.allclose(_bars(right, style.SKY), [[35, 55], [29, 49]])
    assert "chance, 2.0 %" in lines
    assert "chance, 33.3 %" in lines


def test_findings_say_how_reliable_the_neurons_are():
    plain = "\n".join([*stability(_stability()), *null(_null_ratio())]).replace("\xa0", " ")
    assert "At t = 1, two halves of the sentences agree on 80.0 % of a language's top-50" in plain
    assert "on 70.0 % in text (chance 2.0 %)" in plain
    assert "with a half of text on 30.0 %; corrected" in plain
    assert "speech and text share 40.0 %." in plain
    first, second = null(_null_ratio())
    assert "apart it is 33.3 % [23.3, 43.3] (p = 0.0244, 40 shuffles): the ratio is above" in first
    assert "not distinguishable" not in first
    assert "above what chance gives" in second
    assert "(p = 0.3, 40 shuffles): the ratio is not distinguishable from what speech" in second


def test_findings_say_where_too_few_shuffles_allow_no_test():
    few = _null_ratio().assign(n_shuffles=9, p=0.1)
    assert null(few)[-1].startswith("With 9 shuffles no p below 0.1 is possible")


@pytest.mark.parametrize("draw", [lambda f: steering.draw(f, []), steering.draw_quality])
def test_steering_without_pairs_says_so(draw):
    assert "no " in _texts(draw(pd.DataFrame()))


def test_report_holds_every_figure_and_table(finished_run, tmp_path):
    html = _report(finished_run, tmp_path / "report.html")
    for number in (*range(2, 10), 11):
        assert f"<h3>Figure {number}. " in html
        assert f'href="#figure-{number}"' in html
    for number in range(1, 6):
        assert re.search(rf'<h3 id="table-{number}">Table {number}\. ', html)
    assert html.count("data:image/svg+xml;base64,") == 9
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


@pytest.mark.parametrize("name", [*report.RULES, "figures/figure7.svg"])
def test_report_names_a_missing_file_and_its_rule(finished_run, tmp_path, name):
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    (folder / name).unlink()
    rule = report.RULES.get(name, report.FIGURE_RULE)
    with pytest.raises(report.ReportError, match=rf"{re.escape(name)}: .* rule {rule}$"):
        _report(folder, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_report_of_a_run_without_steered_pairs(finished_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    for name in ("steering/effects.csv", "steering/quality.csv", "tables/table2.csv"):
        pd.DataFrame().to_csv(folder / name, index=False)
    for name in (
        "steering/control_rates.csv",
        "steering/mean_effect_ratios.csv",
        "tables/table1.csv",
    ):
        pd.read_csv(folder / name).head(0).to_csv(folder / name, index=False)
    assert "No two languages of the run differ in script" in _report(folder, tmp_path / "r.html")


def test_findings_follow_the_tables():
    tables = _frames()
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
    assert "on average 0.50 [0.40, 0.60] at t = 1 (2 pairs)" in plain


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
