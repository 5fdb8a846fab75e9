"""The sections of a configuration that belong to the neighbouring studies."""

from typing import Literal

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from steplens.config.sections import Section, key, without_repeats
from steplens.errors import shown

StudyName = Literal["modality", "inequality", "similarity", "causal"]


class ModalitySection(Section):
    """Neurons that tell speech from text, and how well layers tell the language."""

    k: int = key(
        "Neurons in the top-k set of speech, and of text.", "the tables of modality", 400, ge=1
    )
    folds: int = key(
        "Folds of the cross-validation of the linear probes; sentences stay together.",
        "the probes",
        5,
        ge=2,
    )
    regularisation: float = key(
        "Strength of the probes' L2 penalty, on standardised states (scikit-learn's 1 / C).",
        "the probes",
        1.0,
        gt=0,
    )


class InequalitySection(Section):
    """How concentrated activations are."""

    resamples: int = key(
        "Bootstrap resamples over sentences.",
        "the tables of inequality",
        1000,
        ge=100,
    )


class SimilaritySection(Section):
    """How alike representations are."""

    variance: float = key(
        "Share of variance that is kept before canonical correlations are taken (SVCCA).",
        "similarity",
        0.99,
        gt=0,
        le=1,
    )
    sentences_per_component: int = key(
        "Components are kept up to one for so many sentences: with too few sentences a component, "
        "canonical correlations are high by construction.",
        "similarity",
        5,
        ge=3,
    )
    shuffles: int = key(
        "Shuffles of the sentences for the baseline of every similarity; one within bins of length.",
        "similarity",
        5,
        ge=1,
    )
    resamples: int = key(
        "Bootstrap resamples for the intervals of gaps.", "the tables of similarity", 100, ge=20
    )
    length_bins: int = key(
        "Bins of equal size by length of sentence; 1: none.", "similarity", 3, ge=1
    )


class CausalSection(Section):
    """What generation loses without the neurons that tell language or modality."""

    ks: list[int] = key(
        "Neurons that are replaced, each number in a trial of its own.",
        "causal, for what is new",
        [50, 200, 400],
        min_length=1,
    )
    n_utterances: int = key(
        "Sentences a language, from the start of its corpus; all where there are fewer.",
        "causal, for what is new",
        20,
        ge=1,
    )
    n_random: int = key(
        "Random controls for each set of neurons, each with its own seed.",
        "causal, for what is new",
        2,
        ge=1,
    )
    step: int | None = key(
        "Step whose decoder neurons are replaced, one of steps; empty: the last of them.",
        "causal, in the decoder",
        None,
        ge=1,
    )
    resamples: int = key(
        "Bootstrap resamples for scores and differences.", "the tables of causal", 1000, ge=100
    )

    @field_validator("ks")
    @classmethod
    def _ks(cls, ks: list[int]) -> list[int]:
        wrong = [k for k in ks if k < 1]
        if wrong:
            raise PydanticCustomError(
                "ks", f"expected numbers of neurons from 1 on, got {shown(wrong[0])}"
            )
        return sorted(without_repeats(ks))
