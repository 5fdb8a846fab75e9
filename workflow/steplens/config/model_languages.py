"""Which languages a configured model has, where that can be known without loading anything."""

import json
from collections.abc import Iterator, Set
from functools import cached_property

from steplens.project import project_path


class ModelLanguages(Set):
    """Codes of the languages of a checkpoint folder, read when first asked for; of anything else none.

    Parameters
    ----------
    path : object
        ``model.path``, not yet checked.
    """

    def __init__(self, path: object):
        self._path = path

    @cached_property
    def _codes(self) -> frozenset[str]:
        try:
            file = project_path(self._path) / "generation_config.json"
            if not file.is_file():
                return frozenset()
            tags = json.loads(file.read_text(encoding="utf-8"))["text_decoder_lang_to_code_id"]
            return frozenset(tags)
        except (KeyError, TypeError, ValueError, OSError, RecursionError):
            return frozenset()  # suggestions do without; what is wrong there is said elsewhere

    def __contains__(self, code: object) -> bool:
        return code in self._codes

    def __iter__(self) -> Iterator[str]:
        return iter(self._codes)

    def __len__(self) -> int:
        return len(self._codes)
