"""The files of a checkpoint, in a folder or on the Hugging Face hub, without torch.

Weights are safetensors: one file, or shards that an index names. A pickled checkpoint is refused, since
unpickling can run code. By its header a safetensors file can be checked without reading it
(``files/safetensors_header.py``).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steplens.errors import CheckpointError, HubError, shown
from steplens.files.hub import hub_file
from steplens.files.input_files import other_kind, read_json_object
from steplens.files.safetensors_header import StoredTensor, read_header
from steplens.models.seamless.tensors import EMBEDDING, EMBEDDING_NAMES, Shapes
from steplens.project import project_path

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
TOKENIZER_CONFIG = "tokenizer_config.json"
TOKENIZER_VOCABULARIES = ("tokenizer.json", "sentencepiece.bpe.model")
_FLOATS = ("F64", "F32", "F16", "BF16")


def is_shard_name(name: Any) -> bool:
    """Whether this is a safetensors file's plain name: an index is anybody's, and might point elsewhere."""
    return isinstance(name, str) and name.endswith(".safetensors") and not {"/", "\\"} & set(name)


@dataclass(frozen=True)
class ModelFiles:
    """The files of one checkpoint.

    ``path`` is a folder, or a name on the hub with its ``revision``.
    """

    path: str
    revision: str | None = None

    @property
    def _folder(self) -> Path:
        return project_path(self.path)

    def __str__(self) -> str:
        if self._folder.is_dir():
            return f"model folder {self.path}"
        return f"model {self.path} at revision {self.revision or 'main'}"

    def find(self, name: str) -> Path | None:
        """One file, or None where the checkpoint does not have it (or, offline, not in the cache)."""
        if self._folder.is_dir():
            path = self._folder / name
            kind = other_kind(path)
            if kind:
                raise CheckpointError(
                    f"{path}: expected a file, got {kind}; put the file itself there"
                )
            return path if path.is_file() else None
        from huggingface_hub.errors import EntryNotFoundError

        try:
            return hub_file(self.path, name, self.revision)
        except HubError as error:
            if isinstance(error.__cause__, EntryNotFoundError):
                return None
            raise

    def get(self, name: str) -> Path:
        """One file; an error names it if it is not there."""
        if not self._folder.is_dir():
            return hub_file(self.path, name, self.revision)
        path = self.find(name)
        if path is None:
            raise CheckpointError(
                f"{self}: expected a file {name}, found none; copy it from where the checkpoint was "
                "published"
            )
        return path

    def json(self, name: str) -> dict[str, Any]:
        """The content of a JSON file, which is an object."""
        return _read_json(self.get(name))

    def tokenizer(self) -> Path:
        """The file with the tokenizer's vocabulary; its other files lie beside it."""
        self.get(TOKENIZER_CONFIG)
        for name in TOKENIZER_VOCABULARIES:
            path = self.find(name)
            if path is not None:
                return path
        raise CheckpointError(
            f"{self}: expected the tokenizer's vocabulary in {' or '.join(TOKENIZER_VOCABULARIES)}, "
            "found neither; copy it from where the checkpoint was published"
        )

    def language_tags(self) -> dict[str, int]:
        """Token id of every language tag that the decoder may start with, by language code."""
        name = "generation_config.json"
        tags = self.json(name).get("text_decoder_lang_to_code_id")
        if (
            not tags
            or not isinstance(tags, dict)
            or not all(type(one) is int and one >= 0 for one in tags.values())
        ):
            raise CheckpointError(
                f"{self.get(name)}: text_decoder_lang_to_code_id: expected the token of every "
                f"language, got {shown(tags)}; is this the generation_config.json of a whole SeamlessM4T?"
            )
        return tags

    def locate(self, shapes: Shapes) -> dict[str, tuple[Path, str]]:
        """Where the wanted tensors are; of a sharded checkpoint only the shards that hold them.

        Parameters
        ----------
        shapes : dict of str to tuple of int
            Wanted tensors by their published names, as ``checkpoint_tensors.tensor_shapes`` gives them.

        Returns
        -------
        dict of str to (path, name)
            The safetensors file of each tensor and its name there.

        Raises
        ------
        CheckpointError
            A file or tensor is missing, a file is cut off, a shape is another, or there is no
            safetensors checkpoint.
        HubError
            A file cannot be fetched.
        """
        holders, origin = self._holders()
        names = {wanted: _published_name(wanted, holders) for wanted in shapes}
        self._require(names.values(), holders, origin)
        paths = {file: self._shard(file, origin) for file in {holders[n] for n in names.values()}}
        headers = {file: read_header(path) for file, path in paths.items()}
        located = {}
        for wanted, name in names.items():
            path, header = paths[holders[name]], headers[holders[name]]
            _check_tensor(path, header, name, shapes[wanted], self)
            located[wanted] = path, name
        return located

    def _holders(self) -> tuple[dict[str, str], str]:
        """File of every tensor, and the file that says so."""
        path = self.find(SINGLE)
        if path is not None:
            return dict.fromkeys(read_header(path), SINGLE), SINGLE
        index = self.find(INDEX)
        if index is not None:
            holders = _read_json(index).get("weight_map")
            if not isinstance(holders, dict) or not holders:
                raise CheckpointError(
                    f"{index}: expected a weight_map from tensors to files, got {shown(holders)}; copy or "
                    "fetch it again"
                )
            for name, file in holders.items():
                if not is_shard_name(file):
                    raise CheckpointError(
                        f"{index}: {shown(name, quoted=False)}: expected the name of a safetensors file "
                        f"in this folder, got {shown(file)}; copy or fetch it again"
                    )
            return holders, INDEX
        pickled = next((name for name in PICKLED if self._has_pickled(name)), None)
        if pickled is not None:
            raise CheckpointError(
                f"{self}: expected weights in safetensors, found only the pickled {pickled}, which is "
                "never loaded here; convert it once: python tools/to_safetensors.py --help"
            )
        raise CheckpointError(
            f"{self}: expected weights in {SINGLE}, or in shards that {INDEX} names; found neither"
        )

    def _has_pickled(self, name: str) -> bool:
        if self._folder.is_dir():
            return self.find(name) is not None
        from steplens.files.hub import hub_files

        return name in hub_files(self.path, self.revision)  # not fetched: it has gigabytes

    def _require(self, names: Iterable[str], holders: dict[str, str], origin: str) -> None:
        missing = [name for name in names if name not in holders]
        if missing:
            shown = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
            raise CheckpointError(
                f"{self}: {origin}: {len(missing)} tensors that config.json asks for are missing: "
                f"{shown}; expected a whole SeamlessM4T checkpoint that fits its config.json"
            )

    def _shard(self, file: str, origin: str) -> Path:
        if not self._folder.is_dir():
            return hub_file(self.path, file, self.revision)
        path = self.find(file)
        if path is None:
            raise CheckpointError(
                f"{self}: expected the shard {file}, which {origin} names, found none; copy it from "
                "where the checkpoint was published"
            )
        return path


def _check_tensor(
    path: Path,
    header: dict[str, StoredTensor],
    name: str,
    shape: tuple[int, ...],
    files: ModelFiles,
) -> None:
    stored = header.get(name)
    if stored is None:
        raise CheckpointError(
            f"{path}: expected a tensor {name}, which {INDEX} places here, found none; the index and "
            "the shards are of different checkpoints"
        )
    if stored.shape != shape:
        raise CheckpointError(
            f"{path}: {name}: expected shape {shape} by the config.json of {files}, got "
            f"{shown(stored.shape)}; config and weights are of different models"
        )
    if stored.dtype not in _FLOATS:
        raise CheckpointError(
            f"{path}: {name}: expected one of {', '.join(_FLOATS)}, got {stored.dtype}; quantised "
            "checkpoints are not supported"
        )


def _published_name(wanted: str, holders: dict[str, str]) -> str:
    if wanted != EMBEDDING:
        return wanted
    return next((name for name in EMBEDDING_NAMES if name in holders), EMBEDDING)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return read_json_object(path)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
