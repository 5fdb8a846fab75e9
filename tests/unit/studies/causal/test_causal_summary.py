"""Tables and figures of the causal study, against sacrebleu itself and against a slow computation."""

import numpy as np
import pandas as pd
import pytest
from conftest import write_table
from fleurs_files import line, write_split
from sacrebleu.metrics import BLEU, CHRF

from steplens.files.atomic import read_csv, write_csv
from steplens.languages.error_rate import character_edits, plain_text
from steplens.languages.identification import language_probabilities
from steplens.languages.table import load_languages
from steplens.report.formatting import Formatter, points
from steplens.report.sections import section
from steplens.statistics.bootstrap import SentenceDraws
from steplens.studies.causal import figures, scores
from steplens.studies.causal.summary import CELL, _Mean, summarize_causal

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "and",
    "then",
    "it",
    "went",
    "to",
    "see",
    "its",
    "old",
    "friend",
    "in",
    "town",
]
N, DRAWS, SEED = 7, 40, 5
SETS = [("language", "none", 1), ("modality", "none", 1), ("random", "language", 2),
        ("random", "modality", 2), ("other_language", "none", 1)]  # fmt: skip


def sentences(generator, n, longest=12):
    return [" ".join(generator.choice(WORDS, generator.integers(0, longest))) for _ in range(n)]


def spoilt(generator, text):
    """Some words replaced, some left out; now and then all."""
    kept = [generator.choice(WORDS) if generator.random() < 0.3 else word for word in text.split()]
    return " ".join(word for word in kept if generator.random() < 0.8)


@pytest.mark.parametrize("seed", range(12))
def test_scores_of_sums_are_those_of_sacrebleu(seed):
    """Also without a match of some order, with empty and with equal texts."""
    generator = np.random.default_rng(seed)
    n = int(generator.integers(1, 6))
    references = sentences(generator, n, 3 if seed % 3 == 0 else 12)
    references[0] = references[0] or "cat"
    texts = [spoilt(generator, one) if generator.random() < 0.7 else one for one in references]
    if seed == 1:
        texts = ["" for _ in texts]
    if seed == 2:
        texts = ["zzz zz" for _ in texts]
    if seed == 4:  # two-, three- and four-grams without a match
        texts, references = ["cat zzz on yyy mat"], ["the cat sat on a mat"]
    if seed == 5:  # no four letters in a row
        texts, references = ["cat a"], ["the cat sat on a mat"]
    plain = [[plain_text(one) for one in part] for part in (texts, references)]
    expected = CHRF().corpus_score(plain[0], [plain[1]]).score
    found = scores.chrf(scores.chrf_sums(texts, references).sum(0))
    assert found == pytest.approx(expected, abs=1e-9)
    expected = BLEU().corpus_score(plain[0], [plain[1]]).score
    found = scores.bleu(scores.bleu_sums(texts, references).sum(0))
    assert found == pytest.approx(expected, abs=1e-9)


def test_scores_ignore_case_and_punctuation_and_sentences_without_a_reference():
    """FLEURS's normalised sentences have neither; a sentence that it lacks counts nowhere."""
    texts, references = ["The Cat, sat on a MAT!", "and then"], ["the cat sat on a mat", None]
    for name, best in (("cer", 0), ("chrf", 100), ("bleu", 100)):
        kind = "edit" if name == "cer" else name
        sums = getattr(scores, f"{kind}_sums")(texts, references)
        assert not sums[1].any()
        assert scores.FORMULAS[name](sums.sum(0)) == pytest.approx(best)
        assert np.isnan(scores.FORMULAS[name](sums[1]))


def test_language_is_the_likeliest_of_the_table_and_nothing_is_in_none():
    """A text without a character is not in the expected language, and has no probability."""
    texts = ["der vater versteckt einen schweren stein in der schule", "  ", "the cat sat on a mat"]
    detected, probability = scores.language_sums(texts, "deu")
    np.testing.assert_array_equal(detected, [[1, 1], [0, 1], [0, 1]])
    expected = language_probabilities([texts[0], texts[2]], ["de"])
    np.testing.assert_allclose(probability[[0, 2], 0], expected[:, 0])
    np.testing.assert_array_equal(probability[:, 1], [1, 0, 1])
    unknown = next(code for code, one in load_languages().items() if not one.fasttext)
    assert np.isnan(scores.language_sums(texts, unknown)[0]).all()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Made-up outputs of s2t and asr, two languages, two modules; one sentence is left out."""
    folder = tmp_path_factory.mktemp("run")
    generator = np.random.default_rng(3)
    english = {number: " ".join(generator.choice(WORDS, 8)) for number in range(N)}
    del english[2]  # FLEURS has no English for it
    lines = [line(number, text=text) for number, text in english.items()]
    write_split(folder, load_languages()["eng"], "test", lines)
    texts, unchanged, corpora = {}, {}, {}
    for language in ("deu", "fra"):
        own = {number: " ".join(generator.choice(WORDS, 9)) for number in range(N)}
        corpora[language] = folder / "corpus" / f"{language}.parquet"
        frame = pd.DataFrame({"utterance": own.keys(), "text": own.values()})
        write_table(frame, corpora[language], language=language)
        for task, references in (("s2t", english), ("asr", own)):
            aim = {number: references.get(number, "cat") for number in range(N)}
            path = unchanged[task, language] = folder / "decoding" / task / f"{language}.parquet"
            plain = pd.DataFrame({"utterance": range(N)})
            plain["text"] = [spoilt(generator, aim[one]) if one % 2 else aim[one] for one in aim]
            plain["tokens"] = [[one, one + 1] * (one + 1) for one in aim]
            plain["n_tokens"], plain["ended"] = plain["tokens"].str.len(), True
            write_table(plain, path, task=task, language=language)
            for module in ("decoder", "speech_encoder"):
                path = folder / "texts" / module / language / f"{task}.parquet"
                texts[module, language, task] = path
                _write_texts(path, module, task, language, aim, generator)
    skipped = {"language": ["fra"], "utterance": [1], "left_out": [True]}
    write_csv(pd.DataFrame(skipped), folder / "left_out.csv")
    outputs = {name: folder / f"{name}.csv" for name in ("effects", "by_language")}
    summarize_causal(
        texts, unchanged, corpora, folder, ["test"], "eng", DRAWS, SEED, 6, outputs,
        folder / "left_out.csv",
    )  # fmt: skip
    return folder, texts, unchanged, corpora, english, outputs


def _write_texts(path, module, task, language, aim, generator):
    rows = []
    for k in (10, 30):
        for kind, matched, n_seeds in SETS:
            if module != "decoder" and "modality" in (kind, matched):
                continue
            for number in range(1, n_seeds + 1):
                for utterance, text in aim.items():
                    rows.append(
                        {"module": module, "task": task, "step": 6 * (module == "decoder"),
                         "language": language, "neurons": kind, "matched_to": matched, "k": k,
                         "seed": number if kind == "random" else 0, "neurons_of": "",
                         "utterance": utterance, "n_tokens": 5, "ended": True,
                         "longest_repeat": int(generator.integers(0, 12)),
                         "text": spoilt(generator, text)}
                    )  # fmt: skip
    write_table(pd.DataFrame(rows), path, module=module, task=task, language=language)


def slow_score(measure, texts, repeats, references, expected):
    """From lists of texts, with sacrebleu itself."""
    known = [(text, one) for text, one in zip(texts, references, strict=True) if one is not None]
    if measure == "cer":
        edits = np.array([character_edits(one, text) for text, one in known]).sum(0)
        return edits[0] / edits[1]
    if measure in ("chrf", "bleu"):
        plain = [[plain_text(one) for one in part] for part in zip(*known, strict=True)]
        return {"chrf": CHRF, "bleu": BLEU}[measure]().corpus_score(plain[0], [plain[1]]).score
    if measure == "degenerate_share":
        return np.mean(np.array(repeats) >= 6)
    code = load_languages()[expected].fasttext
    labels = sorted({one.fasttext for one in load_languages().values() if one.fasttext})
    found = language_probabilities(texts, labels)
    if measure == "p_expected":
        return np.nanmean(found[:, labels.index(code)])
    own = found[:, labels.index(code)]
    return np.mean([a == b.max() for a, b in zip(own, found, strict=True)])


def resamples():
    """The sentences of each resample, as often as they were drawn: the same for every language."""
    for counts in SentenceDraws(np.arange(N), DRAWS, SEED).of(np.arange(N)):
        yield np.repeat(np.arange(N), counts).tolist()


@pytest.mark.parametrize("module", ["decoder", "speech_encoder"])
@pytest.mark.parametrize(("task", "language"), [("s2t", "deu"), ("s2t", "fra"), ("asr", "fra")])
def test_tables_are_those_of_a_slow_computation(run, module, task, language):
    """Every resample made as a list of sentences, and scored by sacrebleu: values and intervals."""
    folder, _, unchanged, corpora, english, outputs = run
    table = pd.read_parquet(folder / "texts" / module / language / f"{task}.parquet")
    plain = pd.read_parquet(unchanged[task, language])
    repeats = [2 * (number + 1) if number else 0 for number in range(N)]
    plain = plain.assign(neurons="unchanged", matched_to="none", k=0, longest_repeat=repeats)
    both = pd.concat([plain, table])
    used = [one for one in range(N) if (language, one) != ("fra", 1)]
    own = pd.read_parquet(corpora[language]).set_index("utterance")["text"].to_dict()
    references = english if task == "s2t" else own
    expected = "eng" if task == "s2t" else language
    samples = [used, *([one for one in sample if one in used] for sample in resamples())]
    found = pd.read_csv(outputs["by_language"])
    found = found[(found["module"] == module) & (found["task"] == task)
                  & (found["language"] == language)]  # fmt: skip
    assert set(found["measure"]) == {"cer", "expected_share", "p_expected", "degenerate_share"} | (
        {"chrf", "bleu"} if task == "s2t" else set()
    )
    slow = {}
    for key, part in both.groupby(["neurons", "matched_to", "k"]):
        by_utterance = dict(iter(part.groupby("utterance")))
        for measure in found["measure"].unique():
            draws = []
            for sample in (
                samples if measure in ("chrf", "cer", "degenerate_share") else samples[:1]
            ):
                rows = pd.concat([by_utterance[one] for one in sample])
                wanted = [references.get(one) for one in rows["utterance"]]
                draws.append(slow_score(measure, rows["text"].tolist(),
                                        rows["longest_repeat"].tolist(), wanted, expected))  # fmt: skip
            slow[*key, measure] = np.array(draws)
    rows = {tuple(row[name] for name in [*CELL[3:], "measure"]): row
            for row in found.to_dict("records")}  # fmt: skip
    assert rows.keys() == slow.keys()
    for (kind, matched, k, measure), row in rows.items():
        own = slow[kind, matched, k, measure]
        contrasts = {"value": own}
        if kind != "unchanged":
            contrasts["change"] = own - slow["unchanged", "none", 0, measure]
        if kind in ("language", "modality", "other_language"):
            match = "modality" if kind == "modality" else "language"
            contrasts["beyond_random"] = own - slow["random", match, k, measure]
        if kind == "language":
            contrasts["beyond_other"] = own - slow["other_language", "none", k, measure]
        for name in ("value", "change", "beyond_random", "beyond_other"):
            if name not in contrasts:
                assert np.isnan(row[name])
                continue
            draws = contrasts[name]
            assert row[name] == pytest.approx(draws[0], abs=1e-6)
            if len(draws) > 1:
                ends = np.percentile(draws[1:], [2.5, 97.5])
                assert [row[f"{name}_low"], row[f"{name}_high"]] == pytest.approx(ends, abs=1e-6)
    n_texts = rows["random", "language", 10, "cer"]["n_texts"]
    assert n_texts == 2 * len(used)


def test_effects_are_means_over_languages(run):
    """Of what each language has by itself."""
    outputs = run[-1]
    effects, by_language = (pd.read_csv(outputs[name]) for name in ("effects", "by_language"))
    keys = [*CELL, "measure"]
    expected = by_language.groupby(keys)[
        ["value", "change", "beyond_random", "beyond_other"]
    ].mean()
    found = effects.set_index(keys)[expected.columns].loc[expected.index]
    pd.testing.assert_frame_equal(found, expected, atol=1e-6)
    assert (effects["n_languages"] == 2).all()
    assert (effects["value_low"] <= effects["value_high"]).all()


def test_the_interval_of_a_mean_is_that_of_one_draw_of_sentences_for_all_languages(run):
    """Error rates of the own language's neurons against all free: each resample in both languages."""
    folder, _, unchanged, corpora, _, outputs = run
    rates = {}
    for language in ("deu", "fra"):
        references = pd.read_parquet(corpora[language]).set_index("utterance")["text"]
        table = pd.read_parquet(folder / "texts" / "decoder" / language / "asr.parquet")
        texts = {
            "value": table.query("neurons == 'language' and k == 30"),
            "plain": pd.read_parquet(unchanged["asr", language]),
        }
        for name, part in texts.items():
            edits = {
                row.utterance: character_edits(references[row.utterance], row.text)
                for row in part.itertuples()
                if (language, row.utterance) != ("fra", 1)
            }
            drawn = [
                np.array([edits[one] for one in sample if one in edits]).sum(0)
                for sample in resamples()
            ]
            rates[language, name] = np.array([one[0] / one[1] for one in drawn])
    effects = pd.read_csv(outputs["effects"]).query(
        "module == 'decoder' and task == 'asr' and neurons == 'language' and k == 30"
    )
    (row,) = effects[effects["measure"] == "cer"].to_dict("records")
    value = np.mean([rates[one, "value"] for one in ("deu", "fra")], axis=0)
    change = np.mean([rates[one, "value"] - rates[one, "plain"] for one in ("deu", "fra")], axis=0)
    for name, draws in (("value", value), ("change", change)):
        ends = np.percentile(draws, [2.5, 97.5])
        assert [row[f"{name}_low"], row[f"{name}_high"]] == pytest.approx(ends, abs=1e-6)


def test_figures_and_section_take_these_tables(run, tmp_path):
    """Every panel has a line for each kind that there is; every sentence reads its numbers."""
    outputs = run[-1]
    figures.figure18(outputs["effects"], outputs["by_language"], tmp_path / "figure18")
    figures.figure19(outputs["by_language"], tmp_path / "figure19")
    assert {path.suffix for path in tmp_path.iterdir()} == {".svg", ".png"}
    drawn = figures.draw_effects(*(read_csv(outputs[one]) for one in ("effects", "by_language")))
    labels = [axes.get_legend_handles_labels()[1] for axes in drawn.axes]
    assert [len(one) for one in labels] == [5, 5, 7, 7]  # encoder without the modality's
    study = section("causal")
    tables = {name: read_csv(path) for name, path in outputs.items()}
    tied = [("decoder", "asr", 6, "language", "column", "deu", 20, 1.0, 20, 31),
            ("decoder", "asr", 6, "language", "column", "deu", 40, 0.9, 0, 0)]  # fmt: skip
    columns = [
        "module",
        "task",
        "step",
        "neurons",
        "ties",
        "language",
        "k",
        "ap_at_k",
        "decided_by_tie",
        "tied",
    ]
    tables["ties"] = pd.DataFrame(tied, columns=columns)
    content = study.content(tables, Formatter())
    assert all("nan" not in one for one in content["findings"])
    assert content["findings"][-1] == (
        "Ties of AP decided neurons of 1 of 2 sets (top 20 or 40), at most 20 of one, among 31 of equal AP "
        "(deu, asr, t\u00a0=\u00a06); the first by layer and submodule were taken."
    )
    rows = tables["by_language"]
    rows = rows[(rows["neurons"] == "language") & (rows["k"] == rows["k"].max())]
    rows = rows[
        (rows["task"] == "asr") & (rows["measure"] == "cer") & (rows["module"] == "decoder")
    ]
    worst = rows.loc[rows["change"].idxmax()]
    expected = f"worst {Formatter().name(worst['language'])} {points(worst['change'])}"
    (finding,) = (one for one in content["findings"] if "(asr): without" in one)
    assert f"median of languages {points(rows['change'].median())}, {expected}" in finding


def test_a_language_without_a_value_is_left_out_of_the_mean():
    """As is a draw without one, of that draw's mean alone."""
    mean = _Mean()
    for values in ([1.0, 2.0, np.nan], [3.0, 4.0, 5.0], [np.nan, 7.0, 8.0]):
        mean.add({"value": np.array(values)}, 10)
    np.testing.assert_array_equal(mean.drawn()["value"], [2.0, 3.0, 5.0])
    assert (mean.n_languages, mean.n_texts) == (3, 30)
