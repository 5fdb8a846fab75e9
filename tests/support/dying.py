"""Workers that crash, hang or are killed, as they are told; imported by a fresh interpreter too."""

import ctypes
import faulthandler
import os
import signal
import sys
import time

import numpy as np

from steplens.speech.engines.engine import Take


def start(path=None, at_start=0):
    """Answers with the question and the process; dies as it starts the first ``at_start`` times."""
    if at_start:
        with open(path, "a+") as file:
            file.write("x")
            if file.tell() <= at_start:
                os.kill(os.getpid(), signal.SIGKILL)
    return "ready", answer


def answer(question):
    if question == "crash":
        faulthandler.disable()  # pytest's, which would tell at length
        ctypes.string_at(0)
    if question == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if question == "hang":
        time.sleep(600)
    if question == "half an answer":  # and then silence, as after SIGSTOP
        yield _HalfSent()
    if question == "leave":
        os._exit(3)
    if question == "raise":
        raise KeyError("broken on purpose")
    yield question, os.getpid()


class _HalfSent:
    """The first half of a message goes out before the process stops."""

    def __reduce__(self):
        frame = sys._getframe()
        while frame.f_code.co_name != "_serve":
            frame = frame.f_back
        # No other pipe: that of a test's own process may be among those which a fork has.
        os.write(frame.f_locals["outgoing"], (1 << 20).to_bytes(8, "big") + b"half")
        os.kill(os.getpid(), signal.SIGSTOP)
        return str, ()


def start_speaker(folder=None):
    """An engine of batches whose samples tell the batch; a text says at which it dies, and how often."""
    return ("voice", 4), lambda requests: _speak(folder, requests)


def _speak(folder, requests):
    for request in requests:
        how, _, times = request.text.partition(" ")
        mark = f"{folder}/{request.utterance}"
        if how in ("crash", "hang", "kill") and _count(mark) <= int(times or 1_000_000):
            list(answer(how))
        yield Take(np.full(4, len(requests) + request.utterance / 10, dtype=np.float32))


def _count(path):
    with open(path, "a+") as file:
        file.write("x")
        file.flush()
        return file.tell()
