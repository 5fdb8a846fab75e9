"""Generation by transformers' own loop with plain hooks: what the fast loop is held to."""

import contextlib

import pytest
import torch

from steplens.models.seamless.loading import BaseModelOutput

MOST = 24


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads that wait for each other take most of the time of so small a model."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def transformers_generate(decoder, states, mask, language, most=MOST):
    """Contents and whether they ended, from ``generate``."""
    with torch.inference_mode():
        tokens = decoder.model.generate(
            decoder_input_ids=torch.full((len(states), 1), decoder.tags[language]),
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=mask,
            num_beams=1,
            do_sample=False,
            max_new_tokens=most,
        )[:, 2:].tolist()
    ended = [decoder.end in row for row in tokens]
    contents = [row[: row.index(decoder.end)] if decoder.end in row else row for row in tokens]
    return contents, ended


@contextlib.contextmanager
def slow_intervention(decoder, replacements):
    """A loop over rows and neurons in every hook."""
    handles = []
    for rows, fixed in replacements:
        for row in fixed.table.itertuples():

            def hook(_module, _args, output, rows=rows, unit=row.unit, value=row.value):
                output[rows, :, unit] = float(value)

            module = decoder.model.text_decoder.get_submodule(f"layers.{row.layer}.{row.submodule}")
            handles.append(module.register_forward_hook(hook))
    yield
    for handle in handles:
        handle.remove()
