"""The files of a checkpoint's tokenizer, looked at before any job starts, without torch or transformers."""

import os
from pathlib import Path
from typing import Any

from steplens.errors import CheckpointError, shown
from steplens.files.input_files import MAX_JSON_BYTES, instead_of_content, open_regular
from steplens.models.files import ModelFiles

CONFIG = "tokenizer_config.json"
# Beside the vocabulary where a tokenizer was published with them.
_OTHERS = ("added_tokens.json", "special_tokens_map.json")
_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
            "additional_special_tokens")  # fmt: skip
_AGAIN = "copy or fetch the file again"


def check_heads(files: ModelFiles) -> None:
    """Raise CheckpointError for tokenizer files that are empty, a pointer of git-lfs or a web page.

    As fast as the first bytes of each: Snakemake reads its rules for every job.
    """
    vocabulary = files.tokenizer()
    others = [files.find(name) for name in (CONFIG, *_OTHERS)]
    for path in (vocabulary, *(one for one in others if one is not None)):
        instead = instead_of_content(path)
        if instead:
            raise CheckpointError(f"{path}: expected a file of the tokenizer, got {instead}")


def check_tokenizer(files: ModelFiles) -> None:
    """Raise CheckpointError for a tokenizer that a stage could not load, or that is of another model.

    Its JSON is read, and its vocabulary by the library that stages read it with; where that is not
    installed (rules have environments of their own) a vocabulary is looked at from outside.
    """
    check_heads(files)
    vocabulary = files.tokenizer()
    for name in (CONFIG, *_OTHERS):
        path = files.find(name)
        if path is not None:
            _check_special_tokens(path, files.json(name))
    if vocabulary.suffix == ".json":
        _check_fast(vocabulary, files)
    else:
        _check_sentencepiece(vocabulary)


def _check_special_tokens(path: Path, content: dict[str, Any]) -> None:
    for key in _SPECIAL:
        value = content.get(key)
        for token in value if key == _SPECIAL[-1] and isinstance(value, list) else [value]:
            text = token.get("content") if isinstance(token, dict) else token
            if token is not None and not isinstance(text, str):
                raise CheckpointError(
                    f"{path}: {key}: expected a token, got {shown(token)}; {_AGAIN}"
                )


def _check_fast(path: Path, files: ModelFiles) -> None:
    model = files.json(path.name).get("model")
    if not isinstance(model, dict) or not model.get("vocab"):
        raise CheckpointError(
            f"{path}: model: expected the tokenizer's vocabulary, got {shown(model)}; {_AGAIN}"
        )
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return
    try:
        tokenizer = Tokenizer.from_file(str(path))
        vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library raises nothing narrower, and some of its own kind
        raise CheckpointError(_unreadable(path, error)) from error
    for language, token in files.language_tags().items():
        own = vocabulary.get(f"__{language}__")
        if own not in (None, token):
            raise CheckpointError(
                f"{path}: language tag of {shown(language, quoted=False)}: expected token {token} as in "
                f"generation_config.json, got {own} in the tokenizer; they are of different models"
            )
    n_rows = files.json("config.json").get("vocab_size")
    last = max(vocabulary.values(), default=-1)
    if last < 0 or (isinstance(n_rows, int) and last >= n_rows):
        raise CheckpointError(
            f"{path}: expected tokens below vocab_size = {n_rows} of config.json, got up to {last}; they are "
            "of different models"
        )


def _check_sentencepiece(path: Path) -> None:
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_JSON_BYTES:
            raise CheckpointError(
                f"{path}: expected a vocabulary of at most {MAX_JSON_BYTES} bytes, got {size} bytes; {_AGAIN}"
            )
        content = file.read(MAX_JSON_BYTES)
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:
        return
    try:
        SentencePieceProcessor().LoadFromSerializedProto(content)
    except RuntimeError as error:
        raise CheckpointError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: BaseException) -> str:
    return (
        f"{path}: expected the tokenizer's vocabulary, but it cannot be read "
        f"({shown(' '.join(str(error).split()), quoted=False)}); {_AGAIN}"
    )
