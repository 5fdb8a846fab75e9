"""``snakemake verify``: whether everything of a run is on disk as it was written, and belongs together.

Everything that lies in ``results/<run>`` is looked at: ``layout.py`` says what a file is, and each
is claimed by one check (``result_checks.py``). Stores, rankings and tables are read whole and compared with
their digests, audio, figures and the report with theirs; then what each says of itself with where it lies,
with the configuration and with the inputs that it was made from. What no check knows is named. What another
configuration made is no damage, and noted. What is not there yet is counted, and is no error.
"""

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from steplens.files.atomic import TableError, read_csv, read_parquet
from steplens.files.input_files import other_kind, read_json_object
from steplens.files.table_metadata import (
    file_sha256,
    is_kept,
    metadata_path,
    read_metadata,
    settings_problems,
)
from steplens.jobs.progress import progress
from steplens.planning.work import OTHER_SPEECH
from steplens.pooled import ALL
from steplens.run.layout import NO_RESULT, REST, Place, described_by, entries, place_of
from steplens.run.result_checks import (
    Note,
    OfAnotherInput,
    check_audio,
    check_part,
    check_record,
    check_takes,
    check_whole_store,
    differences,
    is_there,
    of_other_inputs,
    ranking_check,
)
from steplens.steering.kept_outputs import TRIAL
from steplens.store import conditions
from steplens.store.groups import COMMIT_MARK, StoreError, group_path, open_group, read_root
from steplens.studies.causal.summary import TRIAL as CAUSAL_TRIAL
from steplens.tasks import MODALITY_OF
from steplens.twins import TEXT_TWIN

_MOST_NAMED = 5  # of what another configuration made, and of what is not there yet
_MOST_IN_COMMANDS = 10


class VerificationError(ValueError):
    """Results are damaged, lost or not what the configuration would have made."""


@dataclass
class Part:
    """One thing that is checked."""

    path: Path
    checks: list[Callable[[Path], Iterator[str]]]  # give what is wrong
    can_be_made: bool = True  # Snakemake makes it again by name


@dataclass
class Found:
    """What a verification found."""

    n_checked: int = 0
    missing: list[Path] = field(default_factory=list)  # not there yet
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    wrong: list[Path] = field(default_factory=list)  # results that have problems

    @property
    def n_missing(self) -> int:
        """How much is not there yet."""
        return len(self.missing)


@dataclass(frozen=True)
class Verification:
    """What the results of a run have to be.

    Parameters
    ----------
    results : path
        ``results/<run>``.
    languages, tasks, steps
        Of the configuration.
    made_by : mapping of stage to mapping
        For ``encode_speech``, ``encode_text``, ``decode`` and ``capture`` what the rule hands to its
        stage: model and code.
    dtype : {"float16", "float32"}
        Of the stores.
    n_utterances : int
        Sentences a language, at most.
    fixed_seconds : float or None
        Length that speech was given for the encoder.
    modalities : tuple of {"speech", "text"}
    corpus : path, optional
        ``results/corpus`` unless given.
    made_now : mapping, optional
        Path of every table, store, figure and report on disk that a rule of this configuration makes, to
        (settings, code) of that rule; without it neither is compared, and all on disk is of this run.
    expected : sequence of str
        Files that the configuration makes, beyond those that are known from languages, tasks and steps.
    """

    results: Path
    languages: list[str]
    tasks: list[str]
    steps: list[int]
    made_by: Mapping[str, Mapping[str, Any]]
    dtype: str
    n_utterances: int
    fixed_seconds: float | None = None
    modalities: tuple[str, ...] = ("speech", "text")
    corpus: Path | None = None
    made_now: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] | None = None
    expected: Sequence[str] = ()
    _digests: dict[Path, str] = field(default_factory=dict, repr=False, compare=False)

    def parts(self) -> Iterator[Part]:
        """Everything that lies in the results, each with its checks; ``Note`` and problem come from these."""
        for path in entries(self.results):
            within = described_by(path.relative_to(self.results).as_posix())
            of = self.results / within
            place = place_of(within)
            if place is None:
                unknown = _not_entered if path.is_dir() and path.suffix != ".zarr" else _unknown
                yield Part(path, [unknown], can_be_made=False)
            elif place.what == REST:
                yield Part(path, [_rest], can_be_made=False)
            elif place.what == NO_RESULT:
                continue
            elif not self._is_of_this_run(of, place):
                yield Part(path, [_leftover], can_be_made=False)
            elif path != of:  # metadata, which are checked with what they are of
                if not of.exists():
                    yield Part(path, [_rest], can_be_made=False)
            elif is_there(path):
                half = self._other_half if place.other_speech else self
                yield half._part(path, place)
            else:
                kept = is_kept(path) or path.suffix == ".zarr"
                yield Part(path, [_no_result_yet], can_be_made=kept and place.what != "part")

    def _is_of_this_run(self, path: Path, place: Place) -> bool:
        language, step = place.wildcards.get("language"), place.wildcards.get("step")
        if language is not None and language not in self.languages:
            return False
        if step is not None and int(step) not in self.steps:
            return False
        if self.made_now is None:
            return True
        mark = path / COMMIT_MARK if path.suffix == ".zarr" else path
        made = is_kept(mark) and place.what != "part" and is_there(path)
        return not made or str(mark) in self.made_now

    @cached_property
    def _other_half(self) -> "Verification":
        """The speech half once more, of the same sentences."""
        tasks = [task for task in self.tasks if MODALITY_OF[task] == "speech"]
        return replace(
            self, results=self.results / OTHER_SPEECH, tasks=tasks, modalities=("speech",),
            corpus=self._corpus_folder,
        )  # fmt: skip

    def _part(self, path: Path, place: Place) -> Part:
        name = "_check_" + place.what.replace(" ", "_")
        wildcards = place.wildcards
        if "step" in wildcards:
            wildcards = wildcards | {"step": int(wildcards["step"])}
        mark = path / COMMIT_MARK if path.suffix == ".zarr" else path

        def check(path: Path) -> Iterator[str]:
            yield from getattr(self, name)(path, **wildcards)

        kept = is_kept(mark) and place.what != "part"
        return Part(path, [check, self._check_metadata] if kept else [check], can_be_made=kept)

    def missing(self) -> list[Path]:
        """What is not there yet: corpora, audio, stores, decoded sentences, rankings, and ``expected``."""
        expected = [*map(self._corpus, self.languages), *self._of_the_model()]
        folder = self.results / "ranking" / "modality"
        if folder.is_dir():
            expected += [
                folder / task / f"step-{step:02d}" / f"{MODALITY_OF[one]}.zarr"
                for task, twin in TEXT_TWIN.items()
                for step in self.steps
                for one in (task, twin)
            ]
        if (self.results / OTHER_SPEECH).is_dir():
            expected += self._other_half._of_the_model()
        expected += [group_path(path) for path in self.expected]
        return [
            path for path in dict.fromkeys(expected) if not os.path.lexists(_written_last(path))
        ]

    def _of_the_model(self) -> Iterator[Path]:
        """Speech, what the model made of the sentences, and rankings of it."""
        for language in self.languages:
            yield self._speech(language)
            yield from (self._encoder(modality, language) for modality in self.modalities)
        for task in self.tasks:
            for language in self.languages:
                yield self._decoding(task, language)
                yield from (self._decoder(task, language, step) for step in self.steps)
        yield from (self._ranking(f"{modality}_encoder") for modality in self.modalities)
        for task in self.tasks:
            yield from (self._decoder_ranking(task, step) for step in self.steps)

    @property
    def _corpus_folder(self) -> Path:
        return self.corpus or self.results / "corpus"

    def _corpus(self, language: str) -> Path:
        return self._corpus_folder / f"{language}.parquet"

    def _speech(self, language: str) -> Path:
        return self.results / "speech" / f"{language}.parquet"

    def _encoder(self, modality: str, language: str) -> Path:
        return self.results / "encoder" / modality / f"{language}.zarr"

    def _decoding(self, task: str, language: str) -> Path:
        return self.results / "decoding" / task / f"{language}.parquet"

    def _decoder(self, task: str, language: str, step: int) -> Path:
        return self.results / "decoder" / task / language / f"step-{step:02d}.zarr"

    def _ranking(self, name: str) -> Path:
        return self.results / "ranking" / f"{name}.zarr"

    def _decoder_ranking(self, task: str, step: int) -> Path:
        return self.results / "ranking" / "decoder" / task / f"step-{step:02d}.zarr"

    # A check a kind of ``results_layout.LAYOUT``, by its name.

    def _check_corpus(self, path: Path, language: str) -> Iterator[str]:
        table = read_parquet(path)
        yield from conditions.not_of_condition(table, ["utterance"], language=language)
        if len(table) != self.n_utterances:
            yield f"expected {self.n_utterances} sentences by the configuration, got {len(table)}"

    def _check_speech(self, path: Path, language: str) -> Iterator[str]:
        table = read_parquet(path)
        yield from conditions.not_of_condition(table, ["utterance"], language=language)
        yield from of_other_inputs(
            table.attrs.get("inputs", {}), {"corpus": self._corpus(language)}
        )
        yield from check_audio(path)

    def _check_audio(self, path: Path, language: str, number: str) -> Iterator[str]:
        yield from ()  # with the table that lists it

    def _check_takes(self, path: Path, language: str) -> Iterator[str]:
        yield from check_takes(path)

    def _check_first_attempts(self, path: Path, language: str) -> Iterator[str]:
        yield from check_record(path)

    def _check_encoder(self, path: Path, modality: str, language: str) -> Iterator[str]:
        inputs = {"corpus": self._corpus(language)}
        told = {"module": f"{modality}_encoder", "modality": modality, "language": language}
        if modality == "speech":
            inputs["speech"] = self._speech(language)
            told["fixed_seconds"] = self.fixed_seconds
        yield from self._check_store(path, f"encode_{modality}", told, inputs)

    def _check_decoder(self, path: Path, task: str, language: str, step: int) -> Iterator[str]:
        told = {"module": "decoder", "task": task, "language": language, "step": step}
        inputs = {
            "encoder_store": self._encoder(MODALITY_OF[task], language),
            "decoding": self._decoding(task, language),
        }
        yield from self._check_store(path, "capture", told, inputs)

    def _check_store(
        self, path: Path, stage: str, told: Mapping[str, Any], inputs: Mapping[str, Path]
    ) -> Iterator[str]:
        yield from check_whole_store(path)
        data = open_group(path)
        yield from differences(data.attrs, {**told, "made_by": dict(self.made_by[stage])})
        if str(data["activation"].dtype) != self.dtype:
            yield f"dtype: expected {self.dtype}, got {data['activation'].dtype}"
        yield from of_other_inputs(read_root(path)["attributes"].get("inputs", {}), inputs)

    def _check_encoder_ranking(self, path: Path, encoder: str) -> Iterator[str]:
        stores = self._encoders(encoder)
        yield from ranking_check(stores, {"module": encoder})(path)

    def _check_medians(self, path: Path, encoder: str) -> Iterator[str]:
        condition = {"module": encoder, "label": ALL}
        yield from ranking_check(self._encoders(encoder), condition, [ALL])(path)

    def _encoders(self, encoder: str) -> dict[str, Path]:
        modality = encoder.removesuffix("_encoder")
        return {one: self._encoder(modality, one) for one in self.languages}

    def _check_decoder_ranking(self, path: Path, task: str, step: int) -> Iterator[str]:
        stores = {one: self._decoder(task, one, step) for one in self.languages}
        yield from ranking_check(stores, {"module": "decoder", "task": task, "step": step})(path)

    def _check_modality_ranking(
        self, path: Path, task: str, step: int, modality: str
    ) -> Iterator[str]:
        both = (task, TEXT_TWIN[task])
        stores = {
            f"{of} {one}": self._decoder(of, one, step) for of in both for one in self.languages
        }
        of_label = next(one for one in both if MODALITY_OF[one] == modality)
        condition = {"task": of_label, "step": step, "label": modality}
        yield from ranking_check(stores, condition, [ALL, *self.languages])(path)

    def _check_decoding(self, path: Path, task: str, language: str) -> Iterator[str]:
        inputs = {"encoder_store": self._encoder(MODALITY_OF[task], language)}
        condition = {"task": task, "language": language}
        yield from self._check_table_of(path, "decode", ["utterance"], inputs, **condition)

    def _check_steered(self, path: Path, task: str, language: str, step: int) -> Iterator[str]:
        inputs = {
            "ranking": self._decoder_ranking("asr", step),
            "encoder_store": self._encoder(MODALITY_OF[task], language),
        }
        condition = {"module": "decoder", "task": task, "source": language, "step": step}
        yield from self._check_table_of(path, "steer", TRIAL, inputs, **condition)

    def _check_ties(self, path: Path, task: str, language: str) -> Iterator[str]:
        unique = ["ties", "ties_seed", "step", "target", "utterance"]
        inputs = {"encoder_store": self._encoder(MODALITY_OF[task], language)}
        condition = {"module": "decoder", "task": task, "source": language}
        yield from self._check_table_of(path, "steer_ties", unique, inputs, **condition)

    def _check_causal(self, path: Path, module: str, language: str, task: str) -> Iterator[str]:
        condition = {"module": module, "language": language, "task": task}
        yield from self._check_table_of(path, f"causal_{module}", CAUSAL_TRIAL, {}, **condition)

    def _check_encoder_inequality(self, path: Path, modality: str, language: str) -> Iterator[str]:
        condition = {"module": f"{modality}_encoder", "modality": modality, "language": language}
        inputs = {"store": self._encoder(modality, language)}
        yield from self._check_table_of(path, None, ["utterance"], inputs, **condition)

    def _check_decoder_inequality(
        self, path: Path, task: str, language: str, step: int
    ) -> Iterator[str]:
        condition = {"module": "decoder", "task": task, "language": language, "step": step}
        inputs = {"store": self._decoder(task, language, step)}
        yield from self._check_table_of(path, None, ["utterance"], inputs, **condition)

    def _check_encoder_similarity(self, path: Path) -> Iterator[str]:
        yield from self._check_table_of(path, None, [], {}, module="encoder", task="", step=None)

    def _check_decoder_similarity(self, path: Path, task: str, step: int) -> Iterator[str]:
        both = f"{task}_{TEXT_TWIN[task]}"
        yield from self._check_table_of(path, None, [], {}, module="decoder", task=both, step=step)

    def _check_table_of(
        self, path: Path, stage: str | None, unique: list[str], inputs: Mapping[str, Path],
        **condition: Any,
    ) -> Iterator[str]:  # fmt: skip
        table = read_parquet(path)
        yield from conditions.not_of_condition(table, unique, **condition)
        if stage in self.made_by:
            yield from differences(table.attrs, {"made_by": dict(self.made_by[stage])})
        yield from of_other_inputs(table.attrs.get("inputs", {}), inputs)

    def _check_part(self, path: Path, **_: str) -> Iterator[str]:
        yield from check_part(path)

    def _check_table(self, path: Path, **_: str) -> Iterator[str]:
        read_csv(path)
        yield from ()

    def _check_figure(self, path: Path, **_: str) -> Iterator[str]:
        yield from ()  # its metadata hold the digest of its bytes

    _check_report = _check_figure

    def _check_metadata(self, path: Path) -> Iterator[str]:
        """Of what a rule made: whether its bytes, its place, its settings and its inputs are as told."""
        file = path / COMMIT_MARK if path.suffix == ".zarr" else path
        if self.made_now is None and not metadata_path(file).exists():
            return  # made by a stage outside a run
        content = read_metadata(file)
        if self.made_now is not None:
            yield from settings_problems(file, *self.made_now[str(file)])
        for name, told in content.get("dc:source", {}).items():
            source = self._run / name
            if source.is_file() and self._sha256(source) != told:
                yield OfAnotherInput(f"made from another {source}", source)

    @property
    def _run(self) -> Path:
        return self.results.parent if self.results.name == OTHER_SPEECH else self.results

    def _sha256(self, path: Path) -> str:
        if path not in self._digests:  # each is read by many
            self._digests[path] = file_sha256(path)
        return self._digests[path]


def verify(verification: Verification, threads: int) -> Found:
    """Check everything that is there.

    Parameters
    ----------
    verification : Verification
    threads : int
        Parts at a time.
    """
    found = Found(missing=verification.missing())
    parts = list(verification.parts())
    with ThreadPoolExecutor(threads) as pool, progress(len(parts), "verify", "part") as bar:
        said = []
        for some in pool.map(_checked, parts):
            said.append(some)
            bar.update()
    problems = [[one for one in some if not isinstance(one, Note)] for some in said]
    damaged = {
        part.path
        for part, some in zip(parts, problems, strict=True)
        if not all(isinstance(one, OfAnotherInput) for one in some)
    }
    for part, some in zip(parts, problems, strict=True):
        own = [one for one in some if getattr(one, "source", None) not in damaged]
        found.problems += [_named(part.path, one) for one in dict.fromkeys(own)]
        found.wrong += [part.path] * (bool(own) and part.can_be_made)
    found.notes = [one for some in said for one in some if isinstance(one, Note)]
    found.n_checked = len(parts)
    return found


def print_verification(threads: int, **wanted: Any) -> None:
    """Say what is wrong, a line each, and how much was checked.

    Parameters
    ----------
    threads : int
    **wanted
        Of ``Verification``.

    Raises
    ------
    VerificationError
        Something is wrong.
    """
    verification = Verification(**wanted)
    found = verify(verification, threads)
    for problem in found.problems:
        print(_one_line(problem), flush=True)
    left = [note for note in found.notes if isinstance(note, Leftover)]
    for note in found.notes:
        if not isinstance(note, Leftover):
            print(_one_line(f"note: {note}"), flush=True)
    if left:
        print(f"note: not of this configuration, and not looked into: {_some(left)}")
    if found.missing:
        print(f"not there yet, or lost: {_some(found.missing)}")
    print(
        f"{found.n_checked} stores, rankings, tables and other files checked, "
        f"{len(found.problems)} problems, {found.n_missing} not there yet",
        flush=True,
    )
    if found.wrong:
        _print_commands(found.wrong)
    if found.problems:
        raise VerificationError(
            f"{verification.results}: expected results that are whole and belong together, got "
            f"{len(found.problems)} problems (above, with what to do)"
        )


def _print_commands(wrong: Sequence[Path]) -> None:
    """How to make results again. By name: what is finished asks for nothing that it was made of."""
    named, others = wrong[:_MOST_IN_COMMANDS], wrong[_MOST_IN_COMMANDS:]
    targets = [_written_last(path) for path in named]
    print("Look at them. To make them again, with the options of this call beside them:")
    print(_one_line(f"rm -r {shlex.join(map(str, named))}"))
    print(_one_line(f"snakemake --cores all {shlex.join(map(str, targets))}"), flush=True)
    if others:
        rules = sorted({rule for path in wrong if (rule := _made_by_rule(path))})
        print(f"and {len(others)} more (above). All that the same rules make is made again by:")
        print(_one_line(f"snakemake --cores all --forcerun {shlex.join(rules)}"))
        print("Then verify again: what still has a problem is to be deleted by name.", flush=True)


def _made_by_rule(path: Path) -> str:
    """The rule that made a result; empty where its metadata do not say."""
    try:
        rule = str(read_json_object(metadata_path(_written_last(path)))["steplens:rule"])
    except (OSError, ValueError, KeyError):
        return ""
    return rule if rule.isidentifier() else ""


def _written_last(path: Path) -> Path:
    """The file with which a result is there."""
    return path / COMMIT_MARK if path.suffix == ".zarr" else path


def _some(paths: Sequence[Any]) -> str:
    more = f" and {len(paths) - _MOST_NAMED} more" if len(paths) > _MOST_NAMED else ""
    return _one_line(", ".join(map(str, paths[:_MOST_NAMED]))) + more


def _one_line(text: str) -> str:
    """What may hold names of files, for a line of its own: line feeds and the like as escapes."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def _checked(part: Part) -> list[str]:
    said: list[str] = []
    for check in part.checks:
        try:
            said += check(part.path)
        except (StoreError, TableError) as error:
            said.append(str(error))
        except Exception as error:  # another kind of file in its place: go on with the others
            said.append(f"{part.path}: cannot be read: {type(error).__name__}: {str(error)[:100]}")
    return said


def _named(path: Path, problem: str) -> str:
    return problem if str(path) in problem else f"{path}: {problem}"


def _unknown(path: Path) -> Iterator[str]:
    yield f"{path}: no check knows this file: nothing of steplens writes it there; move it elsewhere"


def _not_entered(path: Path) -> Iterator[str]:
    yield (
        f"{path}: this folder is not entered: it cannot be listed, or leads to a folder that it lies in; "
        "move it elsewhere, or let it be read"
    )


def _no_result_yet(path: Path) -> Iterator[str]:
    """What lies in the place of a result and is none."""
    last = _written_last(path)
    if path.suffix != ".zarr":
        kind = other_kind(path) or "a link that leads nowhere"
        yield f"{path}: expected a file, got {kind}; delete it and run the workflow again"
    elif not path.is_dir():
        kind = other_kind(path) or ("a file" if path.exists() else "a link that leads nowhere")
        yield f"{path}: expected the folder of a store, got {kind}; delete it and run the workflow again"
    elif os.path.lexists(last):
        kind = other_kind(last) or "a link that leads nowhere"
        yield f"{last}: expected a file, got {kind}; delete {path} and run the workflow again"
    else:
        yield Note(
            f"{path}: an interrupted write, or its {last.name} was lost: it counts as not there"
        )


def _rest(path: Path) -> Iterator[str]:
    yield Note(f"{path}: the rest of an interrupted write, or of what was deleted; nobody reads it")


class Leftover(Note):
    """Of another configuration."""


def _leftover(path: Path) -> Iterator[str]:
    yield Leftover(str(path))
