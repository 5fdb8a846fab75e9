"""Where every result of a run lies: each path is written here, once.

``RESULTS`` declares every result as a pattern within ``results/<run>``. ``RunLayout`` gives its path,
``place_of`` recognises it, ``RunLayout.find`` looks for it on disk. Rules, ``snakemake verify``,
``snakemake plan`` and ``open_run`` take paths from here; stages have theirs handed in.

The folder ``other_speech/`` holds the speech half of a run once more, spoken by ``speech.other_engine``. A
store or ranking counts as one result: its folder.

Rules load this module at every start of Snakemake, so it imports nothing heavy.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from steplens.files.table_metadata import END
from steplens.tasks import TASKS

COMMIT_MARK = "zarr.json"  # written last in a store or ranking; store.groups is too heavy to import
NO_RESULT = "no result"  # logs, benchmarks, locks: nothing is computed from them
OTHER_SPEECH = "other_speech"  # the speech half once more, by another engine
REST = "rest"  # of an interrupted write: nobody reads it

# Names of tables. The first three groups have one table per step, of the rules compare_step, reliability and
# learning_curve.
COMPARED_TABLES = ("overlap", "overlap_summary", "spearman", "spearman_summary", "sensitivity")
RELIABILITY_TABLES = ("stability", "null_ratio")
LEARNING_CURVE = "learning_curve"
STEP_TABLES = (*COMPARED_TABLES, *RELIABILITY_TABLES, LEARNING_CURVE)
SOURCES_TABLES = ("summary", "overlap")  # of two sources of speech, one condition each
STEERING_SUMMARIES = (
    "control_rates",
    "effects",
    "effect_ratios",
    "mean_effect_ratios",
    "language_probabilities",
    "quality",
)
TIE_TABLES = ("ranges", "diagonal_ratio", "control_rates", "effect_ratios")
PAPER_TABLES = ("table1", "table2", "table3", "table4")
# Of the neighbouring studies, those that the main rule of each makes.
MODALITY_TABLES = ("neurons", "location", "overlap")
INEQUALITY_TABLES = ("gini", "shares", "lorenz", "scripts", "paired")
SIMILARITY_TABLES = ("pairs", "gaps", "lengths", "languages", "resources")
CAUSAL_TABLES = ("effects", "by_language")

# What may stand for a field of a pattern: one of some names, or what a regular expression matches.
_FIELDS: dict[str, tuple[str, ...] | str] = {
    "language": "[a-z]{3}",
    "task": TASKS,
    "step": r"\d\d+",
    "modality": ("speech", "text"),
    "encoder": ("speech_encoder", "text_encoder"),
    "module": ("speech_encoder", "text_encoder", "decoder"),
    "number": r"\d+",
    "image": ("svg", "png"),
    "part": r"[0-9a-f]{32}/part-\d+\.parquet|generated\.json",
    "name": ".+",
    "comparison_table": (
        *STEP_TABLES,
        "location",
        "valid_counts",
        "speech_sources",
        "speech_sources_overlap",
    ),
    "step_table": STEP_TABLES,
    "sources_table": SOURCES_TABLES,
    "steering_table": (*STEERING_SUMMARIES, "ties"),
    "tie_table": TIE_TABLES,
    "table": (*PAPER_TABLES, "table5", "recognition"),
    "modality_table": (*MODALITY_TABLES, "probes"),
    "inequality_table": INEQUALITY_TABLES,
    "similarity_table": SIMILARITY_TABLES,
    "causal_table": (*CAUSAL_TABLES, "ties"),
}


class Result(NamedTuple):
    """One result, or several alike.

    Attributes
    ----------
    kind : str
        What it is: ``snakemake verify`` has one check a kind.
    pattern : str
        Path within the run, with fields in braces.
    of_speech : bool
        Whether ``other_speech/`` holds it too.
    """

    kind: str
    pattern: str
    of_speech: bool = False


# By the name of the method of RunLayout that gives the path.
RESULTS = {
    "corpus": Result("corpus", "corpus/{language}.parquet"),
    "speech": Result("speech", "speech/{language}.parquet", of_speech=True),
    "audio": Result("audio", "speech/{language}/{number}.wav", of_speech=True),
    "takes": Result("takes", "speech/{language}/takes.jsonl", of_speech=True),
    "first_attempts": Result(
        "first attempts", "speech/{language}/first_attempts.json", of_speech=True
    ),
    "encoder_store": Result("encoder", "encoder/{modality}/{language}.zarr", of_speech=True),
    "decoding": Result("decoding", "decoding/{task}/{language}.parquet", of_speech=True),
    "decoder_store": Result(
        "decoder", "decoder/{task}/{language}/step-{step}.zarr", of_speech=True
    ),
    "speech_quality": Result("table", "tables/speech_quality.csv", of_speech=True),
    "encoder_ranking": Result("encoder ranking", "ranking/{encoder}.zarr", of_speech=True),
    "decoder_ranking": Result(
        "decoder ranking", "ranking/decoder/{task}/step-{step}.zarr", of_speech=True
    ),
    "step_table": Result("table", "comparison/steps/step-{step}/{step_table}.csv"),
    "comparison_table": Result("table", "comparison/{comparison_table}.csv"),
    "encoder_sources": Result(
        "table", "comparison/speech_sources/{encoder}/step-00/{sources_table}.csv"
    ),
    "decoder_sources": Result(
        "table", "comparison/speech_sources/{task}/step-{step}/{sources_table}.csv"
    ),
    "steered_texts": Result("steered", "steering/texts/{task}/{language}/step-{step}.parquet"),
    "steered_parts": Result("part", "steering/texts/{task}/{language}/.parts/{part}"),
    "steering_table": Result("table", "steering/{steering_table}.csv"),
    "tie_texts": Result("ties", "tie_sensitivity/texts/{task}/{language}.parquet"),
    "tie_parts": Result("part", "tie_sensitivity/texts/{task}/.parts/{language}/{part}"),
    "tie_table": Result("table", "tie_sensitivity/{tie_table}.csv"),
    "table": Result("table", "tables/{table}.csv"),
    "modality_ranking": Result(
        "modality ranking", "ranking/modality/{task}/step-{step}/{modality}.zarr"
    ),
    "encoder_probes": Result("table", "modality/probes/{encoder}.csv"),
    "decoder_probes": Result("table", "modality/probes/{task}/step-{step}.csv"),
    "modality_table": Result("table", "modality/{modality_table}.csv"),
    "encoder_inequality": Result(
        "encoder inequality", "inequality/encoder/{modality}/{language}.parquet"
    ),
    "decoder_inequality": Result(
        "decoder inequality", "inequality/decoder/{task}/{language}/step-{step}.parquet"
    ),
    "inequality_table": Result("table", "inequality/{inequality_table}.csv"),
    "encoder_similarity": Result("encoder similarity", "similarity/pairs/encoder.parquet"),
    "decoder_similarity": Result(
        "decoder similarity", "similarity/pairs/decoder/{task}/step-{step}.parquet"
    ),
    "similarity_table": Result("table", "similarity/{similarity_table}.csv"),
    "causal_medians": Result("medians", "causal/medians/{encoder}.zarr"),
    "causal_texts": Result("causal", "causal/texts/{module}/{language}/{task}.parquet"),
    "causal_parts": Result("part", "causal/texts/{module}/{language}/.parts/{task}/{part}"),
    "causal_table": Result("table", "causal/{causal_table}.csv"),
    "figure": Result("figure", "figures/figure{number}.{image}"),
    "report": Result("report", "report.html"),
    "log": Result(NO_RESULT, "logs/{name}.log"),
    "benchmark": Result(NO_RESULT, "benchmarks/{name}.tsv"),
    "lock": Result(NO_RESULT, ".lock"),
}
KINDS = frozenset(result.kind for result in RESULTS.values())
STUDIES = ("modality", "inequality", "similarity", "causal")  # whose tables lie in a folder each

Step = int | str  # of the decoder, from 1; or a wildcard of Snakemake


@dataclass(frozen=True)
class RunLayout:
    """Where the results of one run lie.

    Every method gives a path below ``root``; only ``find`` looks at the disk. A value may be a wildcard of
    Snakemake, which stays as it is: ``layout.corpus("{lang}")``. Steps have two digits at least. The path of
    a store or ranking is its folder; ``written_last`` gives the file in it that rules declare.

    Parameters
    ----------
    root : path
        ``results/<run>``.
    half : bool
        Whether this is the speech half, in ``other_speech/``: only results of speech lie there.

    Raises
    ------
    ValueError
        From every method: a value that no result of the kind has, for example an unknown task.

    Examples
    --------
    >>> layout = RunLayout(Path("results/demo"))
    >>> layout.decoder_store("asr", "deu", 1).as_posix()
    'results/demo/decoder/asr/deu/step-01.zarr'
    >>> layout.other_speech.speech("{lang}").as_posix()
    'results/demo/other_speech/speech/{lang}.parquet'
    """

    root: Path
    half: bool = False

    @property
    def other_speech(self) -> "RunLayout":
        """The speech half once more, of ``speech.other_engine``."""
        return RunLayout(self.root / OTHER_SPEECH, half=True)

    # --- corpus, speech, stores ----------------------------------------------------------------------

    def corpus(self, language: str) -> Path:
        """Table of the sentences of a language."""
        return self._path("corpus", language=language)

    def speech(self, language: str) -> Path:
        """Table of the audio of a language; the audio itself lies in the folder of that name beside it."""
        return self._path("speech", language=language)

    def audio(self, language: str, utterance: int | str) -> Path:
        """One utterance, 16 kHz WAV."""
        return self._path("audio", language=language, number=utterance)

    def takes(self, language: str) -> Path:
        """Journal of what was spoken, and how often."""
        return self._path("takes", language=language)

    def first_attempts(self, language: str) -> Path:
        """Which takes of flagged utterances are asked for."""
        return self._path("first_attempts", language=language)

    def encoder_store(self, modality: str, language: str) -> Path:
        """Store of an encoder's activations."""
        return self._path("encoder_store", modality=modality, language=language)

    def decoding(self, task: str, language: str) -> Path:
        """Table of decoded sentences."""
        return self._path("decoding", task=task, language=language)

    def decoder_store(self, task: str, language: str, step: Step) -> Path:
        """Store of the decoder's activations at one step."""
        return self._path("decoder_store", task=task, language=language, step=step)

    @property
    def speech_quality(self) -> Path:
        """CSV of what is wrong with each utterance; its column ``left_out``: no statistic counts it."""
        return self._path("speech_quality")

    # --- ranking, comparison -------------------------------------------------------------------------

    def encoder_ranking(self, encoder: str) -> Path:
        """Ranking of ``speech_encoder`` or ``text_encoder``."""
        return self._path("encoder_ranking", encoder=encoder)

    def decoder_ranking(self, task: str, step: Step) -> Path:
        """Ranking of the decoder for one task at one step."""
        return self._path("decoder_ranking", task=task, step=step)

    def step_table(self, name: str, step: Step) -> Path:
        """CSV of a comparison at one step, one of ``STEP_TABLES``."""
        return self._path("step_table", step_table=name, step=step)

    def comparison_table(self, name: str) -> Path:
        """CSV of a comparison over all steps."""
        return self._path("comparison_table", comparison_table=name)

    def encoder_sources(self, name: str, encoder: str) -> Path:
        """CSV of two sources of speech in an encoder, one of ``SOURCES_TABLES``."""
        return self._path("encoder_sources", sources_table=name, encoder=encoder)

    def decoder_sources(self, name: str, task: str, step: Step) -> Path:
        """CSV of two sources of speech, and of text, in the decoder, one of ``SOURCES_TABLES``."""
        return self._path("decoder_sources", sources_table=name, task=task, step=step)

    # --- steering, tables of the paper ---------------------------------------------------------------

    def steered_texts(self, task: str, language: str, step: Step) -> Path:
        """Table of the outputs of a source language with neurons of one step fixed."""
        return self._path("steered_texts", task=task, language=language, step=step)

    def steered_parts(self, task: str, language: str, part: str) -> Path:
        """File of kept outputs (``steering.kept_outputs``)."""
        return self._path("steered_parts", task=task, language=language, part=part)

    def steering_table(self, name: str) -> Path:
        """CSV over all steered outputs: one of ``STEERING_SUMMARIES``, or ``ties``."""
        return self._path("steering_table", steering_table=name)

    def tie_texts(self, task: str, language: str) -> Path:
        """Table of the outputs under every way to break ties."""
        return self._path("tie_texts", task=task, language=language)

    def tie_parts(self, task: str, language: str, part: str) -> Path:
        """File of kept outputs under other ways to break ties."""
        return self._path("tie_parts", task=task, language=language, part=part)

    def tie_table(self, name: str) -> Path:
        """CSV of how far results move when ties are broken in another way, one of ``TIE_TABLES``."""
        return self._path("tie_table", tie_table=name)

    def table(self, name: str) -> Path:
        """CSV of ``tables/``: ``table1`` to ``table5``, as the paper numbers them, or ``recognition``."""
        return self._path("table", table=name)

    # --- neighbouring studies ------------------------------------------------------------------------

    def study_table(self, study: str, name: str) -> Path:
        """CSV of a study, one of those that ``RESULTS`` declares for it."""
        if study not in STUDIES:
            raise ValueError(f"study: expected one of {', '.join(STUDIES)}, got {study!r}")
        return self._path(f"{study}_table", **{f"{study}_table": name})

    def modality_ranking(self, task: str, step: Step, modality: str) -> Path:
        """Ranking by modality of a task in speech and its twin in text; ``task`` is that in speech."""
        return self._path("modality_ranking", task=task, step=step, modality=modality)

    def encoder_probes(self, encoder: str) -> Path:
        """CSV of how well each layer of an encoder tells the language."""
        return self._path("encoder_probes", encoder=encoder)

    def decoder_probes(self, task: str, step: Step) -> Path:
        """CSV of how well each layer of the decoder tells the language."""
        return self._path("decoder_probes", task=task, step=step)

    def encoder_inequality(self, modality: str, language: str) -> Path:
        """Table of what study inequality measures of an encoder store."""
        return self._path("encoder_inequality", modality=modality, language=language)

    def decoder_inequality(self, task: str, language: str, step: Step) -> Path:
        """Table of what study inequality measures of a decoder store."""
        return self._path("decoder_inequality", task=task, language=language, step=step)

    @property
    def encoder_similarity(self) -> Path:
        """Table of pairs of languages and modalities in the encoders."""
        return self._path("encoder_similarity")

    def decoder_similarity(self, task: str, step: Step) -> Path:
        """Table of such pairs in the decoder, for a task in speech and its twin in text."""
        return self._path("decoder_similarity", task=task, step=step)

    def causal_medians(self, encoder: str) -> Path:
        """What the neurons of an encoder are fixed at: a ranking's medians, of all languages pooled."""
        return self._path("causal_medians", encoder=encoder)

    def causal_texts(self, module: str, language: str, task: str) -> Path:
        """Table of outputs with neurons of a module fixed."""
        return self._path("causal_texts", module=module, language=language, task=task)

    def causal_parts(self, module: str, language: str, task: str, part: str) -> Path:
        """File of kept outputs of study causal."""
        return self._path("causal_parts", module=module, language=language, task=task, part=part)

    # --- figures, report, and what goes along --------------------------------------------------------

    def figure(self, number: int | str, image: str) -> Path:
        """A figure as ``svg`` or ``png``."""
        return self._path("figure", number=number, image=image)

    @property
    def report(self) -> Path:
        """The report: one HTML file."""
        return self._path("report")

    def log(self, name: str) -> Path:
        """Log of a job; ``name`` may hold slashes."""
        return self._path("log", name=name)

    def benchmark(self, name: str) -> Path:
        """Time and memory of a job, as Snakemake measures them; ``name`` is that of its log."""
        return self._path("benchmark", name=name)

    @property
    def lock(self) -> Path:
        """The lock of a run at work (``jobs.locks``)."""
        return self._path("lock")

    # -------------------------------------------------------------------------------------------------

    def folder(self, result: str, **known: str) -> Path:
        """The folder that holds all results of a name, or the file where the name is that of one.

        Parameters
        ----------
        result : str
            Of ``RESULTS``.
        **known
            Values of the pattern's first fields, to go further down.
        """
        start = _filled(result, known).partition("{")[0]
        return self.root / (start if start == RESULTS[result].pattern else start.rpartition("/")[0])

    def find(self, result: str, **known: Step) -> Iterator[tuple[Path, dict[str, str]]]:
        """All results of a name that lie on disk, finished or not, sorted, with the values of all fields.

        Parameters
        ----------
        result : str
            Of ``RESULTS``.
        **known
            Values that fields must have.
        """
        filled = _filled(result, known)
        regex = _regex(RESULTS[result].pattern)
        for path in sorted(self.root.glob(re.sub(r"\{\w+\}", "*", filled))):
            if match := regex.fullmatch(path.relative_to(self.root).as_posix()):
                yield path, match.groupdict()

    def _path(self, result: str, **values: Step) -> Path:
        if self.half and not RESULTS[result].of_speech:
            raise ValueError(
                f"{result}: expected a result of speech: {self.root} holds the speech half of a run alone"
            )
        return self.root / _filled(result, values)


def _filled(result: str, values: dict[str, Step]) -> str:
    """A pattern with the values of some fields in it."""
    filled = RESULTS[result].pattern
    for name, value in values.items():
        filled = filled.replace(f"{{{name}}}", _as_text(name, value))
    return filled


def _as_text(field: str, value: Step) -> str:
    """A value as paths have it."""
    text = str(value)
    if "{" in text:
        return text
    if field == "step" and text.isdecimal():
        text = f"{int(text):02d}"
    allowed = _FIELDS[field]
    if not re.fullmatch(_expression(field), text):
        among = f"one of {', '.join(allowed)}" if isinstance(allowed, tuple) else _IN_WORDS[field]
        raise ValueError(f"{field}: expected {among}, got {value!r}")
    return text


_IN_WORDS = {
    "language": "an ISO 639-3 code such as deu",
    "step": "a decoding step, from 1",
    "number": "a number",
    "part": "a file of kept outputs",
    "name": "a name",
}


def _expression(field: str) -> str:
    allowed = _FIELDS[field]
    return "|".join(map(re.escape, allowed)) if isinstance(allowed, tuple) else allowed


def written_last(path: Path) -> Path:
    """The file with which a result is there: the commit mark of a store or ranking, else the file itself."""
    return path / COMMIT_MARK if path.suffix == ".zarr" else path


class Place(NamedTuple):
    """What lies at a path."""

    what: str  # of ``KINDS``, or ``REST``
    wildcards: dict[str, str]
    other_speech: bool = False


def place_of(path: str) -> Place | None:
    """What lies at a path within a run; None where nothing of steplens does.

    Parameters
    ----------
    path : str
        With slashes. Of a store the folder; of metadata the file that they are of.
    """
    name = PurePosixPath(path).name
    if name.startswith(".partial-") or name.endswith(".partial"):
        return Place(REST, {})
    inside = path.removeprefix(f"{OTHER_SPEECH}/")
    half = inside != path
    found = [
        Place(result.kind, match.groupdict(), half)
        for result in RESULTS.values()
        if (result.of_speech or not half) and (match := _regex(result.pattern).fullmatch(inside))
    ]
    return found[0] if len(found) == 1 else None


@cache
def _regex(pattern: str) -> re.Pattern:
    parts = re.split(r"\{(\w+)\}", pattern)  # text and field in turn
    return re.compile(
        "".join(
            f"(?P<{part}>{_expression(part)})" if number % 2 else re.escape(part)
            for number, part in enumerate(parts)
        )
    )


def described_by(path: str) -> str:
    """The file that a file of metadata is of; another path as it is."""
    return path.removesuffix(END)


def walk(
    folder: Path, whole: Callable[[Path], bool] = lambda path: False, above: tuple = ()
) -> Iterator[Path]:
    """All files below a folder, sorted, with what lies in linked folders.

    Parameters
    ----------
    folder : path
    whole : callable
        Whether a folder is given itself. So is one that cannot be listed, or leads to a folder that it lies
        in.
    above : tuple
        Device and inode of the folders that this one lies in.
    """
    try:
        status = folder.stat()
        inside = sorted(os.listdir(folder))
    except OSError:
        yield folder
        return
    own = (status.st_dev, status.st_ino)
    if own in above:
        yield folder
        return
    for path in (folder / name for name in inside):
        if path.is_dir() and not whole(path):
            yield from walk(path, whole, (*above, own))
        else:
            yield path


def entries(results: Path) -> Iterator[Path]:
    """All that lies in a run: files, stores as a whole, folders in the places of files; links followed."""

    def whole(path: Path) -> bool:
        within = described_by(path.relative_to(results).as_posix())
        return path.suffix == ".zarr" or place_of(within) is not None

    if results.exists():
        yield from walk(results, whole)
