"""The loop of the stages that dump activations: the model in front, checks and writing behind it.

While the device computes a batch, the batch before it is copied to the host, checked, digested,
compressed and written by another thread. Nothing else may wait.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from steplens.batches.background_writer import BackgroundWriter
from steplens.batches.batching import run_batches
from steplens.hooks.recorder import Recorded, Recorder, require_finite, require_finite_states
from steplens.store.groups import ROW_CHUNK
from steplens.store.writer import StoreWriter

Run = Callable[[np.ndarray], Recorded]


def dump(
    store: StoreWriter,
    recorder: Recorder,
    utterances: np.ndarray,
    lengths: np.ndarray,
    batch_size: int,
    run: Run,
    where: str,
    bar: Any,
    valid: np.ndarray | None = None,
) -> None:
    """Pass all utterances through the model and write what a recorder saw.

    Parameters
    ----------
    store : StoreWriter
        What it has kept of an interrupted dump is not passed again.
    recorder : Recorder
    utterances : (n,) array
        Sentence ids.
    lengths : (n,) array
        Utterances of similar length share a batch.
    batch_size : int
        At most; halved when the device's memory does not suffice.
    run : callable
        Passes a batch, given as row numbers, through the model: ``recorder.result`` of it.
    where : str
        What is being dumped, for messages.
    bar : progress bar
    valid : (n,) bool array, optional
        Rows that are not valid are not passed; they hold NaN.

    Raises
    ------
    ActivationError
        NaN or infinity.
    MemoryError
        One utterance alone does not fit.
    """
    valid = np.ones(len(utterances), dtype=bool) if valid is None else valid
    # Length 0 sorts what costs no pass behind the others.
    lengths = np.where(valid, lengths, 0)

    start = store.n_kept
    bar.update(start)

    def run_valid(rows: np.ndarray) -> Recorded | None:
        rows = rows + start
        going = rows[valid[rows]]
        return run(going) if len(going) else None

    def write(rows: np.ndarray, recorded: Recorded | None) -> None:
        activation = hidden = np.empty(0, dtype=recorder.dtype)
        states: list[np.ndarray] = []
        going = valid[rows]
        if recorded is not None:
            batch = recorded.on_host()
            activation, hidden, states = batch.activation, batch.hidden_state, batch.states
            require_finite(activation, hidden, utterances[rows[going]], recorder.slots, where)
            if states:
                require_finite_states(states, utterances[rows[going]], where)
        if not going.all():
            activation = _among_nan(activation, going, (recorder.n_neurons,))
            hidden = _among_nan(hidden, going, recorder.hidden_shape)
        store.write(rows, activation, hidden, states or None)

    with BackgroundWriter(write) as writer:
        batches = run_batches(lengths[start:], batch_size, ROW_CHUNK, run_valid, utterances[start:])
        for rows, recorded in _settled(batches, run_valid):
            writer.put(rows + start, recorded)
            bar.update(len(rows))


def _settled(
    batches: Iterator[tuple[np.ndarray, Recorded | None]], run: Run
) -> Iterator[tuple[np.ndarray, Recorded | None]]:
    """The batches; one whose means may hold what its padding held comes utterance by utterance.

    Whether it does is asked after the next batch is on the device, so that the device never waits.
    """
    held = None
    for rows, recorded in batches:
        if held is not None:
            yield from _without_padding(*held, run)
        held = (rows, recorded) if recorded is not None and not recorded.exact else None
        if held is None:
            yield rows, recorded
    if held is not None:
        yield from _without_padding(*held, run)


def _without_padding(
    rows: np.ndarray, recorded: Recorded, run: Run
) -> Iterator[tuple[np.ndarray, Recorded]]:
    if recorded.is_finite():
        yield rows, recorded
        return
    for row in rows:
        yield np.array([row]), run(np.array([row]))


def _among_nan(values: np.ndarray, rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(batch, …) array: the values where ``rows`` says so, NaN elsewhere."""
    filled = np.full((len(rows), *shape), np.nan, dtype=values.dtype)
    if rows.any():
        filled[rows] = values
    return filled
