"""The report of a run: one HTML file that holds its figures, tables and findings."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from steplens.control import ALL_PAIRS, PAPERS_PAIRS
from steplens.errors import ReportError
from steplens.files.atomic import read_csv, write_text
from steplens.languages.writing_systems import Tokens
from steplens.report import findings
from steplens.report.formatting import (
    CONTROLS,
    Cell,
    Formatter,
    Table,
    how_many,
    number,
    points,
    step_name,
    task_name,
    two_decimals,
)
from steplens.report.sections import TEMPLATE_FOLDERS, section
from steplens.settings import DEFAULT_SELECTION
from steplens.tasks import STEERED_TASKS
from steplens.wording import in_order, percent

# Which rule makes a table: the error about a missing one names it.
RULES = {
    "learning_curve": "gather_comparison",
    "location": "locate",
    "null_ratio": "gather_comparison",
    "overlap_summary": "gather_comparison",
    "spearman_summary": "gather_comparison",
    "stability": "gather_comparison",
    "valid_counts": "count_valid",
    "control_rates": "summarize_steering",
    "effects": "summarize_steering",
    "mean_effect_ratios": "summarize_steering",
    "quality": "summarize_steering",
    "ties": "count_ties",
    "recognition": "recognition",
    "speech_quality": "speech_quality",
    "table1": "tables",
    "table2": "tables",
    "table3": "tables",
    "table4": "tables",
    "table5": "table5",
}
FIGURES = (*range(2, 10), 11, 20)
FIGURE_RULE = "figure"
# Only where the run has a second source of speech.
SOURCES_FIGURE = 10
SOURCES_TABLE = "speech_sources"
SOURCES_RULE = "compare_speech"
_FLAGGED_SHOWN = 20

_TOKENS = {
    "script_runs": "a run of letters of one script, in Han and kana one character",
    "characters": "one letter with its marks, in every script",
}

# The paper's numbers at t = 1, 6, 11; a share of one but for the effect ratio.
PAPER_MODEL = "SeamlessM4T v2 large"
PAPER_STEPS = (1, 6, 11)
PAPER = {
    "Diagonal ratio (figure 4)": (0.566, 0.3463, 0.3683),
    "Spearman diagonal concentration (figure 5)": (0.229, 0.201, 0.209),
    "Mean effect ratio, the paper's pairs": (None, 0.36, 0.49),
    "Mean effect ratio, all pairs (table 3)": (None, None, None),
    "Control rate, asr, deu → jpn (table 1)": (0.0, 0.6085, 0.8332),
    "Control rate, tr, deu → jpn (table 1)": (0.0, 0.1416, 0.2289),
}


def write_report(
    run: str,
    tables: Mapping[str, Path],
    figures: Mapping[int, Path],
    output: Path,
    settings: dict[str, Any],
    versions: dict[str, str],
    provenance: dict[str, Any],
    with_sources: bool = False,
    studies: Mapping[str, Mapping[str, Path]] | None = None,
    rate_tokens: Tokens = "script_runs",
) -> None:
    """Write the report of a run as one HTML file that needs nothing beside it.

    Parameters
    ----------
    run : str
        Its name.
    tables : mapping of name to CSV
        Those of ``RULES``, and ``SOURCES_TABLE`` with a second source of speech; others are not read.
    figures : mapping of number to SVG
        Those of ``FIGURES``, of the studies, and ``SOURCES_FIGURE`` with a second source of speech.
    output : path
        The HTML file.
    settings : dict
        The merged config, shown as YAML.
    versions : dict
        Version of each library and program.
    provenance : dict
        What was run (model, corpus, languages, utterances, steps, speech engine and the like) in
        the order in which to show it. Lists are joined; language codes get their names.
    with_sources : bool
        Whether a second source of speech was set against the first.
    studies : mapping of study to mapping of name to CSV, optional
        Neighbouring studies, each with a section (``sections``) and its tables, in the order in which to
        show them.
    rate_tokens : {"script_runs", "characters"}
        What counted as a token for the control rates.

    Raises
    ------
    ReportError
        A table or a figure is missing; names the file and the rule that makes it.
    """
    read = {name: _read(tables, name, rule) for name, rule in RULES.items()}
    shown = (*FIGURES, SOURCES_FIGURE) if with_sources else FIGURES
    embedded = {figure: _embedded(figures, figure) for figure in shown}
    sources = _read(tables, SOURCES_TABLE, SOURCES_RULE) if with_sources else None
    ties = settings.get("ranking", {}).get("ties", DEFAULT_SELECTION.ties)
    form = Formatter()
    sections = []
    for study, own_tables in (studies or {}).items():
        one = section(study)
        embedded |= {figure: _embedded(figures, figure) for figure in one.FIGURES}
        sections.append(_study(study, own_tables, form))
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_FOLDERS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("report.html.j2").render(
        run=run,
        provenance={key: _described(value, form) for key, value in provenance.items()},
        languages=_languages(read["valid_counts"], form),
        sharing=[
            *findings.sharing(read["overlap_summary"]),
            *_ties_of(read["location"], ties, "decoder"),
        ],
        stability=findings.stability(read["stability"]),
        null=findings.null(read["null_ratio"]),
        learning=findings.learning_curve(read["learning_curve"]),
        stability_table=form.grouped(_stability(read["stability"]), ["step"], _by_language),
        null_table=form.table(_null(read["null_ratio"])),
        learning_table=form.grouped(_learning(read["learning_curve"]), ["step"], _by_sentences),
        steering=[
            *findings.steering(read["effects"]),
            *findings.collapse(read["quality"]),
            *findings.control_ties(read["ties"], ties),
        ],
        transfer=findings.transfer(read["mean_effect_ratios"]),
        speech=form.table(_speech(read["speech_quality"])),
        flagged=_flagged(read["speech_quality"], form),
        sources=[] if sources is None else findings.sources(sources),
        sources_table=[] if sources is None else form.grouped(sources, ["module"]),
        studies=sections,
        figures=embedded,
        facts=_facts(read, ties) | {"token": _TOKENS[rate_tokens]},
        counts=_counts(read["valid_counts"], form),
        recognition=form.grouped(_recognition(read["recognition"]), ["task"]),
        table1=form.grouped(_rates_first(read["table1"]), ["task", "step"], _mean_rates),
        effects=form.grouped(_effects(read["effects"]), ["task"], _by_direction),
        table2=form.grouped(read["table2"], ["step"], lambda part: how_many(len(part), "example")),
        table3=form.grouped(read["table3"], ["step"], _mean_ratio),
        table4=form.grouped(read["table4"], ["task", "step"], _mean_probabilities),
        quality=form.grouped(_mean_quality(read["quality"]), ["task"], _over_pairs),
        table5=form.table(read["table5"]),
        paper=_beside_paper(read),
        paper_model=PAPER_MODEL,
        same_model=_is_the_papers(provenance),
        settings=_as_yaml(settings),
        versions=versions,
    )
    write_text(output, html)


def _read(tables: Mapping[str, Path], name: str, rule: str) -> pd.DataFrame:
    path = tables.get(name)
    if path is None or not path.is_file():
        raise ReportError(f"{path or name}: expected a table, got none; run the rule {rule}")
    return read_csv(path)


def _embedded(figures: Mapping[int, Path], number: int) -> str:
    """A figure as a data address; in an image of its own, so that element ids cannot clash."""
    path = figures.get(number)
    if path is None or not path.is_file():
        named = path or f"figure {number}"
        raise ReportError(f"{named}: expected a figure, got none; run the rule {FIGURE_RULE}")
    return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode()


def _study(name: str, tables: Mapping[str, Path], form: Formatter) -> dict[str, Any]:
    """The section of a neighbouring study."""
    one = section(name)
    read = {table: _read(tables, table, rule) for table, rule in one.TABLES.items()}
    content = one.content(read, form)
    return {"name": name, "title": one.TITLE, "figures": one.FIGURES, "content": content}


def _as_yaml(settings: dict[str, Any]) -> str:
    plain = json.loads(json.dumps(settings, default=str))  # paths and tuples have no safe YAML
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def _is_the_papers(provenance: dict[str, Any]) -> bool:
    models = [str(value).lower() for key, value in provenance.items() if key.lower() == "model"]
    return any("seamless-m4t-v2-large" in model for model in models)


def _described(value: Any, form: Formatter) -> str:
    values = value if isinstance(value, (list, tuple)) else [value]
    return ", ".join(form.name(item) if isinstance(item, str) else str(item) for item in values)


def _languages(counts: pd.DataFrame, form: Formatter) -> dict[str, str]:
    codes = in_order(counts["language"])
    return {code: form.languages[code].name for code in codes if code in form.languages}


def _ties_of(location: pd.DataFrame, ties: str, *modules: str) -> list[str]:
    """What ties decided of representation neurons in some modules: one sentence, from ``location.csv``."""
    # The decoder's asr and tr, which the table has too, are in no figure of the comparison.
    shown = location["module"].isin(modules) & ~location["task"].isin(STEERED_TASKS)
    sets = location[shown].groupby(["module", "task", "step", "language"], sort=False)
    if not len(sets):
        return []
    counts = sets[["decided_by_tie", "tied"]].first().reset_index()
    k = int(sets["count"].sum().max())
    return [findings.ties(counts, f"top {k:,} of a language", ties)]


def _facts(tables: dict[str, pd.DataFrame], ties: str) -> dict[str, str]:
    """What the captions say in numbers."""
    location, overlap = tables["location"], tables["overlap_summary"]
    facts = {
        "k": f"{overlap['k'].iloc[0]:,}",
        "chance": percent(overlap["chance"].iloc[0]),
        "n_languages": str(overlap["n_languages"].iloc[0]),
    }
    for key, part in (
        ("encoders", location[location["module"] != "decoder"]),
        ("decoder", location[location["module"] == "decoder"]),
    ):
        low, high = part["expected"].min(), part["expected"].max()
        facts[f"expected_{key}"] = f"{number(low)} to {number(high)}"
        totals = part.groupby(["module", "task", "step", "language"])["count"].sum()
        facts[f"k_{key}"] = f"{int(totals.max()):,}" if len(totals) else "k"
        facts[f"ties_{key}"] = " ".join(_ties_of(part, ties, *part["module"].unique()))
    return facts


def _speech(quality: pd.DataFrame) -> pd.DataFrame:
    """How each language was spoken: a row a language."""
    groups = quality.groupby("language", sort=False)
    return pd.DataFrame(
        {
            "engine": groups["engine"].first(),
            "voice": groups["voice"].first(),
            "n_utterances": groups.size(),
            "minutes": groups["seconds"].sum().div(60).round(1),
            "seconds_per_character": groups["seconds_per_character"].median(),
            "cer": groups["cer"].median(),
            "n_flagged": groups["flagged"].sum(),
            "n_left_out": groups["left_out"].sum(),
        }
    ).reset_index()


def _flagged(quality: pd.DataFrame, form: Formatter) -> list[Table]:
    """The worst flagged utterances, if there are any."""
    flagged = quality[quality["flagged"].astype(bool)].sort_values("cer", ascending=False)
    if flagged.empty:
        return []
    columns = ["language", "utterance", "attempt", "reason", "reference", "recognised"]
    summary = how_many(len(flagged), "flagged utterance")
    if len(flagged) > _FLAGGED_SHOWN:
        summary += f", the first {_FLAGGED_SHOWN} by error rate"
    return [form.table(flagged[columns].head(_FLAGGED_SHOWN).fillna(""), summary)]


def _counts(counts: pd.DataFrame, form: Formatter) -> list[Table]:
    """Valid utterances: language x step for each task."""
    tables = []
    for task, part in counts.groupby("task", sort=False):
        wide = part.pivot(index="language", columns="step", values="n_valid")
        wide = wide.reindex(in_order(part["language"]))
        total = part.groupby("language")["n_utterances"].max()
        rows = [
            [form.code(code), Cell(f"{total[code]:,}"), *(Cell(number(n)) for n in row)]
            for code, row in zip(wide.index, wide.to_numpy(), strict=True)
        ]
        columns = ["language", "utterances", *(step_name(step) for step in wide.columns)]
        tables.append(Table(columns, rows, task_name(task)))
    return tables


_HALVES = {
    "speech": "speech, two halves",
    "text": "text, two halves",
    "speech_text": "a half of speech, a half of text",
    "corrected": "the same, corrected for chance and noise",
}
_SHUFFLED = {"together": "speech and text together", "apart": "speech and text apart"}


def _stability(table: pd.DataFrame) -> pd.DataFrame:
    """Split halves with their measures in words."""
    return table.assign(measure=table["measure"].map(_HALVES)).drop(columns="k")


def _null(table: pd.DataFrame) -> pd.DataFrame:
    """Ratios of shuffled labels, the kind of shuffle in words."""
    shown = [
        "step",
        "diagonal_ratio",
        "shuffled",
        "null_ratio",
        "null_ratio_low",
        "null_ratio_high",
    ]
    return table.assign(shuffled=table["null"].map(_SHUFFLED))[[*shown, "p", "n_shuffles"]]


def _learning(table: pd.DataFrame) -> pd.DataFrame:
    """The learning curve with its measures in words."""
    words = {"diagonal_ratio": "diagonal ratio"} | _HALVES
    return table.assign(measure=table["measure"].map(words)).drop(columns=["k", "fraction"])


def _by_sentences(part: pd.DataFrame) -> str:
    return "learning curve, by number of sentences"


def _by_language(part: pd.DataFrame) -> str:
    return "split halves by language"


def _effects(table: pd.DataFrame) -> pd.DataFrame:
    """Effects with their range over the seeds of random neurons in one column."""
    if table.empty:
        return table
    shown = table.drop(columns=["n_seeds", "seed_low", "seed_high"])
    if not (table["n_seeds"] > 1).any():
        return shown
    return shown.assign(
        by_seed=[
            f"{points(row.seed_low)} to {points(row.seed_high)}, {how_many(row.n_seeds, 'seed')}"
            if row.n_seeds > 1
            else "–"
            for row in table.itertuples()
        ]
    )


def _recognition(table: pd.DataFrame) -> pd.DataFrame:
    """Of the counts of tokens those of unknown ones, which are read against none."""
    return table.drop(columns=["n_input_tokens", "n_output_tokens"], errors="ignore")


def _rates_first(table: pd.DataFrame) -> pd.DataFrame:
    """Table 1 with its counts of texts in neither script last, without those that are all zero."""
    counts = [name for name in table.columns if name.endswith("n_without_script")]
    shown = [name for name in counts if table[name].any()]
    return table[[*(name for name in table.columns if name not in counts), *shown]]


def _by_direction(part: pd.DataFrame) -> str:
    return "by step, direction and baseline"


def _over_pairs(part: pd.DataFrame) -> str:
    return "means over pairs, by step and control"


def _mean_rates(part: pd.DataFrame) -> str:
    means = [f"{CONTROLS[name]} {percent(part[name].mean())}" for name in CONTROLS if name in part]
    return f"{how_many(len(part), 'pair')}; mean: {', '.join(means)}"


def _mean_probabilities(part: pd.DataFrame) -> str:
    columns = {name: f"{name}_p_target" for name in CONTROLS}
    means = [
        f"{CONTROLS[name]} {percent(part[column].mean())}"
        for name, column in columns.items()
        if column in part
    ]
    return f"{how_many(len(part), 'pair')}; mean P(target language): {', '.join(means)}"


def _mean_ratio(part: pd.DataFrame) -> str:
    pairs = part[part["source"] != "mean"]
    return f"{how_many(len(pairs), 'pair')}; mean ratio {two_decimals(pairs['ratio'].mean())}"


def _mean_quality(quality: pd.DataFrame) -> pd.DataFrame:
    """Means over pairs, and how many pairs."""
    if quality.empty:
        return quality
    measures = ["cer", "degenerate_share", "unfinished_share"]
    groups = quality.groupby(["task", "step", "control"], sort=False)
    return groups[measures].mean().assign(n_pairs=groups.size()).reset_index()


def _beside_paper(tables: dict[str, pd.DataFrame]) -> Table:
    """The paper's numbers beside those of this run, at the paper's steps."""
    rates = tables["control_rates"]
    rates = rates[
        (rates["source"] == "deu") & (rates["target"] == "jpn") & (rates["control"] == "steered")
    ]
    means = tables["mean_effect_ratios"]
    over = [means[means["pairs"] == one].set_index("step") for one in (PAPERS_PAIRS, ALL_PAIRS)]
    ours = (
        tables["overlap_summary"].set_index("step")["diagonal_ratio"],
        tables["spearman_summary"].set_index("step")["diagonal_concentration"],
        *(one["ratio"] for one in over),
        rates[rates["task"] == "asr"].set_index("step")["rate"],
        rates[rates["task"] == "tr"].set_index("step")["rate"],
    )
    n_pairs = (None, None, *(one["n_pairs"] for one in over), None, None)
    rows = []
    for (label, theirs), found, counts in zip(PAPER.items(), ours, n_pairs, strict=True):
        form = percent if counts is None else two_decimals
        cells = [Cell(label, "word")]
        for step, paper in zip(PAPER_STEPS, theirs, strict=True):
            own = form(found.get(step))
            if counts is not None and step in counts:
                own += f" ({how_many(counts[step], 'pair')})"
            cells += [Cell(form(paper)), Cell(own)]
        rows.append(cells)
    columns = [
        f"{step_name(step)}, {whose}" for step in PAPER_STEPS for whose in ("paper", "this run")
    ]
    return Table(["", *columns], rows)
