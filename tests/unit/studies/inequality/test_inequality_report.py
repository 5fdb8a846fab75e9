"""Figures and section of the inequality study: 30 languages, 24 layers and 8 steps, and few."""

import itertools

import numpy as np
import pandas as pd
import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from steplens.files.atomic import write_csv
from steplens.languages.table import load_languages
from steplens.report.formatting import Formatter
from steplens.report.sections import TEMPLATE_FOLDERS
from steplens.studies.inequality import figures as drawing
from steplens.studies.inequality import section
from steplens.studies.inequality.paired import families

TABLE = load_languages()
SCRIPTS = {code: language.script for code, language in TABLE.items()}
NAMES = {code: language.name for code, language in TABLE.items()}
MOST_INCHES = 24


def made_up(languages, n_layers, steps, tasks=("s2t", "t2t", "asr", "tr")):
    """Tables of random numbers, as the summary writes them."""
    generator = np.random.default_rng(4)
    layers = [*map(str, range(n_layers)), "step-dependent", "all"]
    conditions = [("speech_encoder", "speech", 0), ("text_encoder", "text", 0)]
    conditions += [("decoder", task, step) for task, step in itertools.product(tasks, steps)]
    gini, shares, lorenz, scripts = [], [], [], []
    for condition in conditions:
        of = dict(zip(("module", "task", "step"), condition, strict=True))
        for language, layer in itertools.product([*languages, "all"], layers):
            submodules = ["ffn.fc1", "all"] if layer.isdigit() and language != "all" else ["all"]
            for submodule in submodules:
                value = generator.normal(0.5, 0.02)
                gini.append(
                    of | {"language": language, "layer": layer, "submodule": submodule, "n": 60,
                          "n_zero": 0, "gini": value, "ci_low": value - 0.01, "ci_high": value + 0.01}
                )  # fmt: skip
        for language in languages:
            shares.append(of | {"language": language, "top": 0.01, "n": 60, "share": 0.05})
            for share in np.linspace(0, 1, 11):
                lorenz.append(
                    of | {"language": language, "share_of_neurons": share,
                          "share_of_magnitude": share ** generator.normal(3, 0.1)}
                )  # fmt: skip
        groups = dict.fromkeys(SCRIPTS[language] for language in languages)
        groups |= {"not Latin": None} if set(groups) - {"Latin"} else {}
        for script in groups:
            value = np.nan if script == "Latin" or "Latin" not in groups else 0.003
            scripts.append(
                of | {"layer": "all", "script": script, "n_languages": 2, "n": 120, "gini": 0.5,
                      "ci_low": 0.49, "ci_high": 0.51, "difference": value,
                      "difference_low": value - 0.001, "difference_high": value + 0.001}
            )  # fmt: skip
    paired = []
    for (speech, text), step, language, layer in itertools.product(
        (("s2t", "t2t"), ("asr", "tr")), steps, [*languages, "all"], layers
    ):
        if {speech, text} <= set(tasks):
            value = generator.normal(0.01, 0.004)
            paired.append(
                {"speech_task": speech, "text_task": text, "step": step, "language": language,
                 "layer": layer, "n_pairs": 60, "gini_speech": 0.5 + value, "gini_text": 0.5,
                 "difference": value, "ci_low": value - 0.002, "ci_high": value + 0.002,
                 "p": 0.001, "p_holm": 0.2 * generator.random() ** 3}
            )  # fmt: skip
    columns = ["speech_task", "text_task", "step", "language", "layer", "n_pairs", "gini_speech",
               "gini_text", "difference", "ci_low", "ci_high", "p", "p_holm"]  # fmt: skip
    paired = pd.DataFrame(paired, columns=columns)
    return {
        "gini": pd.DataFrame(gini),
        "shares": pd.DataFrame(shares),
        "lorenz": pd.DataFrame(lorenz),
        "scripts": pd.DataFrame(scripts),
        "paired": paired.assign(family=families(paired)),
    }


MANY = [code for code in TABLE if code != "eng"][:30]
CASES = {
    "many": (MANY, 24, range(1, 9)),
    "few": (["deu", "jpn"], 3, [1]),
    "without Latin": (["cmn", "jpn"], 4, [1, 6]),
    "without text": (["deu", "spa"], 3, [1, 6], ("s2t",)),
}


@pytest.fixture(scope="module", params=CASES)
def tables(request):
    return made_up(*CASES[request.param])


def test_figures_fit_a_page_and_hold_all_that_they_are_given(tables):
    layers = drawing.draw_layers(tables["gini"])
    curves = drawing.draw_concentration(tables["lorenz"], tables["paired"], SCRIPTS, NAMES)
    for figure in (layers, curves):
        assert isinstance(figure, Figure)
        figure.draw_without_rendering()
        assert max(figure.get_size_inches()) <= MOST_INCHES
    decoder = tables["gini"][tables["gini"]["module"] == "decoder"]
    assert len(layers.axes) == 1 + decoder["step"].nunique()
    n_layers = tables["gini"]["layer"].nunique() - 2
    for axes, step in zip(layers.axes[1:], sorted(decoder["step"].unique()), strict=True):
        lines = [line for line in axes.get_lines() if len(line.get_xdata()) == n_layers]
        assert len(lines) == decoder["task"].nunique(), step
        hollow = [line for line in axes.get_lines() if line.get_markerfacecolor() == "white"]
        means = decoder[(decoder["language"] == "all") & (decoder["step"] == step)]
        changing = means[(means["layer"] == "step-dependent") & (means["submodule"] == "all")]
        drawn = [value for line in hollow for value in line.get_ydata()]
        assert sorted(drawn) == sorted(changing["gini"]), step
    crosses = [
        line for axes in curves.axes for line in axes.get_lines() if line.get_marker() == "x"
    ]
    changing = tables["paired"][tables["paired"]["layer"] == "step-dependent"]
    drawn = [value for line in crosses for value in line.get_xdata()]
    assert sorted(drawn) == sorted(changing["difference"])
    labels = [text.get_text() for axes in curves.axes for text in axes.get_yticklabels()]
    for language in tables["paired"]["language"].unique():
        assert ("mean" if language == "all" else f"{NAMES[language]} ({language})") in labels


def test_figures_are_written(tmp_path):
    tables = made_up(*CASES["few"])
    for name in ("gini", "lorenz", "paired"):
        write_csv(tables[name], tmp_path / f"{name}.csv")
    drawing.figure14(tmp_path / "gini.csv", tmp_path / "figure14")
    drawing.figure15(tmp_path / "lorenz.csv", tmp_path / "paired.csv", tmp_path / "figure15")
    for number, kind in itertools.product((14, 15), ("svg", "png")):
        assert (tmp_path / f"figure{number}.{kind}").stat().st_size > 1000


def test_figures_of_nothing_say_so():
    empty = {name: table.iloc[:0] for name, table in made_up(*CASES["few"]).items()}
    for figure in (
        drawing.draw_layers(empty["gini"]),
        drawing.draw_concentration(empty["lorenz"], empty["paired"], SCRIPTS, NAMES),
    ):
        assert figure.texts[0].get_text() == "no activation measured"


def rendered(content):
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_FOLDERS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = (
        '{% from "macros.html.j2" import grid, grids, figure, points with context %}'
        '{% include "inequality/section.html.j2" %}'
    )
    figures = dict.fromkeys(section.FIGURES, "data:,")
    return environment.from_string(page).render(section=content, figures=figures)


def test_the_section_shows_every_language(tables):
    content = section.content(tables, Formatter())
    html = rendered(content)
    for number in section.FIGURES:
        assert f'id="figure-{number}"' in html
    for language in tables["lorenz"]["language"].unique():
        assert f">{language}<" in html
    assert content["findings"]
    assert not any("nan" in sentence.split() for sentence in content["findings"])


def test_findings_are_read_from_the_tables():
    tables = made_up(["deu", "spa", "jpn"], 2, [1, 6])
    keys = ["speech_task", "language", "step", "layer"]
    paired = tables["paired"].set_index(keys).sort_index()
    for place, language in enumerate(("deu", "spa", "jpn")):
        paired.loc[("s2t", language), ["p_holm", "difference"]] = (0.01, 0.02 - 0.015 * place)
    paired.loc[("s2t", "jpn", 6, "all"), "p_holm"] = 0.6
    paired.loc[("s2t", "all", 6, "all"), ["difference", "ci_low", "ci_high"]] = (-0.01, -0.02, 0)
    tables["paired"] = paired.reset_index()
    tables["gini"].loc[0, "n_zero"] = 3
    findings = section.content(tables, Formatter())["findings"]
    first = next(one for one in findings if "(s2t − t2t)" in one)
    first = first.replace("\N{NO-BREAK SPACE}", " ")
    assert "−0.0100 [−0.0200, +0.0000] at t = 6" in first
    assert "Of 6 tests by language and step, 4 find speech more concentrated and 1 text" in first
    others = next(one for one in findings if "Gini coefficient in asr" in one)
    assert "+0.0030 [+0.0020, +0.0040]" in others
    assert any("1 % of the decoder's neurons" in one and "5.0 %" in one for one in findings)
    assert any(one.startswith("3 coefficients have no value") for one in findings)


def test_too_few_sentences_for_a_test_are_said():
    tables = made_up(["deu"], 2, [1])
    tables["paired"]["n_pairs"] = 5  # 2 / 2^5 = 0.0625
    findings = section.content(tables, Formatter())["findings"]
    assert any(
        "With 5 sentences no corrected p below 0.0625 is possible" in one for one in findings
    )
    tables["paired"]["n_pairs"] = 6
    findings = section.content(tables, Formatter())["findings"]
    assert not any("is possible" in one for one in findings)
