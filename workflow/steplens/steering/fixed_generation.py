"""Generation with neurons of the decoder fixed, kept output by output: what ``steer`` and ``causal`` share.

A job is (digest of what is fixed, row of the sentence). Only jobs without a kept output are generated.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from steplens.batches.batching import run_batches
from steplens.hooks.intervention import Intervention, Replacement
from steplens.jobs.progress import progress
from steplens.languages.repetition import longest_repeat
from steplens.models.source import ModelSource
from steplens.steering.kept_outputs import SteeredOutputs

if TYPE_CHECKING:
    from steplens.generation.decode import Decoder

Job = tuple[str, int]


def missing_jobs(
    digests: Iterable[str], utterances: Sequence[int], known: Sequence[SteeredOutputs]
) -> list[Job]:
    """Jobs of which at least one of ``known`` has no output; by digest, then by row of ``utterances``."""
    return [
        (digest, row)
        for digest in digests
        for row, utterance in enumerate(utterances)
        if any((digest, utterance) not in one for one in known)
    ]


def generate_fixed(
    source: ModelSource,
    what: str,
    target: str,
    jobs: Sequence[Job],
    by_digest: Mapping[str, Replacement],
    states: Sequence[np.ndarray],
    utterances: Sequence[int],
    max_new_tokens: int,
    batch_size: int,
    known: SteeredOutputs,
) -> None:
    """Generate the outputs of ``jobs``, each with its own neurons fixed, and keep them in ``known``.

    Parameters
    ----------
    source : ModelSource
    what : str
        Named in the progress bar.
    target : str
        Language whose tag starts every output.
    jobs : sequence of (str, int)
        Digest of what is fixed, row of ``states``. Jobs of all kinds share the batches.
    by_digest : mapping of str to Replacement
    states : sequence of (n_positions, hidden) arrays
        Final encoder states.
    utterances : sequence of int
        Sentence ids of ``states``.
    max_new_tokens, batch_size : int
    known : SteeredOutputs
    """
    import torch  # a job that has nothing to generate spares the seconds that this takes

    from steplens.generation.decode import Decoder

    decoder = Decoder(source, max_new_tokens)

    def run(numbers: np.ndarray) -> list[dict[str, Any]]:
        batch = [jobs[number] for number in numbers]
        # The sentences of a batch are few: each of them stands there under many interventions.
        different, which = np.unique([row for _, row in batch], return_inverse=True)
        inputs = decoder.to_device([states[row] for row in different])
        which = torch.from_numpy(which).to(inputs[0].device)
        fixed = [(slice(at, at + 1), by_digest[digest]) for at, (digest, _) in enumerate(batch)]
        keys = [(digest, utterances[row]) for digest, row in batch]
        written = decoder.greedy(
            *(one.index_select(0, which) for one in inputs),
            target,
            np.array([utterance for _, utterance in keys]),
            Intervention(decoder.model.text_decoder, fixed),
        )
        return output_rows(decoder, keys, *written)

    lengths = [len(states[row]) for _, row in jobs]
    with progress(len(jobs), what, "sentence") as bar:
        for numbers, rows in run_batches(lengths, batch_size, len(jobs), run):
            known.add(rows)
            bar.update(len(numbers))


def output_rows(
    decoder: "Decoder",
    keys: Sequence[tuple[str, int]],
    contents: Sequence[list[int]],
    ended: Sequence[bool],
) -> list[dict[str, Any]]:
    """What a batch wrote, as ``SteeredOutputs`` keeps it; keys are (digest of what is fixed, utterance)."""
    return [
        {
            "fixed": digest,
            "utterance": utterance,
            "n_tokens": len(tokens),
            "ended": end,
            "longest_repeat": longest_repeat(tokens),
            "text": decoder.text(tokens),
        }
        for (digest, utterance), tokens, end in zip(keys, contents, ended, strict=True)
    ]
