"""Fixtures: a SeamlessM4T v2 with random weights at a tiny size, and the demo's results."""

from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = ("deu", "spa", "fra", "cmn", "jpn")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """A checkpoint folder of random weights, in the published layout, under 1 MB."""
    import torch

    from demo_model.corpus import normalized, splits
    from demo_model.export import export
    from demo_model.grammar import LANGUAGES as EVERY_LANGUAGE
    from demo_model.model import DemoModel, small_config
    from demo_model.tokenizer import train_tokenizer

    torch.manual_seed(7)
    sentences = splits()["train"][:200]
    tokenizer = train_tokenizer(
        [normalized(meaning, lang) for _, meaning in sentences for lang in EVERY_LANGUAGE],
        EVERY_LANGUAGE,
        300,
    )
    config = small_config(len(tokenizer))
    for name in ("encoder_layers", "decoder_layers", "speech_encoder_layers"):
        setattr(config, name, 2)
    for name in ("encoder_ffn_dim", "decoder_ffn_dim", "speech_encoder_intermediate_size"):
        setattr(config, name, 48)
    config.hidden_size = 32
    config.adaptor_kernel_size = config.adaptor_stride = 8  # as the published model has it
    model = DemoModel(config)
    with torch.no_grad():  # the initial weights are so small that every sentence decodes alike
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "conv" not in name:
                parameter.mul_(4.0)
    folder = tmp_path_factory.mktemp("checkpoint")
    export(model, tokenizer, None, folder, {}, {})
    return folder / "seamless-m4t-v2-demo"


@pytest.fixture(scope="session")
def source(checkpoint):
    """The tiny checkpoint on the CPU in float32."""
    from steplens.models.source import ModelSource

    return ModelSource(str(checkpoint), None, "float32", "cpu")


@pytest.fixture(scope="session")
def features():
    """Features of five noises, whose lengths have every remainder by 8 that matters."""
    import torch

    generator = torch.Generator().manual_seed(3)
    return [torch.randn(n, 160, generator=generator) for n in (41, 74, 59, 34, 80)]


@pytest.fixture
def generated(monkeypatch):
    """Sentences of every batch that is generated."""
    from steplens.generation.decode import Decoder

    batches = []
    greedy = Decoder.greedy

    def watched(self, states, *rest):
        batches.append(len(states))
        return greedy(self, states, *rest)

    monkeypatch.setattr(Decoder, "greedy", watched)
    return batches


def made_by(source, code="a") -> dict:
    """What a rule would tell a stage of its model and code."""
    from steplens.models.checkpoint import checkpoint_digest

    return {"model": {"checkpoint": checkpoint_digest(source.path)}, "code": code}


def write_table(frame, path, **condition) -> None:
    """Write a table that says of itself which condition it is of."""
    from steplens.files.atomic import write_parquet

    frame = frame.copy(deep=False)
    frame.attrs = condition
    write_parquet(frame, path)


def relative_difference(one, other) -> float:
    """Largest difference, relative to the largest value."""
    one, other = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    return float(np.abs(one - other).max() / max(np.abs(other).max(), 1e-12))


def pytest_collection_modifyitems(items):
    """The files that wait longest come first: two workers then end at about the same time."""
    longest = ["test_slurm", "test_speech_workflow", "test_small_runs", "test_fetching",
               "test_interruption", "test_reruns", "test_environments"]  # fmt: skip
    order = {name: place for place, name in enumerate(longest)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
