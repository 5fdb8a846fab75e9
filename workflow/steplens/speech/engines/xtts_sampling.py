"""Sampling of XTTS codes in which every row of a batch has a random stream of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)


@dataclass(frozen=True)
class Sampling:
    """How codes are drawn, as the checkpoint's configuration names it."""

    temperature: float = 0.75
    repetition_penalty: float = 10.0
    top_k: int = 50
    top_p: float = 0.85
    greedy: bool = False  # take the likeliest code; only the penalty counts then

    def processors(self) -> LogitsProcessorList:
        """What changes the scores, in the order of transformers' ``generate``."""
        processors = LogitsProcessorList()
        if self.repetition_penalty != 1:
            processors.append(RepetitionPenaltyLogitsProcessor(float(self.repetition_penalty)))
        if self.greedy:
            return processors
        if self.temperature != 1:
            processors.append(TemperatureLogitsWarper(float(self.temperature)))
        if self.top_k:
            processors.append(TopKLogitsWarper(self.top_k))
        if self.top_p < 1:
            processors.append(TopPLogitsWarper(self.top_p))
        return processors


class RowSampler:
    """Draws the next code of every row as ``generate`` draws it for that row alone.

    ``torch.multinomial`` gives the index of the largest p / e with e exponential: drawing e for each
    row from that row's generator gives for each row what it gives under ``torch.manual_seed``.

    Parameters
    ----------
    sampling : Sampling
    seeds : sequence of int
        One a row.
    device : torch.device
        Where the scores are: streams of a CPU and of a GPU differ, as those of ``manual_seed`` do.
    """

    def __init__(self, sampling: Sampling, seeds: Sequence[int], device: torch.device):
        self._processors = sampling.processors()
        self._greedy = sampling.greedy
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def draw(self, before: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """The next codes.

        Parameters
        ----------
        before : (rows, n) int64 tensor
            What the repetition penalty concerns; how often something stands there does not matter.
        logits : (rows, n_codes) tensor

        Returns
        -------
        (rows,) int64 tensor
        """
        scores = self._processors(before, logits.float())
        if self._greedy:
            return scores.argmax(-1)
        noise = torch.empty_like(scores)
        for row, generator in zip(noise, self._generators, strict=True):
            row.exponential_(generator=generator)
        return (scores.softmax(-1) / noise).argmax(-1)

    def keep(self, rows: Sequence[int]) -> None:
        """Keep some rows of the batch, by number."""
        self._generators = [self._generators[row] for row in rows]
