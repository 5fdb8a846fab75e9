"""``snakemake verify``: whether everything of a run is on disk as it was written, and belongs together.

Every store and ranking is read whole and compared with its digest, every audio file and table with its
checksum; then what each says of itself with where it lies, with the configuration, and with the inputs
that it was made from. What is not there yet is counted, and is no error.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .atomic import TableError, read_parquet, table_digest
from .groups import COMMIT_MARK, StoreError, group_path, open_group, read_root
from .planning import OTHER_SPEECH
from .pooled import ALL
from .progress import progress
from .rankings import open_ranking
from .store_check import check_store
from .studies.twins import TEXT_TWIN
from .takes import file_digest
from .tasks import MODALITY_OF


class VerificationError(ValueError):
    """Results are damaged, lost or not what the configuration would have made."""


class OfAnotherInput(str):
    """A problem that is none of its own where the input is damaged: mended, it will fit again."""

    def __new__(cls, text: str, source: Path):
        problem = super().__new__(cls, text)
        problem.source = group_path(source)
        return problem


@dataclass
class Part:
    """One thing that is checked."""

    path: Path
    check: Callable[[Path], Iterator[str]]  # gives what is wrong


@dataclass
class Found:
    """What a verification found."""

    n_checked: int = 0
    n_missing: int = 0
    problems: list[str] = field(default_factory=list)
    wrong: list[Path] = field(default_factory=list)  # stores, rankings and tables that have any


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

    def parts(self) -> Iterable[Part]:
        """Everything that the configuration asks for and that can be checked."""
        for language in self.languages:
            yield Part(self._corpus(language), self._check_corpus)
        yield from self._of_the_model()
        folder = self.results / "ranking" / "modality"
        if folder.is_dir():
            yield from self._modality_rankings(folder)
        # What the neighbouring studies measured, and steered outputs.
        for kind in ("steering/texts", "inequality", "causal"):
            for path in sorted((self.results / kind).rglob("*.parquet")):
                if not any(part.startswith(".") for part in path.relative_to(self.results).parts):
                    yield Part(path, check_table)
        other = self.results / OTHER_SPEECH
        if other.is_dir():  # the speech half once more, of the same sentences
            tasks = [task for task in self.tasks if MODALITY_OF[task] == "speech"]
            half = replace(
                self, results=other, tasks=tasks, modalities=("speech",), corpus=self._corpus_folder
            )
            yield from half._of_the_model()

    def _of_the_model(self) -> Iterator[Part]:
        """Speech, what the model made of the sentences, and rankings of it."""
        for language in self.languages:
            yield Part(self._speech(language), check_audio)
            for modality in self.modalities:
                yield Part(
                    self._encoder(modality, language), self._encoder_check(modality, language)
                )
        for task in self.tasks:
            for language in self.languages:
                yield Part(self._decoding(task, language), self._decoding_check(task, language))
                for step in self.steps:
                    check = self._decoder_check(task, language, step)
                    yield Part(self._decoder(task, language, step), check)
        folder = self.results / "ranking"
        for modality in self.modalities:
            name = f"{modality}_encoder"
            stores = {one: self._encoder(modality, one) for one in self.languages}
            yield Part(folder / f"{name}.zarr", ranking_check(stores, {"module": name}))
        for task in self.tasks:
            for step in self.steps:
                stores = {one: self._decoder(task, one, step) for one in self.languages}
                condition = {"module": "decoder", "task": task, "step": step}
                path = folder / "decoder" / task / f"step-{step:02d}.zarr"
                yield Part(path, ranking_check(stores, condition))

    def _modality_rankings(self, folder: Path) -> Iterator[Part]:
        for speech_task, text_task in TEXT_TWIN.items():
            for step in self.steps:
                stores = {
                    f"{task} {one}": self._decoder(task, one, step)
                    for task in (speech_task, text_task)
                    for one in self.languages
                }
                for task in (speech_task, text_task):
                    modality = MODALITY_OF[task]
                    path = folder / speech_task / f"step-{step:02d}" / f"{modality}.zarr"
                    condition = {"task": task, "step": step, "label": modality}
                    rows = [ALL, *self.languages]
                    yield Part(path, ranking_check(stores, condition, rows))

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

    def _check_corpus(self, path: Path) -> Iterator[str]:
        n = len(read_parquet(path))
        if n != self.n_utterances:
            yield f"expected {self.n_utterances} sentences by the configuration, got {n}"

    def _encoder_check(self, modality: str, language: str) -> Callable[[Path], Iterator[str]]:
        def check(path: Path) -> Iterator[str]:
            inputs = {"corpus": self._corpus(language)}
            if modality == "speech":
                inputs["speech"] = self._speech(language)
            told = {"module": f"{modality}_encoder", "modality": modality, "language": language}
            if modality == "speech":
                told["fixed_seconds"] = self.fixed_seconds
            yield from self._check_store(path, f"encode_{modality}", told)
            yield from _check_inputs(path, inputs)

        return check

    def _decoding_check(self, task: str, language: str) -> Callable[[Path], Iterator[str]]:
        def check(path: Path) -> Iterator[str]:
            told = read_parquet(path).attrs
            store = self._encoder(MODALITY_OF[task], language)
            expected = {"task": task, "language": language, "made_by": dict(self.made_by["decode"])}
            yield from _differences(told, expected)
            yield from _of_other_inputs(told, {"encoder_store": store})

        return check

    def _decoder_check(
        self, task: str, language: str, step: int
    ) -> Callable[[Path], Iterator[str]]:
        def check(path: Path) -> Iterator[str]:
            told = {"module": "decoder", "task": task, "language": language, "step": step}
            yield from self._check_store(path, "capture", told)
            inputs = {
                "encoder_store": self._encoder(MODALITY_OF[task], language),
                "decoding": self._decoding(task, language),
            }
            yield from _check_inputs(path, inputs)

        return check

    def _check_store(self, path: Path, stage: str, told: Mapping[str, Any]) -> Iterator[str]:
        check_store(path)
        data = open_group(path)
        yield from _differences(data.attrs, {**told, "made_by": dict(self.made_by[stage])})
        if str(data["activation"].dtype) != self.dtype:
            yield f"dtype: expected {self.dtype}, got {data['activation'].dtype}"


def verify(verification: Verification, threads: int) -> Found:
    """Check everything that is there.

    Parameters
    ----------
    verification : Verification
    threads : int
        Parts at a time.
    """
    found = Found()
    there = []
    for part in verification.parts():
        if _is_there(part.path):
            there.append(part)
        else:
            found.n_missing += 1
    with ThreadPoolExecutor(threads) as pool, progress(len(there), "verify", "part") as bar:
        problems = []
        for some in pool.map(_checked, there):
            problems.append(some)
            bar.update()
    damaged = {
        part.path
        for part, some in zip(there, problems, strict=True)
        if not all(isinstance(one, OfAnotherInput) for one in some)
    }
    for part, some in zip(there, problems, strict=True):
        own = [one for one in some if getattr(one, "source", None) not in damaged]
        found.problems += [_named(part.path, one) for one in own]
        found.wrong += [part.path] * bool(own)
    found.n_checked = len(there)
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
        print(problem, flush=True)
    print(
        f"{found.n_checked} stores, rankings, tables and sets of audio checked, "
        f"{len(found.problems)} problems, {found.n_missing} not there yet",
        flush=True,
    )
    if found.problems:
        # By name: what is finished asks for nothing that it was made of.
        targets = [path / COMMIT_MARK if path.suffix == ".zarr" else path for path in found.wrong]
        print("Look at them. To make them again, with the options of this call beside them:")
        print("rm -r", *found.wrong)
        print("snakemake --cores all", *targets, flush=True)
        raise VerificationError(
            f"{verification.results}: expected results that are whole and belong together, got "
            f"{len(found.problems)} problems (above, with what to do)"
        )


def _is_there(path: Path) -> bool:
    return (path / COMMIT_MARK).is_file() if path.suffix == ".zarr" else path.is_file()


def _checked(part: Part) -> list[str]:
    try:
        return list(part.check(part.path))
    except (StoreError, TableError) as error:
        return [str(error)]


def _named(path: Path, problem: str) -> str:
    return problem if str(path) in problem else f"{path}: {problem}"


def check_audio(path: Path) -> Iterator[str]:
    """What is wrong with the audio that ``speech/<language>.parquet`` lists."""
    table = read_parquet(path)
    for name, digest in zip(table["path"], table["sha256"], strict=True):
        file = path.parent / name
        if not file.is_file():
            yield f"{file}: the audio is lost"
        elif file_digest(file) != digest:
            yield f"{file}: not what was spoken"


def check_table(path: Path) -> Iterator[str]:
    """What is wrong with a table that stands for itself."""
    read_parquet(path)
    yield from ()


def ranking_check(
    stores: Mapping[str, Path], condition: Mapping[str, Any], rows: list[str] | None = None
) -> Callable[[Path], Iterator[str]]:
    """A check of a ranking: it is whole, and of these stores as they are now; its rows are as told."""
    rows = list(stores) if rows is None else rows

    def check(path: Path) -> Iterator[str]:
        ranking = open_ranking(path, **condition)
        if ranking.languages != rows:
            yield f"languages: expected {rows}, got {ranking.languages}"
        yield from _of_other_inputs(ranking.store_digests, stores)

    return check


def _check_inputs(path: Path, inputs: Mapping[str, Path]) -> Iterator[str]:
    yield from _of_other_inputs(read_root(path)["attributes"].get("inputs", {}), inputs)


def _of_other_inputs(told: Mapping[str, Any], inputs: Mapping[str, Path]) -> Iterator[str]:
    """Inputs that are on disk and are not those whose digests something keeps."""
    for name, source in inputs.items():
        if not _is_there(source):
            continue
        try:
            is_store = source.suffix == ".zarr"
            now = read_root(source)["attributes"]["digest"] if is_store else table_digest(source)
        except StoreError:  # which is said where that store is checked
            continue
        if told.get(name) != now:
            text = f"made from another {name}: expected {source} with digest {now}, got {told.get(name)}"
            yield OfAnotherInput(text, source)


def _differences(told: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[str]:
    for key, value in expected.items():
        if told.get(key) != value:
            yield f"{key}: expected {value}, got {told.get(key)}"
