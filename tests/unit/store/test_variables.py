"""Every variable of every kind of store and ranking says what it is, to whoever opens it (D9)."""

import re

import numpy as np
import pytest
import xarray as xr
from conftest import ROOT
from made_stores import NEURONS, write_store

from steplens.models.neurons import neuron_table, place_names
from steplens.ranking.rank_condition import rank_condition
from steplens.store.groups import VARIABLES, open_group
from steplens.store.writer import StoreWriter
from steplens.studies.causal.medians import encoder_medians
from steplens.studies.modality.ranking import rank_modality

LANGUAGES = ("deu", "jpn")
N, STEP = 6, 3
ENCODER = neuron_table(
    {"hidden_size": 4, "speech_encoder_intermediate_size": 6, "speech_encoder_layers": 2},
    "speech_encoder",
)
OF_NEURONS = {"layer", "submodule", "unit", "step_invariant"}
COORDINATES = {
    "encoder store": {"utterance", "place", *OF_NEURONS},
    "decoder store": {"utterance", "place", *OF_NEURONS},
    "ranking by language": {"language", *OF_NEURONS},
    "ranking by modality": {"language", *OF_NEURONS},
    "medians of an encoder": {"language", *OF_NEURONS},
}


def encoder_store(path, generator):
    """As the stage ``encode`` leaves it: with final states, and of speech."""
    told = {"model": "made up", "revision": "r1", "language": path.stem, "module": "speech_encoder"}
    places = place_names(2, adapter=True)
    with StoreWriter(path, range(N), ENCODER, places, 4, "float16", told) as store:
        activation = generator.normal(size=(N, len(ENCODER))).astype(np.float16)
        states = [generator.normal(size=(n + 1, 4)).astype(np.float32) for n in range(N)]
        store.write(np.arange(N), activation, np.zeros((N, len(places), 4), np.float16), states)
    return path


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    """One of each kind, written by the stage that writes it."""
    folder = tmp_path_factory.mktemp("groups")
    generator = np.random.default_rng(1)
    encoder = {
        one: encoder_store(folder / "encoder" / f"{one}.zarr", generator) for one in LANGUAGES
    }
    decoder = {
        task: {
            one: write_store(
                folder / task / f"{one}.zarr", generator.normal(size=(N, len(NEURONS))), np.ones(N, bool),
                module="decoder", task=task, step=STEP,
            )
            for one in LANGUAGES
        }
        for task in ("s2t", "t2t")
    }  # fmt: skip
    condition = {"module": "decoder", "task": "s2t", "step": STEP}
    rank_condition(decoder["s2t"], folder / "ranking.zarr", True, 1, None, condition)
    by_modality = {one: folder / one / "ranking.zarr" for one in ("speech", "text")}
    rank_modality(decoder, STEP, by_modality, True, 1)
    encoder_medians(encoder, "speech_encoder", folder / "medians.zarr", 1)
    return {
        "encoder store": encoder["deu"],
        "decoder store": decoder["s2t"]["deu"],
        "ranking by language": folder / "ranking.zarr",
        "ranking by modality": by_modality["text"],
        "medians of an encoder": folder / "medians.zarr",
    }


def undescribed(data):
    """Variables that lack a name or units."""
    return [
        name
        for name, one in data.variables.items()
        if not str(one.attrs.get("long_name", "")).strip() or not one.attrs.get("units")
    ]


@pytest.mark.parametrize("kind", COORDINATES)
@pytest.mark.parametrize("opened", [xr.open_zarr, open_group])
def test_every_variable_has_its_long_name_units_and_role(groups, kind, opened):
    data = opened(groups[kind])
    assert undescribed(data) == []
    assert set(data.coords) == COORDINATES[kind]
    told = {
        name: (one.attrs["long_name"], one.attrs["units"]) for name, one in data.variables.items()
    }
    assert told == {name: VARIABLES[name] for name in told}


def test_no_variable_is_described_that_no_group_has(groups):
    written = {name for path in groups.values() for name in xr.open_zarr(path).variables}
    assert written == set(VARIABLES)


def test_rows_of_rankings_are_told_by_language(groups):
    assert open_group(groups["ranking by language"]).ap.sel(language="jpn").shape == (len(NEURONS),)
    named = open_group(groups["ranking by modality"])["language"].to_numpy().tolist()
    assert named == ["all", *LANGUAGES]


def test_an_arrays_name_and_units_do_not_need_the_root(groups):
    """Whoever opens one array by itself finds them too."""
    import zarr

    for path in groups.values():
        for mark in path.glob("*/zarr.json"):
            attributes = dict(zarr.open_array(mark.parent, mode="r").attrs)
            assert (attributes["long_name"], attributes["units"]) == VARIABLES[mark.parent.name]


def test_the_documentation_lists_them_all():
    """docs/reference/stores.md: name and units of every variable."""
    text = (ROOT / "docs" / "reference" / "stores.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \| ([^|]*) \|$", text, flags=re.M)
    assert {name: (what, units) for name, units, what in rows} == VARIABLES


@pytest.mark.demo
def test_every_group_of_the_demo_is_described():
    paths = sorted((ROOT / "results" / "demo").rglob("*.zarr"))
    assert len(paths) > 50
    for path in paths:
        assert undescribed(xr.open_zarr(path)) == [], path
