"""The figures and the report's section of modality-selective neurons."""

import itertools

import numpy as np
import pandas as pd
import pytest
from study_sections import rendered

from steplens.studies.modality import figures

STEPS = (1, 6)
TASKS = {"s2t": "speech", "t2t": "text"}
LAYERS = ("embedding", "0", "1", "adapter")


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    conditions = [(*one, step) for step, one in itertools.product(STEPS, TASKS.items())]
    neurons = pd.DataFrame(
        [
            (*one, language, 300, 1000, 1.0, 7 if language == "all" else 9, 20, 50, 0.8, 0.75, 0.125)
            for one in conditions
            for language in ("all", "deu")
        ],
        columns=[
            "task", "modality", "step", "language", "n_valid", "n_neurons", "best_ap", "n_perfect",
            "n_strong", "k", "ap_at_k", "invariant_share", "invariant_expected",
        ],
    )  # fmt: skip
    location = pd.DataFrame(
        [
            (*one, language, layer, name, "k_proj" in name, 25, 5.0 * (layer + 1), 2.5)
            for one in conditions
            for language, layer, name in itertools.product(
                ("all", "deu"), range(2), ("self_attn.q_proj", "cross_attention.k_proj")
            )
        ],
        columns=[
            "task", "modality", "step", "language", "layer", "submodule", "step_invariant", "n_units",
            "count", "expected",
        ],
    )  # fmt: skip
    overlap = pd.DataFrame(
        [(*one, code, 50, shared, 2.5, 0.01, 0.1) for one in conditions
         for code, shared in (("deu", 10), ("cmn", 20))],
        columns=["task", "modality", "step", "language", "k", "shared", "expected", "p", "rho"],
    )  # fmt: skip
    probed = [("speech_encoder", "speech", 0, LAYERS), ("text_encoder", "text", 0, LAYERS[:3])]
    probed += [
        ("decoder", task, step, LAYERS[:3]) for task, step in itertools.product(TASKS, STEPS)
    ]
    probes = pd.DataFrame(
        [
            (*one, layer, language, 0.9 - 0.1 * place, 0.5, 1.0, 0.2, np.nan if place == 0 else 0.8, 60)
            for *one, layers in probed
            for (place, layer), language in itertools.product(enumerate(layers), ("deu", "all"))
        ],
        columns=[
            "module", "task", "step", "layer", "language", "recall", "recall_low", "recall_high", "chance",
            "best_neuron_ap", "n",
        ],
    )  # fmt: skip
    return {"neurons": neurons, "location": location, "overlap": overlap, "probes": probes}


def test_findings_follow_the_tables(tables):
    content, html = rendered("modality", tables)
    plain = "\n".join(content["findings"]).replace("\N{NO-BREAK SPACE}", " ")
    assert "without a fault tell speech 7 at t = 1, 7 at t = 6" in plain
    assert (
        "Of the top 50 neurons for speech in speech translation (s2t), all languages pooled, 75.0 % at t = 1"
        in plain
    )
    assert "lie in the cross-attention's keys and values (of all neurons 12.5 %)" in plain
    assert "in s2t 15 at t = 1, " in plain
    assert "(by chance 2.5)" in plain
    assert "a linear probe tells it in s2t 90.0 % at t = 1, " in plain
    assert (
        "In the speech encoder a linear probe tells the language of 60.0 % of the utterances at its "
        in plain
    )
    assert "(the adapter)" in plain
    assert "70.0 % of the utterances at its end (layer 1)" in plain
    assert 'src="data:figure12"' in html
    assert "nan" not in html.lower()


def test_location_draws_pooled_rankings_by_step(tables):
    figure = figures.draw_location(tables["location"])
    grid = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in grid[:2]] == ["t = 1", "t = 6"]
    np.testing.assert_allclose(np.asarray(grid[0].images[0].get_array()), [[2, 4], [2, 4]])
    labels = [one.get_text() for one in grid[0].get_yticklabels()]
    assert labels == ["self_attn.q_proj", "cross_attention.k_proj*"]


def test_probes_are_drawn_by_layer_with_the_encoders_first(tables):
    figure = figures.draw_probes(tables["probes"])
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["encoders", "decoder, t = 1", "decoder, t = 6"]
    encoders = figure.axes[0]
    lines = {line.get_label(): line for line in encoders.lines if "encoder" in line.get_label()}
    np.testing.assert_allclose(lines["speech encoder"].get_ydata(), [90, 80, 70, 60])
    assert len(lines["text encoder"].get_xdata()) == 3
    below = figure.axes[3]
    assert [one.get_text() for one in below.get_xticklabels()] == list(LAYERS)
    legend = [text.get_text() for text in figure.legends[0].texts]
    assert len(legend) == 5
    assert legend[-1] == "chance, 20.0 %"


def test_many_layers_and_steps_are_readable(tables):
    layers = ["embedding", *map(str, range(24))]
    probes = pd.DataFrame(
        list(itertools.product(range(1, 9), ("s2t", "t2t", "asr", "tr"), layers)),
        columns=["step", "task", "layer"],
    ).assign(
        language="all", recall=0.5, recall_low=0.4, recall_high=0.6, chance=0.03, best_neuron_ap=0.5
    )
    figure = figures.draw_probes(probes)
    assert max(figure.get_size_inches()) <= 16
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert len(panels) == 8
    ticks = [one.get_text() for one in figure.axes[5].get_xticklabels()]
    assert ticks[0] == "embedding"
    assert len(ticks) <= 10
