"""Figures and the report's section of similarity are drawn from its tables, whatever their size."""

import numpy as np
import pandas as pd
import pytest
from made_pairs import LANGUAGES, made_pairs

from steplens.files.atomic import write_csv
from steplens.languages.table import load_languages
from steplens.report.formatting import Formatter
from steplens.report.sections import section
from steplens.studies.similarity.figures import (
    MEASURES,
    draw_layers,
    draw_trees,
    figure16,
    figure17,
)
from steplens.studies.similarity.gaps import GAPS, GROUPS, gaps_of
from steplens.studies.similarity.languages import language_trees


def made_gaps(languages, n_layers, steps, seed=0):
    """Gaps of the encoders and of both pairs of tasks, from random pairs; the first step lacks a layer."""
    conditions = [
        {"module": "decoder" if task else "encoder", "task": task, "step": step, "layer": layer}
        for task, step in [("", None), *((one, t) for one in ("s2t_t2t", "asr_tr") for t in steps)]
        for layer in ["embedding", *map(str, range(n_layers)), *([] if task else ["adapter"])]
    ]
    measures = pd.DataFrame({"measure": list(MEASURES)})
    places = pd.DataFrame(conditions).merge(measures, how="cross")
    places["shift"] = np.random.default_rng(seed).normal(0, 0.02, len(places))
    base = gaps_of(made_pairs(languages, seed), 20, 1)
    gaps = places.merge(
        base.drop(columns=["module", "task", "step", "layer", "measure"]), how="cross"
    )
    names = [name for name in gaps if name.startswith(("value", "corrected"))]
    gaps[names] = gaps[names].add(gaps.pop("shift"), axis=0)
    nothing = (gaps["step"] == 1) & (gaps["layer"] == "embedding")
    gaps.loc[nothing, [*names, "baseline"]] = np.nan
    return gaps


def many_languages(n):
    return [code for code in load_languages() if code != "eng"][:n]


@pytest.mark.parametrize(
    ("languages", "n_layers", "steps"),
    [(LANGUAGES, 3, [1, 6, 11]), (LANGUAGES[:2], 1, [1]), (many_languages(30), 24, range(1, 9))],
)
def test_every_line_is_that_of_the_table(languages, n_layers, steps):
    gaps = made_gaps(languages, n_layers, steps)
    figure = draw_layers(gaps)
    panels = [axes for row in figure.subfigs for axes in row.axes]
    assert len(panels) == len(MEASURES) + 2 * len(steps)
    encoder = gaps[(gaps["module"] == "encoder") & (gaps["measure"] == "cka")]
    drawn = panels[2].get_lines()
    expected = encoder[encoder["group"] == "cross_modal_same_language"]
    np.testing.assert_array_equal(drawn[0].get_ydata(), expected["value"].iloc[:-1])
    np.testing.assert_array_equal(drawn[1].get_ydata(), expected["value"].iloc[-1:])
    np.testing.assert_array_equal(drawn[2].get_ydata(), expected["baseline"])
    assert drawn[2].get_linestyle() == "--"
    last = gaps[(gaps["task"] == "asr_tr") & (gaps["step"] == max(steps))]
    last = last[(last["measure"] == "cka_debiased") & (last["group"] == "cross_lingual_speech")]
    np.testing.assert_array_equal(panels[-1].get_lines()[3].get_ydata(), last["value"])


def test_trees_stand_side_by_side_on_one_scale():
    languages = load_languages()
    codes = many_languages(30)
    table = language_trees(made_pairs(codes, 4))
    figure = draw_trees(table, languages)
    speech, text = figure.axes
    assert speech.get_xlim() == text.get_xlim()
    names = [label.get_text() for label in text.get_yticklabels()]
    assert sorted(names) == sorted(f"{languages[code].name} ({code})" for code in codes)
    heights = table[(table["modality"] == "text") & (table["kind"] == "merge")]["distance"]
    segments = text.collections[0].get_segments()
    assert max(x for segment in segments for x, _ in segment) == pytest.approx(heights.max())


def test_without_trees_the_figure_says_so():
    figure = draw_trees(language_trees(made_pairs(LANGUAGES[:1])), load_languages())
    assert "no tree" in figure.texts[0].get_text()
    one_missing = language_trees(made_pairs(LANGUAGES, missing=(1,)))
    assert "missing" in draw_trees(one_missing, load_languages()).axes[0].texts[0].get_text()


@pytest.fixture
def tables(tmp_path):
    """The tables as they are read back from their files."""
    gaps = made_gaps(LANGUAGES, 3, [1, 6])
    lengths = pd.concat(
        [
            gaps[gaps["module"] == "encoder"].assign(by=by, bin=number)
            for by in ("characters", "seconds")
            for number in (1, 2)
        ]
    )
    levels = pd.concat(
        [gaps[gaps["module"] == "encoder"].assign(level=level) for level in ("3", "5")]
    )
    made = {
        "resources": levels.drop(columns=["by", "bin"]),
        "gaps": gaps.drop(columns=["by", "bin"]),
        "lengths": lengths,
        "languages": language_trees(made_pairs(LANGUAGES)),
    }
    for name, table in made.items():
        write_csv(table, tmp_path / f"{name}.csv")
    return tmp_path, {name: pd.read_csv(tmp_path / f"{name}.csv") for name in made}


def test_figures_are_written(tables):
    folder, _ = tables
    figure16(folder / "gaps.csv", folder / "figure16")
    figure17(folder / "languages.csv", folder / "figure17")
    for number in (16, 17):
        assert (folder / f"figure{number}.png").stat().st_size > 10_000
        assert (folder / f"figure{number}.svg").is_file()


def row_of(table, layer):
    """The encoders' modality gap by debiased CKA at one layer."""
    rows = table[(table["module"] == "encoder") & (table["measure"] == "cka_debiased")]
    return rows[(rows["layer"] == layer) & (rows["group"] == "modality_gap")].iloc[-1]


def test_the_section_reads_its_numbers_from_the_tables(tables):
    _, read = tables
    one = section("similarity")
    found = one.content(read, Formatter())
    assert [table.summary.split(",")[0] for table in found["measures"]][:2] == ["SVCCA", "PWCCA"]
    assert [len(table.rows) for table in found["measures"]] == [5] * len(MEASURES)
    assert len(found["decoder"]) == 4
    assert len(found["lengths"]) == 2
    gaps = read["gaps"]
    row = row_of(gaps, "2")
    assert (
        f"{row['value']:.2f} [{row['value_low']:.2f}, {row['value_high']:.2f}]"
        in found["findings"][0]
    )
    cell = found["measures"][3].rows[3][4].text
    assert cell.split(" ")[0] == f"{100 * row['corrected']:.1f}"
    assert not any("nan" in sentence for sentence in found["findings"])
    assert [len(table.rows) for table in found["levels"]] == [5, 5]
    before, after = (row_of(read["resources"], layer)["value"] for layer in ("2", "adapter"))
    (levels,) = (one for one in found["findings"] if one.startswith("By resource level"))
    assert f"level 5 (4 languages) {before:.2f} and {after:.2f}" in levels
    assert set(gaps["group"]) == {*GROUPS, *GAPS}


def test_the_section_does_without_bins_and_with_two_languages():
    gaps = made_gaps(LANGUAGES[:2], 1, [1])
    read = {
        "gaps": gaps.drop(columns=["by", "bin"]),
        "lengths": gaps.head(0),
        "resources": gaps.head(0).assign(level=""),
        "languages": language_trees(made_pairs(LANGUAGES[:2])),
    }
    found = section("similarity").content(read, Formatter())
    assert found["lengths"] == []
    assert found["levels"] == []
    assert len(found["findings"]) == 6
