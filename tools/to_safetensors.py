"""Converts a pickled checkpoint into a folder of safetensors that the workflow can load.

    python tools/to_safetensors.py facebook/hf-seamless-m4t-medium models/m4t-medium --revision <commit>
    python tools/to_safetensors.py path/to/folder models/mine

Only tensors are unpickled (``weights_only`` of torch), which runs no code of the file. What the stages
read is written, unchanged in precision, with the config, the language tags and the tokenizer.
"""

import argparse
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from steplens.errors import CheckpointError  # noqa: E402
from steplens.files.atomic import atomic_path  # noqa: E402
from steplens.models.files import SINGLE, TOKENIZER_CONFIG, ModelFiles  # noqa: E402
from steplens.models.neurons import MODULES  # noqa: E402
from steplens.models.seamless.tensors import EMBEDDING, EMBEDDING_NAMES, tensor_shapes  # noqa: E402

PICKLED = "pytorch_model.bin"
NEEDED = ("config.json", "generation_config.json", TOKENIZER_CONFIG)
TOKENIZER = (
    "tokenizer.json",
    "sentencepiece.bpe.model",
    "added_tokens.json",
    "special_tokens_map.json",
)


def convert(files: ModelFiles, output: Path) -> None:
    """Write the folder; the weights last, so that an interrupted conversion is not taken for one.

    Raises
    ------
    CheckpointError
        A file is missing, or a tensor that the config asks for.
    """
    import torch
    from safetensors.torch import save_file

    output.mkdir(parents=True, exist_ok=True)
    for name in (*NEEDED, *TOKENIZER):
        path = files.get(name) if name in NEEDED else files.find(name)
        if path is not None:
            shutil.copyfile(path, output / name)
    pickled = torch.load(files.get(PICKLED), map_location="cpu", weights_only=True, mmap=True)
    embedding = next((name for name in EMBEDDING_NAMES if name in pickled), EMBEDDING)
    config = files.json("config.json")
    tensors = {}
    for name in {name for module in MODULES for name in tensor_shapes(config, module)}:
        stored = embedding if name == EMBEDDING else name
        if stored not in pickled:
            raise CheckpointError(f"{files}: {PICKLED}: expected a tensor {stored}, found none")
        tensors[name] = pickled[stored].contiguous()
    with atomic_path(output / SINGLE) as partial:
        save_file(tensors, partial, metadata={"format": "pt"})


def main(arguments: list[str] | None = None) -> None:
    """Convert what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkpoint", help="a folder, or a name on the Hugging Face hub")
    parser.add_argument("output", type=Path, help="folder to write")
    parser.add_argument("--revision", help="commit on the hub")
    options = parser.parse_args(arguments)
    convert(ModelFiles(options.checkpoint, options.revision), options.output)


if __name__ == "__main__":
    main()
