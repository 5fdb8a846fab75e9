"""Processes of a job's own that are watched: for code that may crash, be killed or hang.

A worker answers questions, each with any number of answers. Its death is noticed at once, whatever it
died of, and so is silence beyond a limit of time; it never outlives the job. Whatever of steplens runs in
another process runs here, but for whole jobs (``warm_start.py``).
"""

import contextlib
import ctypes
import logging
import os
import pickle
import select
import signal
import struct
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from logging.handlers import QueueHandler
from typing import Any

from steplens.jobs.locks import end_with_parent

# From a question to its answers.
Answers = Callable[[Any], Iterable[Any]]

_LENGTH = struct.Struct("!Q")
# A limit of time counts in pieces of at most so much: what a job was stopped for (Ctrl-Z), or did between
# two answers, is not the worker's.
_PIECE_SECONDS = 1.0
_END_SECONDS = 5.0
_STARTS = 3  # so often in succession; then it is no accident
_IN_A_ROW = 10  # so many deaths, each at another question, are none either
_PR_SET_PDEATHSIG = 1
_FRESH = (
    "import sys; sys.path[:] = {path!r}; "
    "from steplens.jobs.workers import main; main({ends!r}, {parent})"
)


class WorkerDied(Exception):
    """A worker ended, or was killed at its limit of time, with a question unanswered.

    Reads as the end of a sentence: "died of signal 11 (SIGSEGV)".

    Attributes
    ----------
    in_time : bool
        It ended by itself, or somebody else ended it.
    """

    def __init__(self, how: str, in_time: bool = True):
        super().__init__(how)
        self.in_time = in_time


class WorkerError(RuntimeError):
    """Workers die whatever they are asked."""


class Worker:
    """A process that answers one question after another.

    Parameters
    ----------
    start : callable
        Called in the process, without arguments; gives a description of anything, and the function that
        answers. What it or a question raises is raised where answers are asked for.
    questions : sequence
        To be answered first; known to a fork without being sent.
    fresh : bool
        A new interpreter, and not a fork of this process: for libraries that start threads or a GPU.
        ``start`` and questions must then be picklable.
    name : str
        For messages.
    """

    def __init__(
        self,
        start: Callable[[], tuple[Any, Answers]],
        questions: Sequence[Any] = (),
        fresh: bool = False,
        name: str = "worker",
    ):
        self._made_of = start, tuple(questions), fresh, name
        self._name = name
        self._buffer = bytearray()
        self._open_questions = len(questions)
        read_questions, self._questions = os.pipe()
        self._answers, write_answers = os.pipe()
        ends = read_questions, write_answers
        try:
            self._pid = (_spawn if fresh else _fork)(start, questions, ends)
        finally:
            for end in ends:
                os.close(end)
        os.set_blocking(self._questions, False)
        self._exit_code: int | None = None
        self._closed = False
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)

    def started(self, seconds: float) -> tuple["Worker", Any]:
        """This worker, or another like it where it dies as it starts; and its description.

        Raises
        ------
        WorkerError
            So does every other.
        """
        worker = self
        for start in range(1, _STARTS + 1):
            try:
                return worker, worker._begin(seconds)
            except WorkerDied as error:
                died = error
                worker.close()
                if start < _STARTS:
                    worker = Worker(*self._made_of)
            except BaseException:
                worker.close()
                raise
        raise WorkerError(
            f"the {self._name} {died} as it started, {_STARTS} times in succession; look at memory "
            "(dmesg names what was killed for it) and at the installation of its library"
        ) from died

    def _begin(self, seconds: float) -> Any:
        start, questions, fresh, _ = self._made_of
        if fresh:  # a fork knows them
            self._send((start, questions), seconds)
        return self._receive(seconds)[1]

    def ask(self, question: Any, seconds: float) -> None:
        """Ask one question, once all answers to the last one were taken."""
        if self._open_questions:
            raise RuntimeError(f"the {self._name} was asked before its last answer was taken")
        self._open_questions = 1
        self._send(question, seconds)

    def answers(self, seconds: float) -> Iterator[Any]:
        """Yield the answers to one question.

        Parameters
        ----------
        seconds : float
            How long each is waited for.

        Raises
        ------
        WorkerDied
            It will not answer any more.
        Exception
            What the question raised there.
        """
        while True:
            kind, value = self._receive(seconds)
            if kind == "end":
                self._open_questions -= 1
                return
            yield value

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._closed:
            return
        self._closed = True
        if self._exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._reap(_END_SECONDS)
        os.close(self._questions)
        os.close(self._answers)

    def _send(self, question: Any, seconds: float) -> None:
        data = memoryview(_framed(question))
        poll = select.poll()
        poll.register(self._questions, select.POLLOUT)
        until = time.monotonic() + seconds
        while data:
            try:
                data = data[os.write(self._questions, data) :]
            except BlockingIOError:
                poll.poll(1000 * _PIECE_SECONDS)
                if time.monotonic() > until:
                    raise self._killed(seconds) from None
            except BrokenPipeError:
                raise self._died() from None

    def _receive(self, seconds: float) -> tuple[str, Any]:
        """The next message that is no log record."""
        left = seconds
        while True:
            while (message := self._whole_message()) is not None:
                kind, value = message
                if kind == "error":
                    raise value
                if kind != "log":
                    return message
                logging.getLogger(value.name).handle(value)
            if left <= 0:
                raise self._killed(seconds)
            before = time.monotonic()
            if self._poll.poll(1000 * min(left, _PIECE_SECONDS)):
                data = os.read(self._answers, 1 << 20)
                if not data:
                    raise self._died()
                self._buffer += data
            left -= min(time.monotonic() - before, _PIECE_SECONDS)

    def _whole_message(self) -> tuple[str, Any] | None:
        head = _LENGTH.size
        if len(self._buffer) < head:
            return None
        end = head + _LENGTH.unpack_from(self._buffer)[0]
        if len(self._buffer) < end:
            return None
        message = bytes(self._buffer[head:end])
        del self._buffer[:end]
        try:
            kind, value = pickle.loads(message)
        except Exception:  # a process that crashes may write anything before
            self.close()
            raise WorkerDied("wrote what is no answer, and was killed") from None
        return kind, value

    def _died(self) -> WorkerDied:
        code = self._reap(_END_SECONDS)
        self.close()
        return WorkerDied(ended(code) if code is not None else "closed its ears, and was killed")

    def _killed(self, seconds: float) -> WorkerDied:
        self.close()
        return WorkerDied(f"gave nothing within {seconds:g} s, and was killed", in_time=False)

    def _reap(self, seconds: float) -> int | None:
        """The exit status, negative for a signal; None where it has not ended by then."""
        until, pause = time.monotonic() + seconds, 0.0005
        while self._exit_code is None:
            try:
                pid, status = os.waitpid(self._pid, os.WNOHANG)
            except ChildProcessError:  # somebody else has asked
                self._exit_code = 0
                break
            if pid:
                self._exit_code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > until:
                break
            else:
                time.sleep(pause)
                pause = min(2 * pause, 0.05)
        return self._exit_code


def each(
    start: Callable[[], tuple[Any, Answers]],
    questions: Iterable[Any],
    at_a_time: int,
    seconds: float,
    name: str = "worker",
) -> Iterator[Any]:
    """Answer every question in a process of its own; yields in order an answer each, or ``WorkerDied``.

    Parameters
    ----------
    start : callable
        As for ``Worker``. What it does first is not blamed on the question.
    questions : iterable
        Each has one answer.
    at_a_time : int
        Processes at work.
    seconds : float
        How long an answer is waited for.
    name : str

    Raises
    ------
    WorkerError
        Processes die as they start, or question after question.
    Exception
        What a question raised.
    """
    waiting = iter(questions)
    working: deque[Worker] = deque()
    deaths = DeathsInARow(name)

    def fill() -> None:
        while len(working) < at_a_time:
            try:
                question = next(waiting)
            except StopIteration:
                return
            working.append(Worker(start, [question], name=name))

    try:
        fill()
        while working:
            worker = working[0]
            worker, _ = working[0].started(seconds)
            working[0] = worker
            answer: Any
            try:
                (answer,) = worker.answers(seconds)
                deaths.none()
            except WorkerDied as died:
                answer = died
            working.popleft().close()
            if isinstance(answer, WorkerDied):
                deaths.another(answer)
            fill()  # the next is at work while this answer is used
            yield answer
    finally:
        for worker in working:
            worker.close()


class DeathsInARow:
    """Counts deaths, each at another question, that no answer stands between."""

    def __init__(self, name: str):
        self._name = name
        self._n = 0

    def none(self) -> None:
        """There was an answer."""
        self._n = 0

    def another(self, died: WorkerDied) -> None:
        """There was none.

        Raises
        ------
        WorkerError
            Once more than accidents of single questions explain.
        """
        self._n += 1
        if self._n >= _IN_A_ROW:
            raise WorkerError(
                f"the {self._name} was lost at {self._n} questions in succession (at the last it {died}): "
                "that is no accident of one of them; look at memory (mem_mb of the rule, dmesg), and run "
                "again: what was finished is kept"
            ) from died


def ended(code: int) -> str:
    """How a process ended, from its exit status: "died of signal 9 (SIGKILL)"."""
    if code >= 0:
        return f"ended by itself with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    return f"died of signal {-code} ({name})"


# In the process


def _fork(start: Callable, questions: Sequence[Any], ends: tuple[int, int]) -> int:
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            _end_with(parent)
            _serve(start, questions, *ends)
            status = 0
        finally:
            os._exit(status)
    return pid


def _spawn(_start: Callable, _questions: Sequence[Any], ends: tuple[int, int]) -> int:
    for end in ends:
        os.set_inheritable(end, True)
    code = _FRESH.format(path=sys.path, ends=ends, parent=os.getpid())
    return os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ)


def main(ends: tuple[int, int], parent: int) -> None:
    """What a fresh interpreter runs: reads how to start, and serves."""
    _end_with(parent)
    for end in ends:
        os.set_inheritable(end, False)
    with open(ends[0], "rb", closefd=False, buffering=0) as incoming:
        start, questions = _read(incoming)
    _serve(start, questions, *ends)


def _end_with(parent: int) -> None:
    """Die with the process that asks: nobody else would take the answers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to both; the other one decides
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        end_with_parent()
    if os.getppid() != parent:  # it was gone before
        os._exit(1)


def _serve(start: Callable, questions: Sequence[Any], incoming: int, outgoing: int) -> None:
    def send(kind: str, value: Any = None) -> None:
        data = memoryview(_framed((kind, value)))
        while data:
            data = data[os.write(outgoing, data) :]

    logging.root.handlers = [_LogThere(send)]
    logging.root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        description, answers = start()
        send("started", description)
        for question in _asked(questions, incoming):
            for answer in answers(question):
                send("answer", answer)
            send("end")
    except Exception as error:
        send("error", _portable(error))


def _asked(questions: Sequence[Any], incoming: int) -> Iterator[Any]:
    yield from questions
    with open(incoming, "rb", closefd=False, buffering=0) as pipe, contextlib.suppress(EOFError):
        while True:
            yield _read(pipe)


class _LogThere(QueueHandler):
    """Log records go to the process that asks, which has the log file."""

    def enqueue(self, record: logging.LogRecord) -> None:
        self.queue("log", record)


def _portable(error: Exception) -> Exception:
    """The error as it can be sent, with its trace as a note."""
    trace = "".join(traceback.format_exception(error))
    try:
        sent = pickle.loads(pickle.dumps(error))
    except Exception:  # of classes that cannot be rebuilt from their arguments
        sent = RuntimeError(f"{type(error).__name__}: {error}")
    sent.add_note(f"in a process of its own:\n{trace}")
    return sent


def _framed(value: Any) -> bytes:
    data = pickle.dumps(value)
    return _LENGTH.pack(len(data)) + data


def _read(pipe: Any) -> Any:
    (length,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    return pickle.loads(_exactly(pipe, length))


def _exactly(pipe: Any, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = pipe.read(length - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
