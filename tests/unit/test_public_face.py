"""``import steplens``: its names are there, lead where they should, and cost nothing before they are used."""

import ast
import importlib
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

import steplens
from steplens.errors import CheckpointError

PACKAGE = ROOT / "workflow" / "steplens"
FACES = ["steplens", "steplens.comparison", "steplens.ranking", "steplens.store"]
# As docs and papers' scripts name them: they stay, wherever the modules lie.
PUBLIC = {
    "steplens.ranking": ("average_precision", "rank"),
    "steplens.comparison": (
        "overlap_matrix", "diagonal_ratio", "permutation_p", "spearman_matrix", "diagonal_concentration",
    ),
    "steplens.control": ("control_rate", "effect_ratios"),
    "steplens.sites": ("neuron_table",),
    "steplens.store": ("open_store",),
    "steplens": (
        "open_store", "neuron_table", "average_precision", "rank", "top_k", "overlap_matrix",
        "spearman_matrix", "control_rate", "effect_ratios", "load_model", "open_run", "Recorder",
        "Intervention",
    ),
}  # fmt: skip


def stub_of(face: str) -> dict[str, str]:
    """Name to the module that a face's stub takes it from."""
    folder = PACKAGE.joinpath(*face.split(".")[1:])
    tree = ast.parse((folder / "__init__.pyi").read_text(encoding="utf-8"))
    return {
        alias.name: f"{face}.{node.module}"
        for node in tree.body if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }  # fmt: skip


@pytest.mark.parametrize("face", FACES)
def test_every_name_of_a_face_is_that_of_its_module(face):
    package = importlib.import_module(face)
    stub = stub_of(face)
    assert sorted(stub) == sorted(package.__all__)
    for name, module in stub.items():
        assert getattr(package, name) is getattr(importlib.import_module(module), name)


@pytest.mark.parametrize(("module", "names"), PUBLIC.items(), ids=PUBLIC)
def test_public_paths_stay(module, names):
    for name in names:
        assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("face", FACES)
def test_no_name_of_a_face_is_one_of_its_modules(face):
    """Importing the module would put it in the place of the name."""
    folder = PACKAGE.joinpath(*face.split(".")[1:])
    modules = {path.stem for path in folder.glob("*.py")} | {
        path.parent.name for path in folder.glob("*/__init__.py")
    }
    assert not modules & set(stub_of(face))


@pytest.mark.parametrize("face", FACES)
def test_importing_a_face_loads_no_library(face):
    heavy = "{'numpy', 'pandas', 'torch', 'transformers', 'zarr', 'numba', 'xarray'}"
    code = f"import sys, {face}; sys.exit(bool({heavy} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT / "workflow")


def test_the_parts_of_a_model_are_loaded_when_they_are_asked_for(checkpoint):
    model = steplens.load_model(str(checkpoint), device="cpu")
    assert "loaded: nothing yet" in repr(model)
    neurons = model.neuron_table("decoder")
    assert repr(model).endswith("loaded: config)")
    recorder = steplens.Recorder(model.decoder, model.config, "decoder")
    assert recorder.n_neurons == len(neurons)
    recorder.close()
    assert model.decoder is model.generator.text_decoder
    assert set(model.language_tags) >= {"deu", "jpn"}


def test_an_architecture_that_is_not_known_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
    with pytest.raises(CheckpointError, match=r"model_type: expected seamless_m4t, .*'whisper'"):
        steplens.load_model(str(tmp_path))


def test_a_ranking_of_arrays_needs_no_run():
    activations = np.array([[0.0, 3.0], [1.0, 2.0], [2.0, 1.0], [3.0, 0.0]], np.float32)
    ap = steplens.average_precision(activations, np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(ap, [[5 / 12, 1.0], [1.0, 5 / 12]])
    np.testing.assert_array_equal(steplens.top_k(ap, 1), [[1], [0]])
