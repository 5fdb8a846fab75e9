"""The results of a run in a notebook: ``run = steplens.open_run("results/demo")``.

Results are found by what they are (task, language, step), never by path, and read with the same checks as in
the workflow: a damaged table or store, or one of another condition, is an error.

The configuration of a run stands whole in one place, the metadata of its report. Before the report is
written, languages, tasks and steps are those that have results on disk.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from steplens.errors import RunError
from steplens.files.atomic import read_csv
from steplens.files.table_metadata import read_metadata
from steplens.ranking.table import Ranking, open_ranking
from steplens.run.layout import RESULTS, RunLayout, place_of, written_last
from steplens.settings import Selection
from steplens.store.conditions import read_condition
from steplens.store.groups import read_root
from steplens.store.reading import open_store
from steplens.tasks import MODALITIES, TASKS

_CSV = ".csv"  # which the name of a table may have or not
# What ``Run.model`` takes from a store.
_MODEL = (
    "model", "revision", "config_digest", "compute_dtype", "attention", "device", "torch", "transformers",
)  # fmt: skip


def open_run(path: str | Path) -> "Run":
    """Open the results of a run, finished or not; nothing is read yet.

    Parameters
    ----------
    path : path
        ``results/<run>``.

    Raises
    ------
    RunError
        No results lie there.

    Examples
    --------
    >>> run = open_run("results/demo")  # doctest: +SKIP
    >>> run.store("asr", "deu", step=1)  # doctest: +SKIP
    >>> run.ranking("asr", step=1).top("deu", k=400)  # doctest: +SKIP
    >>> run.table("comparison/overlap_summary")  # doctest: +SKIP
    """
    layout = RunLayout(Path(path).expanduser())
    if not _holds_results(layout):
        there = "a folder without any" if layout.root.is_dir() else "no such folder"
        above = layout.root if layout.root.is_dir() else layout.root.parent
        runs = [one for one in _folders(above) if _holds_results(RunLayout(one))]
        near = f"; runs in {above}: {', '.join(one.name for one in runs)}" if runs else ""
        raise RunError(f"{path}: expected the results of a run, got {there}{near}")
    return Run(layout)


@dataclass(frozen=True, repr=False)
class Run:
    """The results of one run.

    Attributes
    ----------
    layout : RunLayout
        Where every result lies, for what has no method here.
    """

    layout: RunLayout

    @cached_property
    def config(self) -> dict[str, Any] | None:
        """The merged configuration that the report was made with; None before it is written.

        Raises
        ------
        TableError
            The report or its metadata is damaged.
        """
        report = self.layout.report
        if not report.is_file():
            return None
        return read_metadata(report)["steplens:settings"]["settings"]

    @cached_property
    def languages(self) -> list[str]:
        """Languages under study, by ISO 639-3 code: those of the configuration, in its order."""
        if self.config is not None:
            return list(self.config["languages"])
        return self._values("language", ("corpus", "encoder_store", "decoder_store"))

    @cached_property
    def tasks(self) -> list[str]:
        """Tasks that have decoded sentences."""
        found = self._values("task", ("decoding", "decoder_store"))
        return [task for task in TASKS if task in found]

    @cached_property
    def steps(self) -> list[int]:
        """Decoding steps of the decoder's stores, from 1, ascending."""
        if self.config is not None:
            return sorted(self.config["steps"])
        return sorted(map(int, self._values("step", ("decoder_store",))))

    @cached_property
    def model(self) -> dict[str, Any]:
        """Model, revision and precision, as a store names them; empty before there is one."""
        for result in ("encoder_store", "decoder_store"):
            for path, _ in self.layout.find(result):
                if written_last(path).is_file():
                    told = read_root(path)["attributes"]
                    return {key: told[key] for key in _MODEL if key in told}
        return {}

    @property
    def tables(self) -> list[str]:
        """Names of the tables that ``table`` reads, such as ``"comparison/overlap"``, sorted."""
        return sorted(self._tables)

    @cached_property
    def _tables(self) -> dict[str, Path]:
        found = (
            path
            for result, one in RESULTS.items()
            if one.kind == "table"
            for path, _ in self.layout.find(result)
        )
        root = self.layout.root
        return {path.relative_to(root).with_suffix("").as_posix(): path for path in found}

    # --- results -------------------------------------------------------------------------------------

    def store(self, of: str, language: str, step: int | None = None) -> xr.Dataset:
        """The activations of one condition, opened lazily.

        Parameters
        ----------
        of : str
            A task (``s2t``, ``t2t``, ``asr``, ``tr``) for the decoder, a modality (``speech``, ``text``) for
            an encoder.
        language : str
        step : int, optional
            Of the decoder.

        Returns
        -------
        xarray.Dataset
            As ``open_store`` gives it: ``activation`` (utterance, neuron) and ``hidden_state`` (utterance,
            place, hidden), with coordinates.

        Raises
        ------
        RunError
            There is no such store; the message names those that there are.
        StoreError
            It is damaged, or of another condition.
        """
        if of in MODALITIES:
            if step is not None:
                raise RunError(f"step: expected none for the {of} encoder, got {step}")
            path = self._there("encoder_store", modality=of, language=language)
            return open_store(path, modality=of, language=language)
        step = self._step(of, step)
        path = self._there("decoder_store", task=of, language=language, step=step)
        return open_store(path, task=of, language=language, step=step)

    def ranking(self, of: str, step: int | None = None) -> "NeuronRanking":
        """AP of every neuron for every language, in one condition.

        Parameters
        ----------
        of : str
            A task for the decoder, a modality for its encoder.
        step : int, optional
            Of the decoder.

        Raises
        ------
        RunError
            There is no such ranking; the message names those that there are.
        StoreError
            It is damaged, or of another condition.
        """
        if of in MODALITIES:
            if step is not None:
                raise RunError(f"step: expected none for the {of} encoder, got {step}")
            module = f"{of}_encoder"
            ranking = open_ranking(self._there("encoder_ranking", encoder=module), module=module)
        else:
            step = self._step(of, step)
            path = self._there("decoder_ranking", task=of, step=step)
            ranking = open_ranking(path, module="decoder", task=of, step=step)
        return NeuronRanking(ranking, self._selection)

    def table(self, name: str) -> pd.DataFrame:
        """A table of the run, checked against its metadata.

        Parameters
        ----------
        name : str
            One of ``tables``; its last part is enough where no other folder has a table of that name
            (``"table1"``).

        Raises
        ------
        RunError
            There is no such table; the message names those that are like it.
        TableError
            It is damaged.
        """
        asked = name.removesuffix(_CSV)
        found = [one for one in self.tables if f"/{one}".endswith(f"/{asked}")]
        highest = min(
            (one.count("/") for one in found), default=0
        )  # not the tables of single steps
        found = [one for one in found if one.count("/") == highest]
        if len(found) == 1:
            return read_csv(self._tables[found[0]])
        if found:
            raise RunError(
                f"table: expected one table, got {name!r}, which is {' or '.join(found)}"
            )
        of_all_steps = [one for one in self.tables if one.count("/") == 1]
        like = difflib.get_close_matches(asked, of_all_steps, n=3, cutoff=0.3) or of_all_steps[:3]
        place = place_of(asked + _CSV)
        known = (
            "a table that is not there yet"
            if place and place.what == "table"
            else "none of any run"
        )
        raise RunError(
            f"table: expected one of the {len(self.tables)} tables of {self.layout.root} "
            f"(run.tables){', such as ' if like else ''}{_listed(like)}; got {name!r}, {known}"
        )

    def texts(self, task: str, language: str, step: int | None = None) -> pd.DataFrame:
        """What was written: decoded sentences, or with a step the outputs with neurons of that step fixed.

        Parameters
        ----------
        task, language : str
        step : int, optional
            Whose neurons were fixed; without it nothing was fixed.

        Raises
        ------
        RunError
            There are no such texts; the message names those that there are.
        TableError
            The table is damaged, or of another condition.
        """
        if step is None:
            path = self._there("decoding", task=task, language=language)
            return read_condition(path, task=task, language=language)
        path = self._there("steered_texts", task=task, language=language, step=step)
        return read_condition(path, task=task, source=language, step=step)

    def corpus(self, language: str) -> pd.DataFrame:
        """The sentences of a language; errors are those of ``texts``."""
        return read_condition(self._there("corpus", language=language), language=language)

    # -------------------------------------------------------------------------------------------------

    @property
    def _selection(self) -> Selection:
        """How the run chooses neurons; steplens's default before its configuration is known."""
        if self.config is None:
            return Selection()
        ranking = self.config["ranking"]
        seed = self.config["seed"] if ranking["ties"] == "random" else 0
        return Selection(ranking["ties"], ranking["scope"], seed)

    def _step(self, of: str, step: int | None) -> int:
        if of not in TASKS:
            names = ", ".join((*TASKS, *MODALITIES))
            raise RunError(f"expected a task or a modality, one of {names}, got {of!r}")
        if step is None:
            there = f"one of {_listed(self.steps)}" if self.steps else "a decoding step, from 1"
            raise RunError(f"step: expected {there} for task {of}, got none")
        return step

    def _values(self, field: str, results: Iterable[str], **known: Any) -> list[str]:
        """Values that a field has on disk, sorted."""
        return sorted(
            {of[field] for result in results for _, of in self.layout.find(result, **known)}
        )

    def _there(self, result: str, **fields: Any) -> Path:
        """The path of a finished result.

        Raises
        ------
        RunError
            It is not there.
        """
        try:
            path = getattr(self.layout, result)(**fields)
        except ValueError as error:
            raise RunError(str(error)) from error
        if written_last(path).is_file():
            return path
        what = result.replace("_", " ")
        asked = ", ".join(f"{field} {value}" for field, value in fields.items())
        there = {field: self._values(field, [result]) for field in fields}
        there = {field: values for field, values in there.items() if values}
        if "step" in there:
            there["step"] = sorted(map(int, there["step"]))
        known = "; ".join(f"{field} {_listed(values)}" for field, values in there.items())
        raise RunError(
            f"{path}: expected the {what} of {asked}, got none; "
            + (f"there are those of {known}" if known else f"no {what} of this run is there yet")
        )

    def __repr__(self) -> str:
        known = {
            "model": self.model.get("model", "no store yet"),
            "languages": _listed(self.languages),
            "tasks": _listed(self.tasks),
            "steps": _listed(self.steps),
            "stores": f"{self._count('encoder_store')} of encoders, "
            f"{self._count('decoder_store')} of the decoder",
            "rankings": f"{self._count('encoder_ranking')} of encoders, "
            f"{self._count('decoder_ranking')} of the decoder",
            "tables": f"{len(self.tables)}, such as {_listed(self.tables[:2])}"
            if self.tables
            else "none yet",
            "report": "none yet" if self.config is None else self.layout.report,
        }
        lines = [f"  {name:<11}{value}" for name, value in known.items()]
        return "\n".join([f"Run {self.layout.root}", *lines])

    def _count(self, result: str) -> int:
        return sum(written_last(path).is_file() for path, _ in self.layout.find(result))


@dataclass(frozen=True, repr=False)
class NeuronRanking:
    """The ranking of one condition: which neurons tell each language.

    Attributes
    ----------
    ranking : Ranking
        Its arrays: ``ap``, ``separation`` and ``median``, (n_languages, n_neurons) each.
    selection : Selection
        How neurons of equal AP are ordered, and within what k of them are chosen: as the run does.
    """

    ranking: Ranking
    selection: Selection

    @property
    def languages(self) -> list[str]:
        """Languages that the neurons are ranked for."""
        return self.ranking.languages

    def top(self, language: str, k: int) -> pd.DataFrame:
        """The k neurons of highest AP, best first (D6).

        Parameters
        ----------
        language : str
        k : int
            At most the number of neurons.

        Returns
        -------
        DataFrame of k rows
            ``layer``, ``submodule``, ``unit``, ``step_invariant``, ``ap`` (0 to 1), ``separation`` and
            ``median`` of the language; the index is the neuron's column in the ranking. Its ``attrs`` say
            how many of the k a tie decided (``decided_by_tie``), and among how many (``tied``).

        Raises
        ------
        RunError
            The language is not ranked.
        ValueError
            k is below 1 or above the number of neurons.
        """
        return self._chosen(language, k, lowest=False)

    def bottom(self, language: str, k: int) -> pd.DataFrame:
        """The k neurons of lowest AP, lowest first; as ``top``."""
        return self._chosen(language, k, lowest=True)

    def _chosen(self, language: str, k: int, lowest: bool) -> pd.DataFrame:
        if language not in self.languages:
            raise RunError(f"language: expected one of {_listed(self.languages)}, got {language!r}")
        row = self.ranking.row(language)
        scores = self.ranking.scores(self.selection).row(row)
        columns = scores.bottom(k) if lowest else scores.top(k)
        decided, tied = scores.count_ties(k, lowest)
        chosen = self.ranking.neurons.iloc[columns].assign(
            ap=self.ranking.ap[row, columns],
            separation=self.ranking.separation[row, columns],
            median=self.ranking.median[row, columns],
        )
        chosen.index.name = "column"
        chosen.attrs = dict(self.ranking.condition) | {
            "language": language,
            "decided_by_tie": int(decided),
            "tied": int(tied),
        }
        return chosen

    def __repr__(self) -> str:
        condition = ", ".join(f"{key} {value}" for key, value in self.ranking.condition.items())
        n_languages, n_neurons = self.ranking.ap.shape
        return (
            f"Ranking of {condition}: {n_neurons:,} neurons for {n_languages} languages "
            f"({_listed(self.languages)})"
        )


def _holds_results(layout: RunLayout) -> bool:
    """Whether there is a folder of results or a report, and not only logs."""
    return any(
        layout.folder(result).exists()
        for result in RESULTS
        if result not in ("log", "benchmark", "lock")
    )


def _folders(path: Path) -> list[Path]:
    return sorted(one for one in path.iterdir() if one.is_dir()) if path.is_dir() else []


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))
