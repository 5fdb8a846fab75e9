"""Figures of 30 languages and 8 steps: all that is in them can be read, and none is metres wide."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from steplens.figures import location, overlap, sensitivity, speech, steering
from steplens.languages.table import load_languages
from steplens.report.findings import steering as steering_findings

TABLE = load_languages()
LANGUAGES = [code for code in TABLE if code != "eng"][:30]
NAMES = {code: TABLE[code].name for code in LANGUAGES}
STEPS = tuple(range(1, 9))
MOST_INCHES = 24


@pytest.fixture(scope="module")
def frame() -> dict[str, pd.DataFrame]:
    """Tables of random numbers."""
    generator = np.random.default_rng(5)
    submodules = ("self_attn.q_proj", "cross_attention.k_proj", "ffn.fc1")
    cells = [
        (module, task, step, language, layer, submodule)
        for module, tasks, steps in (
            ("speech_encoder", ("speech",), (0,)),
            ("text_encoder", ("text",), (0,)),
            ("decoder", ("s2t", "t2t"), STEPS),
        )
        for task, step, language, layer, submodule in itertools.product(
            tasks, steps, LANGUAGES, range(24), submodules
        )
    ]
    columns = ["module", "task", "step", "language", "layer", "submodule"]
    where = pd.DataFrame(cells, columns=columns).assign(n_units=8, expected=2.5)
    where["step_invariant"] = where["submodule"] == "cross_attention.k_proj"
    where["count"] = generator.poisson(2.5, len(where))
    pairs = [
        (a, b)
        for a, b in itertools.permutations(LANGUAGES, 2)
        if TABLE[a].script != TABLE[b].script
    ]
    rates = pd.DataFrame(
        [
            (task, step, *pair, control, generator.random())
            for task, step, pair, control in itertools.product(
                ("asr", "tr"), STEPS, pairs, ("unsteered", "steered")
            )
        ],
        columns=["task", "step", "source", "target", "control", "rate"],
    )
    scripts = {code: TABLE[code].script for code in LANGUAGES}
    rates["direction"] = rates["source"].map(scripts) + " to " + rates["target"].map(scripts)
    shared = pd.DataFrame(
        list(itertools.product(STEPS, LANGUAGES, LANGUAGES)),
        columns=["step", "speech_language", "text_language"],
    )
    return {
        "location": where,
        "rates": rates,
        "overlap": shared.assign(k=50, overlap=generator.integers(0, 50, len(shared))),
        "summary": pd.DataFrame({"step": STEPS}).assign(
            k=50, diagonal_ratio=0.3, ci_low=0.2, ci_high=0.4, p=0.01
        ),
        "sensitivity": pd.DataFrame(
            list(itertools.product(STEPS, (10, 100, 1000))), columns=["step", "k"]
        ).assign(diagonal_ratio=0.3, ci_low=0.2, ci_high=0.4, p=0.01, chance=1 / 30),
        "speech": pd.DataFrame(
            list(itertools.product(LANGUAGES, range(3))), columns=["language", "utterance"]
        ).assign(cer=0.1, seconds_per_character=0.07, silent_share=0.1, flagged=False),
    }


@pytest.fixture(scope="module")
def figures(frame) -> dict[str, Figure]:
    return {
        "encoders": location.draw_encoders(frame["location"], NAMES),
        "decoder": location.draw_decoder(frame["location"], NAMES),
        "overlap": overlap.draw(frame["overlap"], frame["summary"], NAMES),
        "sensitivity": sensitivity.draw(frame["sensitivity"]),
        "steering": steering.draw(frame["rates"], LANGUAGES),
        "speech": speech.draw_quality(frame["speech"], NAMES),
    }


@pytest.mark.parametrize(
    "name", ["encoders", "decoder", "overlap", "sensitivity", "steering", "speech"]
)
def test_a_figure_fits_a_page(figures, name):
    assert max(figures[name].get_size_inches()) <= MOST_INCHES


def test_location_adds_up_all_languages(figures, frame):
    where = frame["location"]
    axes = next(one for one in figures["decoder"].axes if one.get_title() == "t = 4")
    assert [one.get_title() for one in figures["decoder"].axes[:8]] == [f"t = {t}" for t in STEPS]
    part = where[(where["module"] == "decoder") & (where["task"] == "s2t") & (where["step"] == 4)]
    drawn = np.asarray(axes.images[0].get_array())
    for row, column in ((0, 0), (1, 7), (2, 23)):
        submodule = ("self_attn.q_proj", "cross_attention.k_proj", "ffn.fc1")[row]
        cell = part[(part["submodule"] == submodule) & (part["layer"] == column)]
        assert drawn[row, column] == pytest.approx(cell["count"].sum() / (30 * 2.5))
    assert figures["encoders"].axes[0].get_title() == "all 30 languages"


def test_every_step_has_a_look_of_its_own(figures):
    lines = [line for line in figures["sensitivity"].axes[0].lines if "t = " in line.get_label()]
    assert len({tuple(np.atleast_1d(line.get_color())) for line in lines}) == len(STEPS)


def test_a_matrix_of_many_languages_holds_no_numbers(figures, frame):
    assert not figures["overlap"].axes[0].texts
    few = frame["overlap"][
        frame["overlap"]["speech_language"].isin(LANGUAGES[:4])
        & frame["overlap"]["text_language"].isin(LANGUAGES[:4])
    ]
    drawn = overlap.draw(few, frame["summary"], NAMES)
    assert len(drawn.axes[0].texts) == 16


def test_directions_to_one_script_share_a_panel(figures, frame):
    panels = [axes for axes in figures["steering"].axes if axes.get_title()]
    scripts = {TABLE[code].script for code in LANGUAGES}
    assert len(panels) == 2 * len(scripts)
    for axes in panels:
        below = [
            other
            for other in panels
            if other.get_subplotspec().colspan == axes.get_subplotspec().colspan
            and other.get_subplotspec().rowspan.start > axes.get_subplotspec().rowspan.start
        ]
        if not below:  # the lowest of its column tells the steps
            assert axes.get_xlabel()
            assert axes.xaxis.get_tick_params()["labelbottom"]
            assert list(axes.get_xticks()) == list(STEPS)
    to_latin = next(axes for axes in panels if "to Latin" in axes.get_title())
    rates = frame["rates"]
    part = rates[rates["target"].map(lambda code: TABLE[code].script) == "Latin"]
    part = part[(part["task"] == "asr") & (part["control"] == "steered")]
    thick = next(line for line in to_latin.lines if line.get_label() == "steered")
    np.testing.assert_allclose(thick.get_ydata(), 100 * part.groupby("step")["rate"].mean())


def test_of_many_directions_the_findings_name_the_largest_clear_ones():
    sizes = {
        "Bengali": (0.02, 0.01), "Greek": (-0.09, 0.01), "CJK": (0.08, 0.9), "Cyrillic": (0.07, 0.01),
        "Hebrew": (0.06, 0.01), "Arabic": (0.05, 0.01), "Thai": (0.04, 0.01), "Hangul": (0.03, 0.01),
        "Tamil": (np.nan, np.nan),
    }  # fmt: skip
    effects = pd.DataFrame(
        [
            (step, f"{script} to Latin", size * step, size * step - width, size * step + width)
            for script, (size, width) in sizes.items()
            for step in (1, 2)
        ],
        columns=["step", "direction", "difference", "ci_low", "ci_high"],
    ).assign(task="asr", baseline="random", n_pairs=3)
    *shown, others, without = steering_findings(effects)
    named = [sentence.split(", ")[1].split(" to ")[0] for sentence in shown]
    assert named == ["Greek", "Cyrillic", "Hebrew", "Arabic", "Thai", "Hangul"]
    assert "the largest of 8 directions; of all, 7 have an interval" in others
    assert "1 direction without a rate" in without
