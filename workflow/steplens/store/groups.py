"""Zarr groups that are whole, or not there: how stores and rankings lie on disk (D9).

The group's root ``zarr.json`` is written last and atomically: it is the commit mark. Whatever lies there
without it is the rest of an interrupted job. Every chunk carries a CRC-32C, every chunk is written even
where it holds only zeros, and the root carries a digest of itself: what was damaged is found when it is
read. Chunks, files and codec were chosen by measurement: docs/reference/stores.md.
"""

import contextlib
import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore

from steplens._version import __version__
from steplens.errors import StoreError
from steplens.files.atomic import write_text

COMMIT_MARK = "zarr.json"
FORMAT_VERSION = 3
NEURON_CHUNK = 16_384  # columns of a store: what a ranking job reads at a time
ROW_CHUNK = 256  # utterances of a store: what a dump holds in memory
_PLANE_BYTES = 2**18  # of each byte plane in a block of the codec
# Of every variable its ``long_name`` and ``units``, as the CF conventions have them; "1" is no unit.
VARIABLES = {
    "activation": ("activation: mean over the utterance, or at the decoding step", "1"),
    "hidden_state": ("residual stream: mean over the utterance, or at the decoding step", "1"),
    "state": ("final state of the encoder at one position", "1"),
    "valid": ("whether the decoded sentence has a token at this step", "1"),
    "n_positions": ("number of positions of the encoder's final states", "1"),
    "utterance": ("sentence id", "1"),
    "place": ("where the residual stream is read: before layer 0, after a layer, after the adapter", "1"),
    "layer": ("layer of the neuron, from 0", "1"),
    "submodule": ("submodule of the neuron, as the model names it", "1"),
    "unit": ("hidden dimension of the submodule, from 0", "1"),
    "step_invariant": ("whether the activation is the same at every decoding step", "1"),
    "language": ("language, or all languages pooled", "1"),
    "ap": ("average precision, from 0 to 1", "1"),
    "separation": ("standardised difference of means, the language against the rest", "1"),
    "median": ("median activation of the neuron over the valid utterances", "1"),
    "n_valid": ("number of valid utterances", "1"),
}  # fmt: skip
_NEURON_COORDINATES = ("layer", "submodule", "unit", "step_invariant")
_CONFIG = {"write_empty_chunks": True}  # a chunk that is not there is one that was lost
_AGAIN = "delete the folder and run the workflow again"


def group_path(path: str | Path) -> Path:
    """The group's folder, given the folder or its commit mark."""
    path = Path(path)
    return path.parent if path.name == COMMIT_MARK else path


def create_array(
    path: Path,
    name: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: Any,
    dims: list[str],
    chunks_per_file: int = 1,
    **attributes: Any,
) -> zarr.Array:
    """Create one array of a group that is not committed yet; one that is there is replaced.

    Parameters
    ----------
    path, name
        The group's folder, and the array's name in it: one of ``VARIABLES``.
    shape, chunks : tuple of int
    dtype
    dims : list of str
        Names of the dimensions.
    chunks_per_file : int
        Chunks along the second dimension that share a file: a shard.
    **attributes
        Beside those that every variable has.
    """
    chunks = tuple(max(1, n) for n in chunks)
    shards = None
    if chunks_per_file > 1:
        n_chunks = min(chunks_per_file, math.ceil(shape[1] / chunks[1]))
        shards = (chunks[0], n_chunks * chunks[1], *chunks[2:])
    if name not in VARIABLES:
        raise ValueError(
            f"array name: expected one of {', '.join(VARIABLES)}, got {name!r}; a new variable is described "
            "in VARIABLES of steplens/store/groups.py first"
        )
    long_name, units = VARIABLES[name]
    described = {"long_name": long_name, "units": units}
    if "neuron" in dims and name not in _NEURON_COORDINATES:
        described["coordinates"] = " ".join(_NEURON_COORDINATES)  # so that xarray knows them
    # In a store of its own: given the group's store and a name, zarr would write the group's zarr.json.
    return zarr.create_array(
        LocalStore(path / name),
        shape=shape,
        chunks=chunks,
        shards=shards if shards != chunks else None,
        dtype=dtype,
        dimension_names=dims,
        compressors=(codec(dtype), Crc32cCodec()),
        fill_value=0,
        attributes=described | attributes,
        chunk_key_encoding={"name": "default", "separator": "."},  # no folder a chunk
        config=_CONFIG,
        overwrite=True,
    )


def open_array(path: Path, name: str) -> zarr.Array:
    """An array of a group that is not committed yet, to go on writing."""
    return zarr.open_array(LocalStore(path / name), mode="r+", config=_CONFIG)


def codec(dtype: Any) -> BloscCodec:
    """Zstandard over the bytes of equal significance, kept apart from the others.

    The low byte of a float16 is noise and the high byte, sign and exponent, is not. Zstandard has one
    Huffman table for 128 KiB: in the blocks that Blosc makes by itself both bytes share it, and hardly
    anything is saved. Planes of a multiple of 128 KiB have a table each.
    """
    size = np.dtype(dtype).itemsize
    return BloscCodec(
        cname="zstd", clevel=1, shuffle="shuffle", typesize=size, blocksize=size * _PLANE_BYTES
    )


def add_array(
    path: Path, name: str, values: np.ndarray, dims: list[str], **attributes: Any
) -> None:
    """Write one small array, in one chunk."""
    array = create_array(path, name, values.shape, values.shape, values.dtype, dims, **attributes)
    if values.size:
        array[...] = values


def add_names(
    path: Path,
    name: str,
    dim: str,
    names: Sequence[str],
    codes: np.ndarray | None = None,
    first: int = 0,
) -> None:
    """Write a coordinate of names, as codes and each name once, as the CF conventions do.

    ``open_group`` gives the names.

    Parameters
    ----------
    path, name
        As in ``create_array``.
    dim : str
    names : sequence of str
    codes : (n,) int array, optional
        The name of every entry; without it each name has one, in their order.
    first : int
        The code of the first name; the others count up from it.

    Raises
    ------
    ValueError
        A name twice, or one with a blank: blanks set names apart on disk.
    """
    if len(set(names)) < len(names) or any(len(one.split()) != 1 for one in names):
        raise ValueError(
            f"{path}: names of {name}: expected distinct names without blanks, got {list(names)}"
        )
    values = np.arange(first, first + len(names), dtype=np.int16)
    add_array(
        path, name, values if codes is None else codes, [dim],
        flag_values=values.tolist(), flag_meanings=" ".join(names),
    )  # fmt: skip


def add_places(path: Path, places: Sequence[str]) -> None:
    """Write the coordinate ``place``, given as ``steplens.models.neurons.places`` gives it."""
    # The code of a layer is its number, for those who see codes: 0 is the output of layer 0.
    add_names(path, "place", "place", places, first=-1)


def add_neurons(path: Path, neurons: pd.DataFrame) -> None:
    """Write the neuron coordinates, given as ``steplens.models.neurons.neuron_table`` gives them."""
    submodule = neurons["submodule"].cat
    add_array(path, "layer", neurons["layer"].to_numpy(), ["neuron"])
    add_array(path, "unit", neurons["unit"].to_numpy(), ["neuron"])
    add_array(path, "step_invariant", neurons["step_invariant"].to_numpy(), ["neuron"])
    add_names(
        path, "submodule", "neuron", submodule.categories.tolist(), submodule.codes.to_numpy()
    )


def fresh_folder(path: str | Path) -> Path:
    """An empty group folder at ``path`` (or its commit mark); what lies there is removed."""
    path = group_path(path)
    if path.exists():
        (path / COMMIT_MARK).unlink(missing_ok=True)  # first: half removed, it must not look whole
        shutil.rmtree(path)
    path.mkdir(parents=True)
    return path


def commit(path: Path, attributes: dict[str, Any]) -> None:
    """Write the root ``zarr.json`` of a group whose arrays are complete, atomically."""
    for rest in path.glob("*/*.partial"):  # of a writer that was killed
        rest.unlink()
    metadata = {
        array.parent.name: json.loads(array.read_text())
        for array in sorted(path.glob(f"*/{COMMIT_MARK}"))
    }
    versions = {"steplens": __version__, "zarr": zarr.__version__, "numpy": np.__version__}
    root = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"format_version": FORMAT_VERSION, "versions": versions} | attributes,
        "consolidated_metadata": {
            "kind": "inline", "must_understand": False, "metadata": metadata,
        },
    }  # fmt: skip
    root["attributes"]["metadata_digest"] = _metadata_digest(root)
    write_text(path / COMMIT_MARK, json.dumps(root, indent=1))


def read_root(path: str | Path) -> dict[str, Any]:
    """The root ``zarr.json`` of a committed group, checked against its own digest.

    Raises
    ------
    StoreError
        Nothing there, an interrupted job, another version of the format, or damaged metadata.
    """
    path = group_path(path)
    mark = path / COMMIT_MARK
    if not mark.is_file():
        state = "an interrupted dump (no zarr.json)" if path.is_dir() else "nothing there"
        raise StoreError(f"{path}: expected a store, got {state}; run the workflow again")
    try:
        root = json.loads(mark.read_bytes())
        attributes = root["attributes"]
        version = attributes.get("format_version")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{mark}: damaged: expected the metadata of a store, got {type(error).__name__}: {error}; "
            f"{_AGAIN}"
        ) from error
    if version != FORMAT_VERSION:
        raise StoreError(
            f"{path}: format_version: expected {FORMAT_VERSION}, got {version}: it was written with "
            f"other names or in another layout; {_AGAIN}"
        )
    if attributes.get("metadata_digest") != _metadata_digest(root):
        raise StoreError(
            f"{mark}: damaged: expected metadata with digest {attributes.get('metadata_digest')}, got "
            f"{_metadata_digest(root)}; {_AGAIN}"
        )
    return root


def _metadata_digest(root: dict[str, Any]) -> str:
    attributes = {
        key: value for key, value in root["attributes"].items() if key != "metadata_digest"
    }
    content = json.dumps(root | {"attributes": attributes}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def open_group(path: str | Path) -> xr.Dataset:
    """Open a group lazily; coordinates that are kept as codes come as names.

    Raises
    ------
    StoreError
        As ``read_root``; or, here and wherever a lost chunk is asked for later, a missing file.
    """
    path = group_path(path)
    read_root(path)
    with reading(path):
        data = xr.open_zarr(_WholeStore(path, read_only=True), consolidated=True, chunks=None)
        named = {
            name: _named(one) for name, one in data.coords.items() if "flag_meanings" in one.attrs
        }
        return data.assign_coords(named)


def _named(codes: xr.DataArray) -> tuple[str, np.ndarray, dict[str, str]]:
    """Dimension, names and attributes of a coordinate that is kept as codes."""
    names = np.array(codes.attrs["flag_meanings"].split())
    attributes = {key: codes.attrs[key] for key in ("long_name", "units")}
    place = np.searchsorted(codes.attrs["flag_values"], codes.to_numpy())
    return codes.dims[0], names[place], attributes


class _WholeStore(LocalStore):
    """Files of a committed group: Zarr would take a chunk that is not there for zeros."""

    async def get(self, key, prototype=None, byte_range=None):
        found = await super().get(key, prototype, byte_range)
        if is_chunk(key) and not found:  # not there, or without a byte
            raise StoreError(
                f"{self.root / key}: expected a chunk, got nothing: the file is lost; {_AGAIN}"
            )
        return found


def is_chunk(key: str) -> bool:
    """Whether a file within a group or array, given by its relative path, is a chunk or shard."""
    name = key.rpartition("/")[2]
    return name == "c" or name.startswith("c.")


@contextlib.contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Around what reads the data of a group: names the group, and the file, where it is damaged.

    Raises
    ------
    StoreError
        Instead of whatever checksums and codecs raise.
    """
    try:
        yield
    except StoreError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # codecs raise what they like
        path = group_path(path)
        try:
            damaged = next(damaged_files(path), None)
        except StoreError:
            raise
        except Exception:
            raise StoreError(
                f"{path}: expected the arrays of a store, got {type(error).__name__}: {error}; {_AGAIN}"
            ) from error
        if damaged is None:  # something else is wrong: memory, a library, the disk at that moment
            raise
        raise StoreError(f"{path}: {damaged[0]}: {damaged[1]}; {_AGAIN}") from error


def damaged_files(path: str | Path) -> Iterator[tuple[str, str]]:
    """Chunks and metadata of a committed group that are lost or damaged, and what is wrong with each.

    Yields
    ------
    file within the group, and what is wrong
    """
    path = group_path(path)
    root = read_root(path)
    for name, metadata in root["consolidated_metadata"]["metadata"].items():
        file = path / name / COMMIT_MARK
        try:
            same = json.loads(file.read_bytes()) == metadata
        except (OSError, ValueError):
            same = False
        if not same:
            yield f"{name}/{COMMIT_MARK}", "not what the root zarr.json says of this array"
            continue
        array = zarr.open_array(_WholeStore(path / name, read_only=True), mode="r")
        blocks = array.shards or array.chunks
        for place in np.ndindex(
            *(math.ceil(n / m) for n, m in zip(array.shape, blocks, strict=True))
        ):
            region = tuple(
                slice(i * size, (i + 1) * size) for i, size in zip(place, blocks, strict=True)
            )
            try:
                array[region]
            except Exception as error:
                key = "/".join([name, ".".join(["c", *map(str, place)])])
                lost = not (path / key).is_file()
                yield (
                    key,
                    "the file is lost" if lost else f"damaged ({type(error).__name__}: {error})",
                )
