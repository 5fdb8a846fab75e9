"""Compiled kernels, kept from run to run by all of the code that was compiled into them.

Numba keeps a kernel by the content of its own file alone: ``scores/ap.py`` would go on with an old
``sorting.py``. Here a digest of what a kernel calls, in whichever file, belongs to the key of its entry. It
is taken of the functions that are loaded, so that nothing on disk can change in between. Folders are
numba's own: ``NUMBA_CACHE_DIR``, else ``__pycache__`` beside the file, else the user's cache. What else
numba keeps for its process is left alone.
"""

import dis
import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.dispatcher import Dispatcher

log = logging.getLogger(__name__)

_N_DIGEST = hashlib.sha256().digest_size


def kernel(**options: Any) -> Callable[[FunctionType], Any]:
    """Decorator: as ``numba.njit(cache=True, **options)``, compiled again when anything it calls changes."""

    def compiled(function: FunctionType) -> Any:
        dispatcher = njit(**options)(function)
        if isinstance(dispatcher, Dispatcher):  # not with NUMBA_DISABLE_JIT
            try:
                dispatcher._cache = _KernelCache(function)
            except RuntimeError:  # no folder can be written to
                _warn_once()
        return dispatcher

    return compiled


@cache
def _warn_once() -> None:
    log.warning(
        "expected a folder to keep compiled kernels in, found none that can be written to: every job "
        "compiles its own, which takes some seconds; set NUMBA_CACHE_DIR to such a folder"
    )


def kernel_digest(function: FunctionType) -> str:
    """Sixteen hex digits over the bytecode of a kernel and of all that it calls, with their constants.

    Parameters
    ----------
    function : function
        As written: ``py_func`` of what numba makes of it.

    Raises
    ------
    TypeError
        It uses something whose content is not known here, such as a plain function of this package.
    """
    parts: dict[FunctionType, str] = {}
    waiting = [function]
    while waiting:
        one = waiting.pop()
        if one not in parts:
            called: list[FunctionType] = []
            parts[one] = "\n".join(_described(one, called))
            waiting += called
    content = "\n\n".join(sorted(parts.values()))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _described(function: FunctionType, called: list[FunctionType]) -> Iterator[str]:
    """A function in lines; the kernels that it calls join ``called``."""
    yield f"{function.__module__}.{function.__qualname__}"
    used = {
        name: cell.cell_contents
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        )
    }
    for code in _codes(function.__code__):
        yield code.co_code.hex()
        yield repr([one for one in code.co_consts if not isinstance(one, CodeType)])
        for step in dis.get_instructions(code):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval in function.__globals__:
                used[step.argval] = function.__globals__[step.argval]
        yield " ".join(code.co_names)
    for name, value in sorted(used.items()):
        if isinstance(value, Dispatcher):
            called.append(value.py_func)
            own = f"{value.py_func.__module__}.{value.py_func.__qualname__}"
            yield f"{name} {own} {sorted(value.targetoptions.items())!r}"
        else:
            yield f"{name} {_constant(value, function)}"


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _codes(one)


def _constant(value: Any, function: FunctionType) -> str:
    """What is compiled into a kernel of a global name."""
    ours = __name__.partition(".")[0]
    if isinstance(value, ModuleType) and value.__name__.partition(".")[0] != ours:
        return f"{value.__name__} {getattr(value, '__version__', '')}"
    if isinstance(value, (type, BuiltinFunctionType, np.ufunc)):
        return f"{getattr(value, '__module__', '')}.{value.__name__}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype.str} {value.shape} {value.tobytes().hex()}"
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.generic)):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, tuple):
        return f"({', '.join(_constant(one, function) for one in value)})"
    raise TypeError(
        f"{function.__module__}.{function.__qualname__}: expected kernels, constants and modules of other "
        f"packages in a kernel, got {type(value).__name__} {getattr(value, '__name__', '')}; make it a "
        "kernel, or import the name itself"
    )


class _KernelFiles(IndexDataCacheFile):
    """Numba's files of one kernel, with a name of its own for every entry, and a digest in it.

    By numba's numbers, two processes that compile it for other types at once can take the same name, so
    that one's index leads to the other's code.
    """

    def save(self, key: Any, data: Any) -> None:
        name = f"{self._index_name[:-4]}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc"
        self._save_data(name, data)
        entries = self._load_index()
        entries[key] = name
        self._save_index(entries)
        # Those of older files, and what a process is writing just now: it will compile once more.
        for rest in Path(self._cache_path).glob(f"{self._index_name[:-4]}.*.nbc"):
            if rest.name not in entries.values():
                with suppress(OSError):
                    rest.unlink()

    def _save_data(self, name: str, data: Any) -> None:
        content = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(content + hashlib.sha256(content).digest())  # unpickling stops before it

    def _load_data(self, name: str) -> Any:
        content = Path(self._data_path(name)).read_bytes()
        if hashlib.sha256(content[:-_N_DIGEST]).digest() != content[-_N_DIGEST:]:
            raise ValueError(f"{self._data_path(name)}: damaged")
        return super()._load_data(name)


class _KernelCache(FunctionCache):
    """Numba's cache of one kernel, where what it calls belongs to the key; damaged files count as none."""

    def __init__(self, function: FunctionType):
        super().__init__(function)
        self._cache_file = _KernelFiles(
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=self._impl.locator.get_source_stamp(),
        )

    def _index_key(self, sig: Any, codegen: Any) -> tuple:
        return *super()._index_key(sig, codegen), self._digest

    @cached_property
    def _digest(self) -> str:  # when it is first called: all of its module is there
        return kernel_digest(self._py_func)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        _ = self._digest  # its TypeError is for whoever writes a kernel
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # unpickling may fail anywhere
            log.info("%s: compiled anew, since its files cannot be read: %s", self._name, error)
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):  # a full disk
            super().save_overload(sig, data)
