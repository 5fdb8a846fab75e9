"""Every pair is compared over what it has in common, beside its baseline, from the stores to the table."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_states import HIDDEN, N_LAYERS, SEED, N, write_states

from steplens.errors import SimilarityError, StoreError
from steplens.files.atomic import read_parquet, write_csv, write_parquet
from steplens.studies.similarity.cca import principal_components, svcca_pwcca
from steplens.studies.similarity.cka import cka, gram
from steplens.studies.similarity.layer import MEASURES
from steplens.studies.similarity.lengths import length_bins, sentence_lengths
from steplens.studies.similarity.measure import similarity

LANGUAGES = ["deu", "fra", "jpn"]
SETTINGS = {"variance": 0.9, "sentences_per_component": 5, "shuffles": 3, "seed": SEED}
ENCODER = {"module": "encoder"}
STEP = {"module": "decoder", "tasks": ("s2t", "t2t"), "step": 6}


def made_states(generator, modality, shared, n_states):
    """Layers in which noise grows; means far from 0, the last dimension ten times as large."""
    states = []
    for layer in range(n_states):
        maps = np.random.default_rng([layer, modality == "text"]).normal(size=(4, HIDDEN))
        noise = generator.normal(size=(len(shared), HIDDEN))
        states.append((shared @ maps + (0.5 + layer) * noise) * [*[1] * 11, 10] + 3)
    return np.stack(states, axis=1)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """Encoder stores of three languages: orders of their own, other sentences, some left out."""
    folder = tmp_path_factory.mktemp("encoders")
    generator = np.random.default_rng(SEED)
    meaning = {sentence: generator.normal(size=4) for sentence in range(100, 100 + N)}
    stores, values = {"speech": {}, "text": {}}, {}
    left_out = {"deu": [103], "fra": [], "jpn": [110, 111]}
    for modality, language in itertools.product(stores, LANGUAGES):
        ids = generator.permutation(list(meaning))
        ids = ids[ids != 100 + LANGUAGES.index(language)]  # each lacks another one
        shared = np.array([meaning[sentence] for sentence in ids])
        states = made_states(
            generator, modality, shared, N_LAYERS + 1 + (modality == "speech")
        ).astype(np.float16)
        path = folder / modality / f"{language}.zarr"
        told = {"module": f"{modality}_encoder", "modality": modality}
        stores[modality][language] = write_states(path, states, ids, **told)
        values[modality, language] = {
            int(sentence): rows.astype(float)
            for sentence, rows in zip(ids, states, strict=True)
            if sentence not in left_out[language]
        }
    csv = folder / "speech_quality.csv"
    rows = [(one, sentence, True) for one, several in left_out.items() for sentence in several]
    write_csv(pd.DataFrame(rows, columns=["language", "utterance", "left_out"]), csv)
    return folder, stores, values, csv


@pytest.fixture(scope="module")
def lengths(encoders):
    """Corpus and speech tables; jpn has few characters, and its own order of seconds."""
    folder, *_ = encoders
    generator = np.random.default_rng(8)
    corpora, speech = {}, {}
    for language in LANGUAGES:
        ids = generator.permutation(np.arange(100, 100 + N))
        characters = generator.integers(5, 20 if language == "jpn" else 90, N)
        corpora[language] = folder / f"corpus-{language}.parquet"
        text = ["x" * n for n in characters]
        write_parquet(pd.DataFrame({"utterance": ids, "text": text}), corpora[language])
        speech[language] = folder / f"speech-{language}.parquet"
        seconds = generator.uniform(1, 9, N)
        write_parquet(pd.DataFrame({"utterance": ids, "seconds": seconds}), speech[language])
    return corpora, speech


@pytest.fixture(scope="module")
def table(encoders, lengths):
    folder, stores, _, left_out = encoders
    output = folder / "pairs.parquet"
    similarity(stores["speech"], stores["text"], ENCODER, SETTINGS, 2, output, left_out, lengths, 2)
    return read_parquet(output)


def test_every_pair_measure_and_layer_has_its_row(table):
    whole = table[table["by"] == "all"]
    assert list(dict.fromkeys(whole["layer"])) == ["embedding", "0", "1", "adapter"]
    pairs = 6 * 5 // 2
    assert len(whole) == 4 * pairs * len(MEASURES)
    keys = ["layer", "by", "bin", "language_1", "modality_1", "language_2", "modality_2", "measure"]
    assert not table.duplicated(keys).any()
    assert len(table) == len(whole) * (1 + 2 * 2)  # two bins each by characters and by seconds
    assert (whole["reason"] == "").all()
    assert np.isfinite(whole[["value", "baseline", "corrected"]]).all(axis=None)
    assert set(table["module"]) == {"encoder"}
    assert table["step"].isna().all()


def state_place(layer, modality):
    places = {"embedding": 0, "0": 1, "1": 2, "adapter": 3 if modality == "speech" else 2}
    return places[layer]


def views_of_pair(row, values, inside=None):
    """Sentences in common, and both views: all its sentences, and those in common; centred per view."""
    found = []
    for side in ("1", "2"):
        modality, language = row[f"modality_{side}"], row[f"language_{side}"]
        place = state_place(row["layer"], modality)
        found.append({one: rows[place] for one, rows in values[modality, language].items()})
    if inside is not None:
        found = [{one: row for one, row in view.items() if one in inside} for view in found]
    common = sorted(found[0].keys() & found[1].keys())
    return common, found


def direct(row, values, inside=None, order=None):
    """Every measure of one pair, one after the other and without masks."""
    common, views = views_of_pair(row, values, inside)
    used = [np.array([view[one] for one in common]) for view in views]
    one, other = [view - view.mean(0) for view in used]
    k, q = one @ one.T, other @ other.T
    found = {"cka": (k * q).sum() / np.sqrt((k * k).sum() * (q * q).sum())}
    centred = []
    for products in (k, q):
        np.fill_diagonal(products, 0)
        n = len(products)
        rows = products.sum(0) / (n - 2)
        products = products - rows - rows[:, None] + products.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(products, 0)
        centred.append(products)
    k, q = centred
    found["cka_debiased"] = (k * q).sum() / np.sqrt((k * k).sum() * (q * q).sum())
    scores, kept = [], []
    for view in views:
        every = np.array(list(view.values()))
        _, size, right = np.linalg.svd(every - every.mean(0), full_matrices=False)
        share = np.cumsum(size**2) / (size**2).sum()
        number = min(int(np.searchsorted(share, 0.9)) + 1, len(every) // 5, len(common) // 5)
        kept.append((number, share[number - 1]))
        scores.append(np.array([view[one] for one in common]) @ right[:number].T)
    bases = [np.linalg.qr(score - score.mean(0))[0] for score in scores]
    found["svcca"] = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False).mean()
    return found, kept, len(common)


def test_every_value_is_that_of_a_direct_computation(table, encoders):
    _, _, values, _ = encoders
    whole = table[table["by"] == "all"]
    n_seen = set()
    keys = ["layer", "language_1", "modality_1", "language_2", "modality_2"]
    for key, part in whole.groupby(keys, sort=False):
        part = part.set_index("measure")
        expected, kept, n = direct(dict(zip(keys, key, strict=True)), values)
        n_seen.add(n)
        assert (part["n"] == n).all()
        for measure, value in expected.items():
            assert part.loc[measure, "value"] == pytest.approx(value, abs=5e-5), (key, measure)
        for side, (number, share) in enumerate(kept, 1):
            assert part.loc["svcca", f"components_{side}"] == number
            assert part.loc["pwcca", f"variance_{side}"] == pytest.approx(share, abs=1e-6)
            assert pd.isna(part.loc["cka", f"components_{side}"])
    assert len(n_seen) > 2  # what pairs have in common does differ


def test_bins_of_length_are_subsets_of_their_own(table, encoders, lengths):
    _, _, values, _ = encoders
    utterances = np.array(sorted(set().union(*values.values())))
    for by, known in sentence_lengths(*lengths).items():
        for number, inside in enumerate(length_bins(known, utterances, 2), 1):
            part = table[(table["by"] == by) & (table["bin"] == number)]
            row = part[(part["measure"] == "svcca") & (part["layer"] == "1")].iloc[7]
            expected, kept, n = direct(row, values, set(utterances[inside].tolist()))
            assert row["n"] == n
            assert row["value"] == pytest.approx(expected["svcca"], abs=5e-5)
            assert row["components_1"] == kept[0][0]
            same = (part[["language_1", "modality_1"]] == row[["language_1", "modality_1"]]).all(
                axis=1
            )
            same &= (part[["language_2", "modality_2"]] == row[["language_2", "modality_2"]]).all(
                axis=1
            )
            same &= part["layer"] == "1"
            by_measure = part[same].set_index("measure")["value"]
            assert by_measure["cka_debiased"] == pytest.approx(expected["cka_debiased"], abs=5e-5)


def test_the_baseline_is_the_mean_over_shuffles_of_the_second_view(table, encoders):
    """The same draws, each pair permuted for itself and compared as if it were the data."""
    _, _, values, _ = encoders
    names = [(modality, language) for modality in ("speech", "text") for language in LANGUAGES]
    utterances = np.array(sorted(set().union(*values.values())))
    valid = np.array([np.isin(utterances, list(values[name])) for name in names])
    found = table[(table["by"] == "all") & (table["layer"] == "0")].set_index("measure")
    for i, j in [(0, 1), (0, 3), (2, 4), (4, 5)]:
        baselines = {measure: [] for measure in MEASURES}
        for draw in range(SETTINGS["shuffles"]):
            generator = np.random.default_rng([SEED, draw])
            orders = [generator.permutation(np.flatnonzero(mask)) for mask in valid]
            views = []
            for place in (i, j):
                view = np.zeros((len(utterances), HIDDEN))
                name = names[place]
                states = state_place("0", name[0])
                view[valid[place]] = [
                    values[name][int(one)][states] for one in utterances[valid[place]]
                ]
                views.append(view)
            views[1][valid[j]] = views[1][orders[j]]
            masks = valid[[i, j]]
            grams = [gram(view, mask)[None] for view, mask in zip(views, masks, strict=True)]
            biased, debiased = cka(*grams, masks[:1], masks[1:])
            baselines["cka"].append(biased[0, 0])
            baselines["cka_debiased"].append(debiased[0, 0])
            rows = np.flatnonzero(masks.all(0))
            parts = []
            for view, mask in zip(views, masks, strict=True):
                one = principal_components(view, mask, 0.9, mask.sum() // 5)
                parts.append(one.within(rows, min(len(one.shares), len(rows) // 5)))
            svcca, *pwcca = svcca_pwcca(*parts)
            baselines["svcca"].append(svcca)
            baselines["pwcca"].append(np.mean(pwcca))
        baselines["retrieval"] = [1 / len(rows)]
        pair = (found["language_1"] == names[i][1]) & (found["modality_1"] == names[i][0])
        pair &= (found["language_2"] == names[j][1]) & (found["modality_2"] == names[j][0])
        for measure, drawn in baselines.items():
            row = found[pair].loc[measure]
            assert row["baseline"] == pytest.approx(np.mean(drawn), abs=5e-5), measure
            corrected = (row["value"] - row["baseline"]) / (1 - row["baseline"])
            assert row["corrected"] == pytest.approx(corrected, abs=1e-9)


def test_both_ways_are_kept_and_their_mean_is_the_value(table):
    for measure, both in (("pwcca", True), ("retrieval", True), ("cka", False)):
        part = table[table["measure"] == measure]
        assert part["forward"].notna().all() == both
        if both:
            np.testing.assert_allclose((part["forward"] + part["backward"]) / 2, part["value"])


def rewritten(stores, folder, modality, language, change, **attributes):
    """The same stores but for one, whose states were changed."""
    from steplens.store.reading import open_store

    data = open_store(stores[modality][language])
    states, ids = data["hidden_state"].to_numpy().copy(), data["utterance"].to_numpy()
    states = change(states)
    told = {key: data.attrs[key] for key in ("model", "revision", "module", "modality")}
    path = folder / modality / f"{language}.zarr"
    path.parent.mkdir(exist_ok=True)
    write_states(path, states, ids, **told | attributes)
    return {
        one: {**paths, language: path} if one == modality else paths
        for one, paths in stores.items()
    }


def with_nan(states):
    states[4, 2, 7] = np.nan
    return states


def constant(states):
    states[:, 1] = 1.5
    return states


def same(states):
    return states


@pytest.mark.parametrize(
    ("change", "attributes", "kind", "message"),
    [
        (with_nan, {}, SimilarityError, r"fra.zarr: hidden_state of fra, utterance \d+, layer 1: expected"
         r" finite numbers in a valid row, got nan; delete"),
        (constant, {}, SimilarityError, r"fra.zarr: hidden_state of fra \(text\), layer 0: expected states"
         " that differ, got 59 equal ones"),
        (lambda states: states[:, :, :6], {}, StoreError, r"speech/deu.zarr, got|hidden: expected"),
        (same, {"revision": "r2"}, ValueError, "revision: expected r1 as in .* got r2"),
        (same, {"module": "decoder"}, StoreError, "module: expected 'text_encoder', got 'decoder'"),
    ],
)  # fmt: skip
def test_bad_stores_are_named(encoders, tmp_path, change, attributes, kind, message):
    _, stores, _, left_out = encoders
    changed = rewritten(stores, tmp_path, "text", "fra", change, **attributes)
    if change(np.zeros((9, 4, 12))).shape[2] == 6:  # hidden sizes differ between the modalities
        changed["text"] = {"fra": changed["text"]["fra"]}
        changed["speech"] = {"fra": changed["speech"]["fra"]}
        message = "hidden: expected 12 as in .*speech/fra.zarr, got 6"
    output = tmp_path / "pairs.parquet"
    with pytest.raises(kind, match=message):
        similarity(changed["speech"], changed["text"], ENCODER, SETTINGS, 1, output, left_out)
    assert not output.exists()


def test_modalities_of_two_models_are_refused(encoders, tmp_path):
    _, stores, _, _ = encoders
    texts = {}
    for language in LANGUAGES:
        changed = rewritten(stores, tmp_path, "text", language, same, model="another")
        texts[language] = changed["text"][language]
    with pytest.raises(
        StoreError, match=r"deu.zarr: model: expected 'made up' as in .* got 'another'"
    ):
        similarity(stores["speech"], texts, ENCODER, SETTINGS, 1, tmp_path / "pairs.parquet")


def test_too_few_common_sentences_name_both_views(tmp_path):
    generator = np.random.default_rng(1)
    stores = {"speech": {}, "text": {}}
    for modality, language in itertools.product(stores, ("deu", "fra")):
        ids = np.arange(0, 20) if language == "deu" else np.arange(17, 37)
        states = generator.normal(size=(20, 3, 6))
        told = {"module": f"{modality}_encoder", "modality": modality}
        path = tmp_path / modality / f"{language}.zarr"
        stores[modality][language] = write_states(path, states, ids, **told)
    with pytest.raises(SimilarityError, match="speech of deu and speech of fra have 3 valid sentences in "
                       "common, expected at least 5: take more sentences"):  # fmt: skip
        similarity(
            stores["speech"], stores["text"], ENCODER, SETTINGS, 1, tmp_path / "pairs.parquet"
        )


@pytest.fixture(scope="module")
def decoders(tmp_path_factory) -> dict[str, dict[str, Path]]:
    """One step of s2t and t2t: rows that ended before hold NaN, the embedding is that of one tag."""
    folder = tmp_path_factory.mktemp("decoders")
    generator = np.random.default_rng(3)
    shared = generator.normal(size=(N, 4))
    stores = {"s2t": {}, "t2t": {}}
    for task, language in itertools.product(stores, ("deu", "fra")):
        states = made_states(generator, task, shared, N_LAYERS + 1)
        states[:, 0] = 1.25
        valid = generator.random(N) < 0.8
        states[~valid] = np.nan
        told = {"module": "decoder", "task": task, "step": 6}
        path = folder / task / f"{language}.zarr"
        stores[task][language] = write_states(path, states, np.arange(N), valid, **told)
    return stores


def test_a_decoder_step(decoders, tmp_path):
    output = tmp_path / "pairs.parquet"
    similarity(decoders["s2t"], decoders["t2t"], STEP, SETTINGS, 1, output)
    found = read_parquet(output)
    assert list(dict.fromkeys(found["layer"])) == ["embedding", "0", "1"]
    assert set(found["task"]) == {"s2t_t2t"}
    assert set(found["step"]) == {6}
    embedding = found["layer"] == "embedding"
    assert found.loc[embedding, "value"].isna().all()
    assert set(found.loc[embedding, "reason"]) == {"a view is constant: all its states are equal"}
    assert np.isfinite(found.loc[~embedding, "value"]).all()
    assert found.loc[~embedding, "n"].between(25, 48).all()


def test_threads_and_other_languages_change_no_pair(decoders, tmp_path):
    tables = []
    for number, threads in enumerate((1, 2)):
        output = tmp_path / f"{number}.parquet"
        similarity(decoders["s2t"], decoders["t2t"], STEP, SETTINGS, threads, output)
        tables.append(read_parquet(output))
    pd.testing.assert_frame_equal(*tables)


def test_too_many_components_are_refused_with_a_reason(decoders, tmp_path):
    """A component a sentence: correlations would be 1 whatever the data are."""
    output = tmp_path / "pairs.parquet"
    settings = SETTINGS | {"sentences_per_component": 2, "variance": 1.0}
    few = {"deu": decoders["s2t"]["deu"]}, {"deu": decoders["t2t"]["deu"]}
    similarity(*few, STEP, settings, 1, output)
    assert read_parquet(output)["value"].notna().any()
    folder = tmp_path / "narrow"
    generator = np.random.default_rng(0)
    narrow = {}
    for task in ("s2t", "t2t"):
        told = {"module": "decoder", "task": task, "step": 6}
        states = generator.normal(size=(12, 3, 40))
        narrow[task] = {
            "deu": write_states(folder / task / "deu.zarr", states, np.arange(12), **told)
        }
    similarity(narrow["s2t"], narrow["t2t"], STEP, settings, 1, output)
    found = read_parquet(output).set_index("measure")
    for measure in ("svcca", "pwcca"):
        assert found.loc[measure, "value"].isna().all()
        assert found.loc[measure, "corrected"].isna().all()
        reason = "6 + 6 components among 12 sentences: correlations are 1 by construction"
        assert set(found.loc[measure, "reason"]) == {reason}
    assert found.loc["cka_debiased", "value"].notna().all()
