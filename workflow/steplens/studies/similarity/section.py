"""Report section: how alike languages and modalities are represented, layer by layer."""

from typing import Any

import numpy as np
import pandas as pd

from steplens.models.neurons import ADAPTER
from steplens.report.formatting import Formatter, Table, how_many, interval, step_name, two_decimals
from steplens.studies.similarity.figures import MEASURES

TITLE = "How alike speech and text, and languages, are represented"
TABLES = dict.fromkeys(("gaps", "lengths", "resources", "languages"), "similarity_tables")
FIGURES = {16: "Similarity by layer", 17: "Trees of languages"}
_MAIN = "cka_debiased"
_COLUMNS = {
    "cross_modal_same_language": "one language, speech and text",
    "cross_lingual_speech": "two languages, speech",
    "cross_lingual_text": "two languages, text",
    "modality_gap": "modality gap",
    "language_gap": "language gap",
}
_BY = {"characters": "characters of text", "seconds": "seconds of speech"}


def content(tables: dict[str, pd.DataFrame], form: Formatter) -> dict[str, Any]:
    """Findings and tables of the section."""
    gaps = tables["gaps"].assign(layer=tables["gaps"]["layer"].astype(str))
    encoder = gaps[gaps["module"] == "encoder"]
    decoder = gaps[(gaps["module"] == "decoder") & (gaps["measure"] == _MAIN)]
    lengths, levels = tables["lengths"], _of_levels(tables["resources"])
    return {
        "findings": [
            *_gaps_found(encoder),
            *_adapter(encoder),
            *_within_modalities(encoder),
            *_bias(encoder),
            *_decoder(decoder),
            *_lengths_found(lengths),
            *_levels_found(levels),
            *_trees(tables["languages"]),
        ],
        "n_languages": int(gaps["n_languages"].max()),
        "n_fewest": int(encoder["n_fewest"].min()),
        "measures": [
            form.table(_wide(part), f"{MEASURES[measure]}, less what shuffled sentences give")
            for measure, part in encoder.groupby("measure", sort=False)
        ],
        "decoder": [
            form.table(_wide(part), f"{task.replace('_', ' / ')}, {step_name(int(step))}")
            for (task, step), part in decoder.groupby(["task", "step"], sort=False)
        ],
        "lengths": _by_length(lengths, form),
        "levels": _by_level(levels, form),
    }


def _wide(gaps: pd.DataFrame, keys: tuple[str, ...] = ("layer",)) -> pd.DataFrame:
    """A row a layer, a column a kind of pair with the ends of its interval, corrected for shuffling."""
    rows = []
    for key, part in gaps.groupby(list(keys), sort=False):
        row = dict(zip(keys, key, strict=True))
        by_group = part.set_index("group")
        for group, name in _COLUMNS.items():
            found = by_group.loc[group]
            row[name] = found["corrected"]
            row[f"{name}_low"], row[f"{name}_high"] = (
                found["corrected_low"],
                found["corrected_high"],
            )
        rows.append(row)
    return pd.DataFrame(rows)


def _at(gaps: pd.DataFrame, group: str) -> pd.DataFrame:
    """Rows of debiased CKA, by layer."""
    part = gaps[(gaps["measure"] == _MAIN) & (gaps["group"] == group)]
    return part.set_index("layer")


def _valued(row: pd.Series) -> str:
    ends = interval(row["value_low"], row["value_high"], two_decimals)
    return " ".join(filter(None, [two_decimals(row["value"]), ends]))


def _layer(name: str) -> str:
    return f"layer {name}" if name.isdigit() else f"the {name}"


def _gaps_found(encoder: pd.DataFrame) -> list[str]:
    modality, language, wider = (
        _at(encoder, group) for group in ("modality_gap", "language_gap", "modality_minus_language")
    )
    layers = [name for name in modality.index if name != ADAPTER]
    if not layers:
        return []
    first, last = layers[0], layers[-1]
    sentences = [
        f"By debiased CKA the modality gap (1 − similarity of speech and text of one language) is "
        f"{_valued(modality.loc[first])} at {_layer(first)} and {_valued(modality.loc[last])} at the "
        f"encoders' last layer; the language gap (1 − similarity of two languages within a modality) "
        f"{_valued(language.loc[first])} and {_valued(language.loc[last])}."
    ]
    above = [name for name in wider.index if wider.loc[name, "value_low"] > 0]
    below = [name for name in wider.index if wider.loc[name, "value_high"] < 0]
    if wider["value_low"].notna().any():
        sentences.append(
            f"Of {how_many(len(wider), 'place')} from embedding to adapter the modality gap is the wider "
            f"one at {_list(above)}, and the language gap at {_list(below)}: there the interval of their "
            "difference leaves out 0."
        )
    return sentences


def _list(layers: list[str]) -> str:
    if not layers:
        return "no layer"
    numbers = [name for name in layers if name.isdigit()]
    words = [f"the {name}" for name in layers if not name.isdigit()]
    if len(numbers) > 4:
        numbers = [f"{len(numbers)} layers from {numbers[0]} to {numbers[-1]}"]
    elif numbers:
        numbers = [f"layer {', '.join(numbers)}"]
    return " and ".join([*numbers, *words])


def _adapter(encoder: pd.DataFrame) -> list[str]:
    rows = _at(encoder, "cross_modal_same_language")
    if ADAPTER not in rows.index or len(rows) < 2:
        return []
    before = rows.iloc[list(rows.index).index(ADAPTER) - 1]
    return [
        f"Speech and text of one language have a debiased CKA of {_valued(before)} at the last layer, and "
        f"{_valued(rows.loc[ADAPTER])} after the length adapter."
    ]


def _within_modalities(encoder: pd.DataFrame) -> list[str]:
    speech, text = (_at(encoder, f"cross_lingual_{one}")["value"] for one in ("speech", "text"))
    wider = int((speech < text).sum())
    return [
        f"Languages are less alike in speech than in text at {wider} of {how_many(len(speech), 'place')} "
        "from the encoders' embedding to the adapter."
    ]


def _bias(encoder: pd.DataFrame) -> list[str]:
    mean = encoder[encoder["group"].isin(list(_COLUMNS)[:3])].groupby("measure")["baseline"].mean()
    debiased = round(mean[_MAIN], 2) + 0.0  # no minus before a zero
    return [
        "With the sentences of one side shuffled, so that nothing is left to find, SVCCA is still "
        f"{two_decimals(mean['svcca'])}, PWCCA {two_decimals(mean['pwcca'])} and linear CKA "
        f"{two_decimals(mean['cka'])}; debiased CKA is {two_decimals(debiased)}. That is what so "
        "few sentences give by themselves, and what the corrected values have taken off."
    ]


def _decoder(decoder: pd.DataFrame) -> list[str]:
    sentences = []
    for task, part in decoder.groupby("task", sort=False):
        steps = []
        for step, of_step in part.groupby("step", sort=True):
            last = of_step[of_step["layer"] == of_step["layer"].iloc[-1]].set_index("group")[
                "value"
            ]
            steps.append(
                f"{two_decimals(last['modality_gap'])} and {two_decimals(last['language_gap'])} at "
                f"{step_name(int(step))}"
            )
        sentences.append(
            f"In the decoder's last layer, {task.replace('_', ' / ')}, modality gap and language gap are "
            f"{'; '.join(steps)} (debiased CKA)."
        )
    return sentences


def _lengths_found(lengths: pd.DataFrame) -> list[str]:
    if lengths.empty:
        return []
    lengths = lengths.assign(layer=lengths["layer"].astype(str))
    last = [name for name in dict.fromkeys(lengths["layer"]) if name != ADAPTER][-1]
    part = lengths[(lengths["measure"] == _MAIN) & (lengths["layer"] == last)]
    sentences = []
    for by, of_kind in part.groupby("by", sort=False):
        rows = of_kind.pivot(index="bin", columns="group", values="value")
        sentences.append(
            f"Among sentences of similar length, by {_BY[by]} from the shortest to the longest bin, the "
            f"modality gap at the last layer is {_series(rows['modality_gap'])} and the language gap "
            f"{_series(rows['language_gap'])}."
        )
    return sentences


def _of_levels(resources: pd.DataFrame) -> pd.DataFrame:
    """Debiased CKA of the encoders among the languages of each resource level."""
    rows = resources[(resources["module"] == "encoder") & (resources["measure"] == _MAIN)]
    return rows.astype({"level": str, "layer": str})


def _levels_found(levels: pd.DataFrame) -> list[str]:
    """What the length adapter does to the modality gap, level by level."""
    modality = levels[levels["group"] == "modality_gap"]
    sentences = []
    for level, part in modality.groupby("level", sort=False):
        rows = part.set_index("layer")
        if ADAPTER not in rows.index or len(rows) < 2:
            continue
        before = rows["value"].iloc[list(rows.index).index(ADAPTER) - 1]
        sentences.append(
            f"level {level} ({how_many(rows['n_languages'].iloc[0], 'language')}) "
            f"{two_decimals(before)} and {two_decimals(rows.loc[ADAPTER, 'value'])}"
        )
    if len(sentences) < 2:  # one level is all languages: nothing to set beside it
        return []
    return [
        "By resource level (5 most, 0 least), the modality gap before and after the length adapter is "
        f"{'; '.join(sentences)} (debiased CKA)."
    ]


def _by_level(levels: pd.DataFrame, form: Formatter) -> list[Table]:
    tables = []
    for level, part in levels.groupby("level", sort=False):
        languages = how_many(part["n_languages"].iloc[0], "language")
        tables.append(form.table(_wide(part), f"Level {level}, {languages}, debiased CKA"))
    return tables


def _series(values: pd.Series) -> str:
    return ", ".join(two_decimals(value) for value in values)


def _trees(table: pd.DataFrame) -> list[str]:
    pairs = table[table["kind"] == "distance"].pivot(
        index=["one", "other"], columns="modality", values="distance"
    )
    if len(pairs) < 3 or pairs.shape[1] < 2:
        return []
    related = np.corrcoef(pairs["speech"], pairs["text"])[0, 1]
    return [
        f"Over {how_many(len(pairs), 'pair')} of languages, distances in speech and in text have a "
        f"correlation of {two_decimals(related)}."
    ]


def _by_length(lengths: pd.DataFrame, form: Formatter) -> list[Table]:
    if lengths.empty:
        return []
    lengths = lengths[lengths["measure"] == _MAIN]
    tables = []
    for by, part in lengths.groupby("by", sort=False):
        frame = _wide(part, ("layer", "bin"))
        frame["bin"] = frame["bin"].astype(str)
        tables.append(form.table(frame, f"By {_BY[by]}, debiased CKA; bin 1 holds the shortest"))
    return tables
