"""Means, intervals, scripts and paired tests are those of slow, direct computations."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, permutation_test

from steplens.errors import TableError
from steplens.files.atomic import write_csv, write_parquet
from steplens.statistics.bootstrap import SentenceDraws
from steplens.studies.inequality.gini import POINTS
from steplens.studies.inequality.paired import N_FLIPS, families, holm, sign_flip_p
from steplens.studies.inequality.summary import summarize

SCRIPTS = {"deu": "Latin", "fra": "Latin", "jpn": "CJK", "rus": "Cyrillic"}
LANGUAGES = list(SCRIPTS)
OF = [["0", "q"], ["0", "fc"], ["1", "q"], ["0", "all"], ["step-dependent", "all"], ["all", "all"]]
LAYERS = ["0", "step-dependent", "all"]
STEPS = (1, 6)
N_RESAMPLES, SEED = 200, 5
NAMES = ("gini", "shares", "lorenz", "scripts", "paired")
MODEL = {"model": "made up", "revision": "r1", "config_digest": "c", "compute_dtype": "float32"}


def measured(path, ids, valid, gini, lorenz, **told):
    """A table as ``measure`` writes it."""
    table = pd.DataFrame(
        {"utterance": ids, "valid": valid, "gini": list(gini), "lorenz": list(lorenz)}
    )
    table.attrs = MODEL | {"of": OF, "n_neurons": 60, "include_step_invariant": True} | told
    write_parquet(table, path)
    return path


def conditions():
    for modality in ("speech", "text"):
        yield {"module": f"{modality}_encoder", "modality": modality}
    for task, step in itertools.product(("s2t", "t2t", "asr", "tr"), STEPS):
        yield {"module": "decoder", "task": task, "step": step}


def key_of(told):
    return told["module"], told.get("task", told.get("modality")), told.get("step", 0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Tables with utterances that are not valid, one left out, one without a value, and few pairs."""
    folder = tmp_path_factory.mktemp("inequality")
    generator = np.random.default_rng(8)
    paths, kept = [], {}
    for place, language in enumerate(LANGUAGES):
        ids = generator.permutation(np.arange(3 * place, 3 * place + 25))
        for told in conditions():
            gini = generator.normal(0.5, 0.02, (25, len(OF)))
            gini += 0.02 * (told.get("task") in ("s2t", "asr"))
            lorenz = np.sort(generator.random((25, POINTS)), axis=1)
            valid = generator.random(25) < 0.8
            if language == "rus" and told.get("step") == 6 and told.get("task") == "tr":
                valid[:] = np.arange(25) == 3  # one alone
            gini[~valid], lorenz[~valid] = np.nan, np.nan
            if language == "fra":
                gini[4, 3] = np.nan  # all of layer 0 was 0
            path = folder / f"{language}-{len(paths)}.parquet"
            paths.append(measured(path, ids, valid, gini, lorenz, language=language, **told))
            mask = valid & (ids != (12 if language == "deu" else -1))
            kept[(*key_of(told), language)] = ids, ids[mask], gini[mask], lorenz[mask]
    left_out = folder / "speech_quality.csv"
    rows = [("deu", 12, True), ("deu", 9, False), ("nan", 9, True)]
    write_csv(pd.DataFrame(rows, columns=["language", "utterance", "left_out"]), left_out)
    return folder, paths, kept, left_out


@pytest.fixture(scope="module")
def tables(run):
    folder, paths, _, left_out = run
    outputs = {name: folder / f"{name}.csv" for name in NAMES}
    summarize(paths, SCRIPTS, N_RESAMPLES, SEED, outputs, left_out)
    return {name: pd.read_csv(path, dtype={"layer": str}) for name, path in outputs.items()}


def slow_draws(kept, sentences, values):
    """Means of resamples of the sentences of all languages, a sentence at a time."""
    ids = sorted({one for stored, *_ in kept.values() for one in stored.tolist()})
    value_of = dict(zip(sentences.tolist(), values.tolist(), strict=True))
    draws = []
    for counts in SentenceDraws(np.array(ids), N_RESAMPLES, SEED).of(np.array(ids)):
        drawn = [
            value_of[one]
            for one, count in zip(ids, counts, strict=True)
            for _ in range(count)
            if one in value_of and np.isfinite(value_of[one])
        ]
        draws.append(np.mean(drawn) if drawn else np.nan)
    return np.array(draws)


def percentiles(draws):
    return np.percentile(draws[np.isfinite(draws)], [2.5, 97.5])


def test_means_and_intervals_of_every_cell(run, tables):
    _, _, kept, _ = run
    found = tables["gini"].set_index(["module", "task", "step", "language", "layer", "submodule"])
    assert found.index.is_unique
    assert len(found) == 10 * (4 * len(OF) + len(LAYERS))
    for (*condition, language), (_, sentences, gini, _) in kept.items():
        for column, cell in enumerate(OF):
            row = found.loc[(*condition, language, *cell)]
            values = gini[:, column]
            known = np.isfinite(values)
            assert row["n"] == known.sum()
            assert row["n_zero"] == (~known).sum()
            assert row["gini"] == pytest.approx(values[known].mean(), abs=1e-8)
            if known.sum() < 2:
                assert row[["ci_low", "ci_high"]].isna().all()
            elif column == 3:  # the slow one
                ends = percentiles(slow_draws(kept, sentences, values))
                np.testing.assert_allclose(row[["ci_low", "ci_high"]].tolist(), ends, atol=1e-8)
    assert (found["n_zero"] > 0).any()


def test_shares_and_curves(run, tables):
    _, _, kept, _ = run
    shares = tables["shares"].set_index(["module", "task", "step", "language", "top"])["share"]
    curves = tables["lorenz"].groupby(["module", "task", "step", "language"])
    for key, (_, _, _, lorenz) in kept.items():
        mean = lorenz.mean(axis=0)
        curve = curves.get_group(key)
        np.testing.assert_allclose(curve["share_of_magnitude"], mean, atol=1e-8)
        np.testing.assert_allclose(curve["share_of_neurons"], np.arange(101) / 100)
        for top, point in ((0.01, 99), (0.05, 95), (0.1, 90)):
            assert shares[(*key, top)] == pytest.approx(1 - mean[point], abs=1e-8)


def joint_draws(kept, condition, languages, column):
    """Draws of the mean over languages, from one draw of sentences."""
    draws = [
        slow_draws(kept, kept[(*condition, one)][1], kept[(*condition, one)][2][:, 3 + column])
        for one in languages
    ]
    return np.mean(draws, axis=0)


@pytest.mark.parametrize("condition", [("decoder", "asr", 6), ("speech_encoder", "speech", 0)])
def test_scripts_are_means_over_their_languages_from_one_draw_of_sentences(run, tables, condition):
    _, _, kept, _ = run
    found = tables["scripts"].set_index(["module", "task", "step", "layer", "script"])
    groups = {
        "Latin": ["deu", "fra"], "CJK": ["jpn"], "Cyrillic": ["rus"], "not Latin": ["jpn", "rus"]
    }  # fmt: skip
    mean = {
        (script, column): np.mean(
            [np.nanmean(kept[(*condition, one)][2][:, 3 + column]) for one in languages]
        )
        for (script, languages), column in itertools.product(groups.items(), range(3))
    }
    for (script, languages), (column, layer) in itertools.product(
        groups.items(), enumerate(LAYERS)
    ):
        row = found.loc[(*condition, layer, script)]
        assert row["n_languages"] == len(languages)
        assert row["gini"] == pytest.approx(mean[script, column], abs=1e-8)
        draws = joint_draws(kept, condition, languages, column)
        np.testing.assert_allclose(
            row[["ci_low", "ci_high"]].tolist(), percentiles(draws), atol=1e-8
        )
        apart = row[["difference", "difference_low", "difference_high"]]
        if script == "Latin":
            assert apart.isna().all()
            continue
        latin = joint_draws(kept, condition, groups["Latin"], column)
        expected = [mean[script, column] - mean["Latin", column], *percentiles(draws - latin)]
        np.testing.assert_allclose(apart.tolist(), expected, atol=1e-8)
    row = tables["gini"].set_index(["module", "task", "step", "language", "layer"])
    everyone = row.loc[(*condition, "all", "step-dependent")]["gini"].item()
    assert everyone == pytest.approx(np.mean([mean["Latin", 1], mean["not Latin", 1]]), abs=1e-8)


@pytest.mark.parametrize("pair", [("s2t", "t2t"), ("asr", "tr")])
def test_differences_are_of_the_same_sentence(run, tables, pair):
    _, _, kept, _ = run
    found = tables["paired"].set_index(["speech_task", "text_task", "step", "language", "layer"])
    assert found.index.is_unique
    assert len(found) == 2 * 2 * 5 * 3
    for step, (column, layer) in itertools.product(STEPS, enumerate(LAYERS)):
        means, draws, pooled = [], [], []
        for language in LANGUAGES:
            _, *speech = kept["decoder", pair[0], step, language]
            _, *text = kept["decoder", pair[1], step, language]
            one, other = (
                dict(zip(side[0].tolist(), side[1][:, 3 + column].tolist(), strict=True))
                for side in (speech, text)
            )
            apart = {key: one[key] - other[key] for key in sorted(one.keys() & other.keys())}
            apart = {key: value for key, value in apart.items() if np.isfinite(value)}
            sentences, values = np.array(list(apart)), np.array(list(apart.values()))
            row = found.loc[(*pair, step, language, layer)]
            assert row["n_pairs"] == len(values)
            if not len(values):
                assert row[["difference", "ci_low", "p", "p_holm"]].isna().all()
                continue
            assert row["difference"] == pytest.approx(values.mean(), abs=1e-8)
            assert row["gini_speech"] - row["gini_text"] == pytest.approx(values.mean(), abs=1e-7)
            if len(values) == 1:
                assert row[["ci_low", "ci_high"]].isna().all()
            else:
                ends = percentiles(slow_draws(kept, sentences, values))
                np.testing.assert_allclose(row[["ci_low", "ci_high"]].tolist(), ends, atol=1e-8)
                test = permutation_test(
                    (values,), np.mean, permutation_type="samples", n_resamples=20_000, rng=3
                )  # fmt: skip
                assert row["p"] == pytest.approx(test.pvalue, abs=0.015)
            means.append(values.mean())
            pooled.append(pd.Series(values / len(values), index=sentences))
            draws.append(slow_draws(kept, sentences, values))
        row = found.loc[(*pair, step, "all", layer)]
        assert row["difference"] == pytest.approx(np.mean(means), abs=1e-8)
        ends = percentiles(np.mean(draws, axis=0))
        np.testing.assert_allclose(row[["ci_low", "ci_high"]].tolist(), ends, atol=1e-8)
        of_sentence = pd.concat(pooled).groupby(level=0).sum().to_numpy()
        test = permutation_test(
            (of_sentence,), np.sum, permutation_type="samples", n_resamples=20_000, rng=4
        )
        assert row["p"] == pytest.approx(test.pvalue, abs=0.015)


@pytest.mark.parametrize("n", [1, 2, 5, 9, 13])
def test_sign_flips_are_all_of_them(n):
    """By brute force; with ties, zeros, and a column without any difference."""
    generator = np.random.default_rng(n)
    differences = generator.normal(0.4, 1, (n, 4))
    differences[:, 1] = generator.integers(-2, 3, n) / 10
    differences[:, 2] = 0
    expected = np.zeros(4)
    for signs in itertools.product((1, -1), repeat=n):
        sums = np.array(signs) @ differences
        expected += np.abs(sums) >= np.abs(differences.sum(0)) - 1e-9
    found = sign_flip_p(differences, np.random.default_rng(1))
    np.testing.assert_allclose(found, expected / 2**n, rtol=1e-12)
    assert found[2] == 1


def test_random_flips_come_near_all_of_them():
    """20 sentences: 2^20 patterns at once, against 99,999 random ones; five standard errors."""
    differences = np.random.default_rng(2).normal(0.35, 1, (20, 3))
    sums = np.zeros((1, 3))
    for row in differences:
        sums = np.concatenate([sums + row, sums - row])
    exact = (np.abs(sums) >= np.abs(differences.sum(0)) - 1e-9).mean(0)
    found = sign_flip_p(differences, np.random.default_rng(3))
    np.testing.assert_allclose(found, exact, atol=5 * np.sqrt(0.25 / N_FLIPS))
    assert sign_flip_p(np.ones((40, 1)), np.random.default_rng(3))[0] == 1 / (1 + N_FLIPS)


def test_holm_is_step_down():
    """By the definition, and never less strict than the false discovery rate."""
    p = pd.Series([0.01, 0.04, 0.03, 0.005, np.nan, 0.5, 0.03], index=list("abcdefg"))
    found = holm(p)
    ordered = sorted(p.dropna().items(), key=lambda item: item[1])
    highest = 0.0
    for place, (name, value) in enumerate(ordered):
        highest = max(highest, min(1.0, (len(ordered) - place) * value))
        assert found[name] == pytest.approx(highest)
    assert np.isnan(found["e"])
    known = p.notna()
    assert (found[known] >= false_discovery_control(p[known])).all()


def test_corrected_within_the_family(tables):
    paired = tables["paired"]
    assert (families(paired) == paired["family"]).all()
    whole = paired[(paired["layer"] == "all") & (paired["language"] != "all")]
    assert whole.groupby("speech_task")["family"].nunique().eq(1).all()
    assert paired["family"].nunique() == 2 * (4 + 2 * len(STEPS))
    for _, part in paired.groupby("family"):
        np.testing.assert_allclose(part["p_holm"], holm(part["p"]), atol=1e-8)


def test_encoders_are_not_paired(tables):
    assert set(tables["paired"]["speech_task"]) == {"s2t", "asr"}
    assert {"speech_encoder", "text_encoder"} < set(tables["gini"]["module"])


def test_draws_repeat_with_their_seed(run, tables, tmp_path):
    folder, paths, _, left_out = run
    for seed in (SEED, SEED + 1):
        outputs = outputs_in(tmp_path / str(seed))
        summarize(paths, SCRIPTS, N_RESAMPLES, seed, outputs, left_out)
        for name in NAMES:
            same = outputs[name].read_bytes() == (folder / f"{name}.csv").read_bytes()
            assert same == (seed == SEED or name == "lorenz"), name  # curves have no interval


def decoder(folder, name, ids=(1, 2, 3), valid=(True,) * 3, **told):
    n = len(ids)
    path = folder / f"{name}-deu.parquet"
    values = np.full((n, len(OF)), 0.5), np.full((n, POINTS), 0.5)
    told = {"module": "decoder", "task": name, "step": 1, "language": "deu"} | told
    return measured(path, list(ids), list(valid), *values, **told)


def outputs_in(folder):
    return {name: folder / f"{name}.csv" for name in NAMES}


def test_stores_without_a_sentence_in_common_are_refused(tmp_path):
    paths = [decoder(tmp_path, "s2t"), decoder(tmp_path, "t2t", ids=(4, 5, 6))]
    with pytest.raises(
        ValueError, match=r"t2t-deu.parquet: sentences: expected those of .*s2t-deu"
    ):
        summarize(paths, SCRIPTS, 100, 1, outputs_in(tmp_path))


def test_sentences_in_common_of_which_none_is_valid_in_both_are_no_pair(tmp_path):
    paths = [
        decoder(tmp_path, "s2t", valid=(True, True, False)),
        decoder(tmp_path, "t2t", valid=(False, False, True)),
    ]
    summarize(paths, SCRIPTS, 100, 1, outputs_in(tmp_path))
    paired = pd.read_csv(tmp_path / "paired.csv")
    assert paired["n_pairs"].eq(0).all()
    assert paired[["difference", "ci_low", "p", "p_holm"]].isna().all(axis=None)
    gini = pd.read_csv(tmp_path / "gini.csv")
    alone = gini[gini["task"] == "t2t"]  # one valid utterance
    assert alone["n"].eq(1).all()
    assert alone["gini"].eq(0.5).all()
    assert alone["ci_low"].isna().all()


def test_no_utterance_at_all_and_no_text(tmp_path):
    paths = [decoder(tmp_path, "s2t", valid=(False,) * 3)]
    summarize(paths, SCRIPTS, 100, 1, outputs_in(tmp_path))
    assert pd.read_csv(tmp_path / "paired.csv").empty
    gini = pd.read_csv(tmp_path / "gini.csv")
    assert gini["n"].eq(0).all()
    assert gini["gini"].isna().all()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"model": "another"},
            r"model: expected 'made up' as in .*s2t-deu\.parquet, got 'another'",
        ),
        ({"include_step_invariant": False}, "include_step_invariant: expected True as in"),
        ({"of": OF[::-1]}, "of: expected"),
        ({"language": "eng"}, "language: expected one of deu, fra, jpn, rus, got 'eng'"),
        (
            {"task": "s2t"},
            r"expected each condition once, got \('decoder', 's2t', 1\) of deu twice",
        ),
    ],
)
def test_tables_that_do_not_belong_together_are_refused(tmp_path, other, message):
    paths = [decoder(tmp_path, "s2t"), decoder(tmp_path, "t2t", **other)]
    with pytest.raises(ValueError, match=message):
        summarize(paths, SCRIPTS, 100, 1, outputs_in(tmp_path))
    assert not (tmp_path / "gini.csv").exists()


def test_a_damaged_table_is_refused(tmp_path):
    path = decoder(tmp_path, "s2t")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(TableError, match=r"s2t-deu\.parquet: damaged"):
        summarize([path], SCRIPTS, 100, 1, outputs_in(tmp_path))
