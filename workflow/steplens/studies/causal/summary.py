"""Stage ``summarize_causal``: what fixed neurons do to the output (docs/methods/causal.md)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steplens.corpus.sentences import read_sentences
from steplens.files.atomic import write_csv
from steplens.languages.repetition import longest_repeat
from steplens.languages.table import load_languages
from steplens.statistics.bootstrap import SentenceDraws, percentile_interval, sentences_in
from steplens.store.conditions import read_condition
from steplens.store.left_out import read_left_out
from steplens.studies.causal import scores
from steplens.tasks import TRANSLATIONS, target_of

UNCHANGED = "unchanged"
KINDS = (UNCHANGED, "language", "modality", "random", "other_language")
CELL = ["module", "task", "step", "neurons", "matched_to", "k"]
# What tells the rows of a table of outputs apart.
TRIAL = ["neurons", "matched_to", "k", "seed", "neurons_of", "utterance"]
_CONTRASTS = ("value", "change", "beyond_random", "beyond_other")
COLUMNS = [
    *CELL, "measure", "n_texts",
    *(f"{name}{end}" for name in _CONTRASTS for end in ("", "_low", "_high")),
]  # fmt: skip
_NOT_MATCHED = "none"
_BLEU_LANGUAGE = "eng"


def summarize_causal(
    texts: dict[tuple[str, str, str], Path],
    unchanged: dict[tuple[str, str], Path],
    corpora: dict[str, Path],
    folder: Path,
    splits: list[str],
    output_language: str,
    n_resamples: int,
    seed: int,
    degenerate_tokens: int,
    outputs: dict[str, Path],
    left_out: Path | None = None,
) -> None:
    """Write ``causal/by_language.csv`` and ``causal/effects.csv``, the mean over languages.

    Parameters
    ----------
    texts : dict
        (module, language, task) to a table of outputs with neurons fixed.
    unchanged : dict
        (task, language) to ``decoding/<task>/<language>.parquet``.
    corpora : dict
        Language to ``corpus/<language>.parquet``: what asr and tr are scored against.
    folder, splits
        FLEURS, for the references of s2t and t2t.
    output_language : str
    n_resamples, seed : int
    degenerate_tokens : int
        An output with an immediate repetition of so many tokens counts as degenerate.
    outputs : dict
        ``by_language`` and ``effects`` to CSV.
    left_out : path, optional
        ``tables/speech_quality.csv``: utterances that it leaves out take no part.
    """
    skipped = read_left_out(left_out)
    target = read_sentences(folder, load_languages()[output_language], splits)
    translated = target.set_index("utterance")["text"]
    draws = SentenceDraws(sentences_in(texts.values()), n_resamples, seed)
    means: dict[tuple, _Mean] = {}
    by_language: list[dict[str, Any]] = []
    for (module, language, task), path in texts.items():
        table = read_condition(path, TRIAL, module=module, language=language, task=task)
        own = read_condition(corpora[language], language=language).set_index("utterance")["text"]
        table = table[~table["utterance"].isin(skipped.get(language, []))]
        if table.empty:
            continue
        plain = read_condition(unchanged[task, language], task=task, language=language)
        plain = plain.set_index("utterance")
        both = pd.concat([_as_trial(plain, table), table])
        cells = Cells(
            both,
            translated if task in TRANSLATIONS else own,
            target_of(task, language, output_language),
            draws.of(np.unique(table["utterance"])),
            degenerate_tokens,
        )
        for key, drawn in cells.contrasts():
            n_texts = int(cells.n_texts[key[: len(CELL)]])
            by_language.append({"language": language, **_named(key, n_texts), **_row(drawn)})
            means.setdefault(key, _Mean()).add(drawn, n_texts)
    effects = [
        {**_named(key, one.n_texts), **_row(one.drawn()), "n_languages": one.n_languages}
        for key, one in means.items()
    ]
    found = pd.DataFrame(by_language, columns=["language", *COLUMNS])
    write_csv(found, outputs["by_language"])
    write_csv(pd.DataFrame(effects, columns=[*COLUMNS, "n_languages"]), outputs["effects"])


def _named(key: tuple, n_texts: int) -> dict[str, Any]:
    return dict(zip([*CELL, "measure"], key, strict=True)) | {"n_texts": n_texts}


def _as_trial(plain: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The output with all neurons free of the same sentences, as rows of such a table."""
    used = plain.loc[table["utterance"].unique()].reset_index()
    told = {name: table[name].iloc[0] for name in ("module", "task", "step", "language")}
    return used[["utterance", "n_tokens", "ended", "text"]].assign(
        **told, neurons=UNCHANGED, matched_to=_NOT_MATCHED, k=0, seed=0, neurons_of="",
        longest_repeat=[longest_repeat(list(tokens)) for tokens in used["tokens"]],
    )  # fmt: skip


class Cells:
    """All measures of one module, task and language, with their draws.

    Parameters
    ----------
    table : DataFrame
        Outputs, those with all neurons free among them.
    references : Series
        Text by utterance; where there is none, a sentence takes no part in cer, chrf and bleu.
    expected : str
        The language that the task asks for.
    counts : (n_resamples, n_utterances) int array
        How often each utterance is drawn, in order of utterances.
    degenerate_tokens : int
    """

    def __init__(
        self,
        table: pd.DataFrame,
        references: pd.Series,
        expected: str,
        counts: np.ndarray,
        degenerate_tokens: int,
    ):
        table = table.reset_index(drop=True)
        utterances, sentence = np.unique(table["utterance"], return_inverse=True)
        self._counts = counts
        # Outputs repeat: each is scored once a sentence.
        pair, which = np.unique(
            np.array([sentence, pd.factorize(table["text"])[0]]), axis=1, return_inverse=True
        )
        first = np.full(pair.shape[1], -1)
        first[which[::-1]] = np.arange(len(table))[::-1]
        texts = table["text"].to_numpy()[first].tolist()
        found = references.reindex(table["utterance"].to_numpy()[first])
        wanted = [None if pd.isna(one) else str(one) for one in found]
        sums = {"cer": scores.edit_sums(texts, wanted)}
        if table["task"].iloc[0] in TRANSLATIONS:
            sums["chrf"] = scores.chrf_sums(texts, wanted)
            if expected == _BLEU_LANGUAGE:
                sums["bleu"] = scores.bleu_sums(texts, wanted)
        sums["expected_share"], sums["p_expected"] = scores.language_sums(texts, expected)
        self._sums = {name: one[which] for name, one in sums.items()}
        collapsed = table["longest_repeat"] >= degenerate_tokens
        self._sums["degenerate_share"] = np.array(
            [collapsed.to_numpy(np.float64), np.ones(len(table))]
        ).T
        self._sentence, self._n_sentences = sentence, len(utterances)
        groups = table.groupby(CELL, sort=False).indices
        order = {kind: place for place, kind in enumerate(KINDS)}
        self._rows = dict(sorted(groups.items(), key=lambda one: (one[0][5], order[one[0][3]])))
        self.n_texts = {cell: len(rows) for cell, rows in self._rows.items()}

    def _drawn(self, cell: tuple, measure: str) -> np.ndarray:
        """The measure, then its draws: (1 + n_resamples,). Random seeds are pooled."""
        rows = self._rows[cell]
        values = self._sums[measure][rows]
        by_sentence = np.zeros((self._n_sentences, values.shape[1]))
        np.add.at(by_sentence, self._sentence[rows], values)
        sums = np.concatenate([by_sentence.sum(0)[None], self._counts @ by_sentence])
        return scores.FORMULAS[measure](sums)

    def contrasts(self) -> Iterator[tuple[tuple, dict[str, np.ndarray]]]:
        """(cell, measure) as one tuple; the value and its differences, each with its draws.

        ``change`` is against all neurons free, ``beyond_random`` against random neurons that match (of
        another language's neurons: that match the own language's), ``beyond_other`` that of the own
        language's neurons against another language's.
        """
        for measure in self._sums:
            drawn = {cell: self._drawn(cell, measure) for cell in self._rows}
            for cell, own in drawn.items():
                found = {"value": own}
                *place, kind, _, k = cell
                if kind != UNCHANGED:
                    found["change"] = own - drawn[*place, UNCHANGED, _NOT_MATCHED, 0]
                matched = {"modality": "modality"}.get(kind, "language")
                random = drawn.get((*place, "random", matched, k))
                if kind not in (UNCHANGED, "random") and random is not None:
                    found["beyond_random"] = own - random
                other = drawn.get((*place, "other_language", _NOT_MATCHED, k))
                if kind == "language" and other is not None:
                    found["beyond_other"] = own - other
                yield (*cell, measure), found


def _row(drawn: dict[str, np.ndarray]) -> dict[str, float]:
    row: dict[str, float] = {}
    for name in _CONTRASTS:
        values = drawn.get(name, np.array([np.nan]))
        low, high = percentile_interval(values[1:])
        row |= {name: float(values[0]), f"{name}_low": low, f"{name}_high": high}
    return row


class _Mean:
    """The mean over languages of every contrast, of the measure and of every draw; NaN left out."""

    def __init__(self) -> None:
        self._sum: dict[str, np.ndarray] = {}
        self._count: dict[str, np.ndarray] = {}
        self.n_languages = self.n_texts = 0

    def add(self, drawn: dict[str, np.ndarray], n_texts: int) -> None:
        """One language more."""
        self.n_texts += n_texts
        self.n_languages += 1
        for name, values in drawn.items():
            known = np.isfinite(values) & np.isfinite(values[0])
            self._sum[name] = self._sum.get(name, 0.0) + np.where(known, values, 0.0)
            self._count[name] = self._count.get(name, 0) + known

    def drawn(self) -> dict[str, np.ndarray]:
        """The mean of each contrast, then that of its draws."""
        return {name: _divided(self._sum[name], self._count[name]) for name in self._sum}


def _divided(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """Element by element; NaN where the second is 0."""
    return np.divide(over, under, out=np.full(over.shape, np.nan), where=under > 0)
