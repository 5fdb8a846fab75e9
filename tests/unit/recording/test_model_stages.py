"""Encode, decode and capture against the transformers classes themselves, on random weights."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import made_by, relative_difference
from tiny_checkpoints import write_checkpoint

from steplens.files.atomic import write_parquet
from steplens.files.audio import write_wav
from steplens.generation.decode import Decoder, decode
from steplens.hooks.intervention import Intervention, Replacement
from steplens.hooks.recorder import Recorder
from steplens.models.neurons import MODULES, neuron_table, slots
from steplens.models.seamless.features import pad_features
from steplens.models.seamless.loading import (
    family_class,
    load_config,
    load_decoder,
    load_speech_encoder,
    load_text_encoder,
    load_tokenizer,
)
from steplens.models.source import ModelSource
from steplens.recording.capture import capture
from steplens.recording.encode import TextInput, encode
from steplens.speech.takes import file_digest
from steplens.store.reading import open_store, read_states

TEXTS = [
    "heute findet der lehrer ein neues buch in der schule",
    "im sommer kauft die mutter einen roten apfel",
    "der koch",
    "am montag zeigt der bauer einen alten brief auf dem markt",
    "jeden tag",
    "im winter sucht das mädchen eine kleine lampe im wald",
]


# The demo's own model, the first family's, and the second's in the sizes of the published models.
MODELS = ("demo", "seamless_m4t", "seamless_m4t_v2")


@pytest.fixture(scope="module", params=MODELS)
def checkpoint(request, checkpoint, tmp_path_factory):
    """Every test of this file runs with either family."""
    if request.param == "demo":
        return checkpoint
    folder = tmp_path_factory.mktemp(request.param)
    write_checkpoint(folder, checkpoint, request.param, sharded=True)
    return folder


@pytest.fixture(scope="module")
def source(checkpoint):
    """The tiny checkpoint on the CPU in float32."""
    return _source(checkpoint)


def _source(checkpoint):
    return ModelSource(str(checkpoint), None, "float32", "cpu")


def _width_hook(widths, slot):
    def hook(_module, _args, output):  # returns nothing: anything else would replace the output
        widths[slot.path] = output.shape[1 if slot.site.channels_first else -1]

    return hook


def _keep_hook(seen, key):
    def hook(_module, _args, output):
        seen.setdefault(key, []).append(output[0].clone())

    return hook


@pytest.fixture(scope="module")
def reference(checkpoint):
    """The whole models, as a user of transformers would load them."""
    config = load_config(_source(checkpoint))
    return {
        modality: family_class(config, name)
        .from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="sdpa")
        .eval()
        for modality, name in (("speech", "ForSpeechToText"), ("text", "ForTextToText"))
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory, source):
    """A small run: six German sentences, spoken (noise) and written, encoded in batches of four."""
    folder = tmp_path_factory.mktemp("run")
    generator = np.random.default_rng(1)
    corpus = pd.DataFrame(
        {"utterance": range(10, 16), "raw_transcription": TEXTS, "text": TEXTS, "split": "test"}
    )
    write_parquet(corpus, folder / "corpus" / "deu.parquet")
    lengths = [16_000, 23_456, 9_999, 31_000, 12_345, 20_020]
    for number, length in zip(corpus["utterance"], lengths, strict=True):
        path = folder / "speech" / "deu" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_wav(path, generator.normal(0, 0.1, length).astype(np.float32))
    spoken = pd.DataFrame(
        {
            "utterance": corpus["utterance"],
            "path": [f"deu/{n}.wav" for n in corpus["utterance"]],
            "n_samples": lengths,
            "sha256": [
                file_digest(folder / "speech" / "deu" / f"{n}.wav") for n in corpus["utterance"]
            ],
        }
    )
    write_parquet(spoken, folder / "speech" / "deu.parquet")
    for modality in ("speech", "text"):
        encode(
            source, modality, "deu", folder / "corpus" / "deu.parquet",
            folder / "speech" / "deu.parquet", folder / "encoder" / modality / "deu.zarr",
            "float32", batch_size=4, made_by=made_by(source),
        )  # fmt: skip
    for task, modality in (("s2t", "speech"), ("t2t", "text"), ("asr", "speech"), ("tr", "text")):
        decode(
            source, task, "deu", "eng", folder / "encoder" / modality / "deu.zarr",
            folder / "decoding" / task / "deu.parquet", max_new_tokens=12, batch_size=4,
            made_by=made_by(source),
        )  # fmt: skip
    return folder


def test_transformers_finds_every_site_and_its_width(reference):
    """Hooked on the real modules, each site gives as many units as the neuron table says."""
    model = reference["speech"]
    roots = {"speech_encoder": model.speech_encoder, "decoder": model.text_decoder}
    for module, root in roots.items():
        widths = {}
        handles = [
            root.get_submodule(slot.path).register_forward_hook(_width_hook(widths, slot))
            for slot in slots(model.config, module)
        ]
        if module == "speech_encoder":
            root(torch.randn(1, 24, 160, dtype=model.dtype))
        else:
            states = torch.randn(1, 5, model.config.hidden_size, dtype=model.dtype)
            root(input_ids=torch.tensor([[3, 5]]), encoder_hidden_states=states)
        expected = {s.path: s.columns.stop - s.columns.start for s in slots(model.config, module)}
        assert widths == expected
        for handle in handles:
            handle.remove()


def test_only_the_listed_submodules_are_left_out(checkpoint):
    """Every leaf of a layer is a site, or one of those that D1 leaves out."""
    encoder = load_speech_encoder(_source(checkpoint))
    left_out = {"distance_embedding", "linear_pos", "final_layer_norm"}
    left_out |= {"activation", "intermediate_act_fn"}
    hooked = {slot.site.submodule for slot in slots(encoder.config, "speech_encoder")}
    for name, module in encoder.encoder.layers[0].named_modules():
        is_leaf = name and not list(module.children())
        if is_leaf and not isinstance(module, torch.nn.Dropout):
            assert name in hooked or name.rpartition(".")[2] in left_out, name


@pytest.mark.parametrize("remainder", range(8))
def test_the_half_frame_of_the_extractor_is_padding_that_only_an_adapter_unaware_of_it_reads(
    source, reference, remainder
):
    """Of an odd number of frames transformers' extractor keeps the last one, filled up with zeros and masked.

    Masked it changes nothing; transformers' own adapter reads it where the other frames reach less than half
    a stride into a window.
    """
    from transformers import SeamlessM4TFeatureExtractor

    model = reference["speech"]
    stride = model.config.adaptor_stride
    n_whole = 9 * stride + remainder % stride
    wave = np.random.default_rng(remainder).normal(0, 0.1, 400 + 160 * 2 * n_whole)
    theirs = SeamlessM4TFeatureExtractor()(
        wave.astype(np.float32), sampling_rate=16_000, return_tensors="pt"
    )
    values, mask = theirs["input_features"], theirs["attention_mask"]
    assert mask.tolist() == [[1] * n_whole + [0]]
    assert (values[0, -1, 80:] == 0).all()
    assert (values[0, -1, :80] != 0).any()
    encoder = load_speech_encoder(source)
    whole = values[:, :n_whole], mask[:, :n_whole]
    with torch.no_grad():
        ours = encoder(whole[0], attention_mask=whole[1]).last_hidden_state[0]
        masked = encoder(values, attention_mask=mask).last_hidden_state[0, : len(ours)]
        plain = model.speech_encoder(values, attention_mask=mask).last_hidden_state[0, : len(ours)]
    assert relative_difference(masked, ours) < 1e-5
    read = n_whole % stride < stride // 2
    assert (relative_difference(plain, ours) > 1e-3) == read


@pytest.mark.parametrize("module", ["speech_encoder", "text_encoder"])
def test_an_utterance_is_the_same_alone_and_in_any_batch(source, features, module):
    """Activations and final states do not depend on padding (<= 1e-5 relative in float32)."""
    if module == "speech_encoder":
        encoder, items = load_speech_encoder(source), features
        pad = pad_features
    else:
        encoder = load_text_encoder(source)
        generator = torch.Generator().manual_seed(0)
        items = [torch.randint(4, 280, (n,), generator=generator) for n in (5, 12, 7, 3, 9)]

        def pad(chosen):
            padded = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True)
            return padded, (padded != 0).long()

    recorder = Recorder(encoder, encoder.config, module)

    def passed(chosen):
        values, mask = pad(chosen)
        state_mask = mask
        if module == "speech_encoder":
            lengths = encoder._compute_sub_sample_lengths_from_attention_mask(mask).long()
            state_mask = (torch.arange(int(lengths.max()))[None] < lengths[:, None]).long()
        recorder.begin(mask, state_mask)
        with torch.inference_mode():
            states = encoder(values, attention_mask=mask).last_hidden_state
        seen = recorder.result(states, state_mask.sum(1).tolist()).on_host()
        return seen.activation, seen.hidden_state, seen.states

    together = passed(items)
    for row, item in enumerate(items):
        alone = passed([item])
        assert len(alone[2][0]) == len(together[2][row])
        for part in (0, 1, 2):
            assert relative_difference(together[part][row], alone[part][0]) < 1e-5


def test_encoding_equals_plain_hooks_one_utterance_at_a_time(run, reference, checkpoint):
    """The store holds the means that naive hooks on the whole model give (text encoder)."""
    model, tokenizer = reference["text"], load_tokenizer(_source(checkpoint))
    tokenizer.src_lang = "deu"
    table = neuron_table(model.config, "text_encoder")
    seen: dict[tuple, list] = {}
    handles = [
        model.text_encoder.get_submodule(slot.path).register_forward_hook(
            _keep_hook(seen, (slot.layer, slot.site.submodule))
        )
        for slot in slots(model.config, "text_encoder")
    ]
    store = open_store(run / "encoder" / "text" / "deu.zarr")
    for row, text in enumerate(TEXTS):
        seen.clear()
        with torch.no_grad():
            states = model.text_encoder(tokenizer(text, return_tensors="pt").input_ids)
        slow = np.concatenate(
            [
                seen[layer, name][0].mean(0).numpy()
                for layer, name in table.groupby(["layer", "submodule"], observed=True).groups
            ]
        )
        order = np.concatenate(
            list(table.groupby(["layer", "submodule"], observed=True).indices.values())
        )
        assert relative_difference(store["activation"][row].to_numpy()[order], slow) < 1e-5
        begin = int(store["n_positions"][:row].sum())
        kept = store["state"][begin : begin + states.last_hidden_state.shape[1]].to_numpy()
        assert relative_difference(kept, states.last_hidden_state[0]) < 1e-5
    for handle in handles:
        handle.remove()


def _passed_alone(module, root, run, checkpoint, row, step):
    """Pass one utterance of ``run`` through a module, and the positions that its store is of."""
    from steplens.recording.encode import SpeechInput

    tokenizer = load_tokenizer(_source(checkpoint))
    tokenizer.src_lang = "deu"
    with torch.no_grad():
        if module == "speech_encoder":
            spoken = SpeechInput(pd.read_parquet(run / "speech" / "deu.parquet"), run / "speech")
            values, mask = spoken.pad([spoken.load(row)])
            root(values, attention_mask=mask)
        elif module == "text_encoder":
            root(tokenizer(TEXTS[row], return_tensors="pt").input_ids)
        else:
            decoded = pd.read_parquet(run / "decoding" / "tr" / "deu.parquet")
            tag = tokenizer.convert_tokens_to_ids("__deu__")
            prefix = [3, tag, *decoded["tokens"].iloc[row][: step - 1]]
            states = read_states(open_store(run / "encoder" / "text" / "deu.zarr"))[row]
            root(torch.tensor([prefix]), encoder_hidden_states=torch.from_numpy(states[None]))


@pytest.mark.parametrize("module", MODULES)
def test_every_place_holds_the_output_that_it_is_named_after(
    run, reference, checkpoint, source, tmp_path, module
):
    """What enters layer 0 is at "embedding", the output of layer 0 at "0", and the adapter's at its name."""
    step = 2
    if module == "decoder":
        store = tmp_path / "step-02.zarr"
        capture(
            source, "tr", "deu", step, "", run / "encoder" / "text" / "deu.zarr",
            run / "decoding" / "tr" / "deu.parquet", store, "float32", batch_size=4,
            made_by=made_by(source),
        )  # fmt: skip
    else:
        store = run / "encoder" / module.removesuffix("_encoder") / "deu.zarr"
    data = open_store(store)
    is_speech = module == "speech_encoder"
    model = reference["speech" if is_speech else "text"]
    root = model.text_decoder if module == "decoder" else getattr(model, module)
    layers = root.encoder.layers if is_speech else root.layers
    parts = [root.feature_projection] if is_speech else [root.embed_tokens, root.embed_positions]
    modules = {"embedding": parts} | {str(n): [layer] for n, layer in enumerate(layers)}
    if is_speech:
        modules["adapter"] = [root.adapter]
    assert data["place"].to_numpy().tolist() == list(modules)
    seen: dict[str, list] = {}

    def keep(place):
        def hook(_module, _args, output):
            values = output[0] if isinstance(output, tuple) else output
            seen.setdefault(place, []).append(values[0].clone())

        return hook

    handles = [
        part.register_forward_hook(keep(place)) for place, some in modules.items() for part in some
    ]
    valid = data["valid"].to_numpy() if "valid" in data else np.ones(len(TEXTS), dtype=bool)
    assert valid.any()
    for row in np.flatnonzero(valid):
        seen.clear()
        _passed_alone(module, root, run, checkpoint, row, step)
        for place, outputs in seen.items():
            values = sum(outputs)
            slow = values[-1] if module == "decoder" else values.mean(0)
            found = data["hidden_state"].sel(place=place)[row].to_numpy()
            assert relative_difference(found, slow) < 1e-5, place
        assert set(seen) == set(modules)
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("task", ["s2t", "t2t", "asr", "tr"])
def test_decoding_from_stored_states_equals_generate_on_the_whole_model(
    run, reference, checkpoint, task
):
    """Token for token what transformers' own generate gives from audio or text."""
    from steplens.recording.encode import SpeechInput

    target = "eng" if task in ("s2t", "t2t") else "deu"
    decoded = pd.read_parquet(run / "decoding" / task / "deu.parquet")
    tokenizer = load_tokenizer(_source(checkpoint))
    tokenizer.src_lang = "deu"
    spoken = SpeechInput(pd.read_parquet(run / "speech" / "deu.parquet"), run / "speech")
    for row, text in enumerate(TEXTS):
        options = {"tgt_lang": target, "num_beams": 1, "do_sample": False, "max_new_tokens": 12}
        with torch.no_grad():
            if task in ("s2t", "asr"):
                values, mask = spoken.pad([spoken.load(row)])
                tokens = reference["speech"].generate(values, attention_mask=mask, **options)
            else:
                tokens = reference["text"].generate(
                    **tokenizer(text, return_tensors="pt"), **options
                )
        content = tokens[0, 2:].tolist()
        content = content[: content.index(3)] if 3 in content else content
        assert decoded["tokens"].iloc[row].tolist() == content
        assert decoded["n_tokens"].iloc[row] == len(content)


@pytest.mark.parametrize("step", [1, 2, 5])
def test_capture_equals_hooks_during_step_by_step_generation(run, reference, source, step):
    """One teacher-forced pass gives what plain hooks see when generate reaches that step."""
    output = run / "decoder" / "asr" / "deu" / f"step-{step:02d}.zarr"
    capture(
        source, "asr", "deu", step, "", run / "encoder" / "speech" / "deu.zarr",
        run / "decoding" / "asr" / "deu.parquet", output, "float32", batch_size=4, made_by=made_by(source),
    )  # fmt: skip
    store = open_store(output)
    from steplens.recording.encode import SpeechInput

    model = reference["speech"]
    spoken = SpeechInput(pd.read_parquet(run / "speech" / "deu.parquet"), run / "speech")
    n_tokens = pd.read_parquet(run / "decoding" / "asr" / "deu.parquet")["n_tokens"]
    assert store["valid"].to_numpy().tolist() == (n_tokens >= step).tolist()
    calls: dict[str, list] = {}
    handles = [
        model.text_decoder.get_submodule(slot.path).register_forward_hook(
            _keep_hook(calls, slot.path)
        )
        for slot in slots(model.config, "decoder")
    ]
    for row in np.flatnonzero(store["valid"].to_numpy()):
        calls.clear()
        values, mask = spoken.pad([spoken.load(row)])
        with torch.no_grad():
            model.generate(values, attention_mask=mask, tgt_lang="deu", num_beams=1,
                           do_sample=False, max_new_tokens=12)  # fmt: skip
        slow = []
        for slot in slots(model.config, "decoder"):
            if slot.site.over_encoder:
                assert len(calls[slot.path]) == 1  # once a generation, over the encoder's positions
                slow.append(calls[slot.path][0].mean(0))
            else:
                slow.append(calls[slot.path][step - 1][-1])
        slow = torch.cat(slow).numpy()
        assert relative_difference(store["activation"][row].to_numpy(), slow) < 1e-5
    for handle in handles:
        handle.remove()


def test_sentences_that_ended_before_the_step_are_not_valid_and_hold_nan(run, source, tmp_path):
    """A row is valid when its sentence has at least t tokens; other rows are NaN."""
    decoded = pd.read_parquet(run / "decoding" / "asr" / "deu.parquet")
    kept = [3, 1, 12, 2, 0, 3]
    decoded["tokens"] = [list(t)[:n] for t, n in zip(decoded["tokens"], kept, strict=True)]
    decoded["n_tokens"] = decoded["tokens"].str.len()
    write_parquet(decoded, tmp_path / "short.parquet")
    capture(
        source, "asr", "deu", 3, "", run / "encoder" / "speech" / "deu.zarr",
        tmp_path / "short.parquet", tmp_path / "step-03.zarr", "float32", batch_size=4,
        made_by=made_by(source),
    )  # fmt: skip
    store = open_store(tmp_path / "step-03.zarr")
    valid = store["valid"].to_numpy()
    assert valid.tolist() == [n >= 3 for n in decoded["n_tokens"]]
    assert not valid.all()
    assert np.isnan(store["activation"].to_numpy()[~valid]).all()
    assert np.isfinite(store["activation"].to_numpy()[valid]).all()


def test_loading_the_decoder_alone_leaves_the_encoders_behind(source, reference):
    """The decoder's weights are the checkpoint's, and its text encoder has no layers."""
    decoder = load_decoder(source)
    assert len(decoder.text_encoder.layers) == 0
    whole = reference["speech"].text_decoder.state_dict()
    for name, tensor in decoder.text_decoder.state_dict().items():
        assert torch.equal(tensor, whole[name]), name


def test_encoders_hold_the_checkpoints_weights(source, reference):
    """Loaded by themselves, the encoders equal those of the whole models."""
    pairs = (
        (load_speech_encoder(source), reference["speech"].speech_encoder),
        (load_text_encoder(source), reference["text"].text_encoder),
    )
    for alone, whole in pairs:
        expected = whole.state_dict()
        for name, tensor in alone.state_dict().items():
            assert torch.equal(tensor, expected[name]), name


def test_one_batch_of_steering_fixes_its_rows_and_leaves_the_others(run, source):
    """Rows of a generation have neurons fixed at every position; the unsteered row decodes as ever."""
    decoder = Decoder(source, max_new_tokens=6)
    states = read_states(open_store(run / "encoder" / "speech" / "deu.zarr"))[:3]
    inputs = decoder.to_device(states)
    free, _ = decoder.greedy(*inputs, "deu")
    table = neuron_table(decoder.model.config, "decoder")
    chosen = table[table["submodule"].isin(["ffn.fc2", "cross_attention.v_proj"])][::3]
    fixed = Replacement(chosen[["layer", "submodule", "unit"]].assign(value=4.0))
    seen: dict[str, list] = {}
    with Intervention(decoder.model.text_decoder, [(slice(0, 2), fixed)]):
        handle = decoder.model.text_decoder.layers[1].ffn.fc2.register_forward_hook(
            lambda _module, _args, output: seen.setdefault("fc2", []).append(output.clone())
        )
        steered, _ = decoder.greedy(*inputs, "deu")
        handle.remove()
    assert steered[2] == free[2]
    assert steered[:2] != free[:2]
    units = chosen[(chosen["layer"] == 1) & (chosen["submodule"] == "ffn.fc2")]["unit"].tolist()
    assert all((one[:2][..., units] == 4.0).all() for one in seen["fc2"])
    assert not any((one[2][..., units] == 4.0).any() for one in seen["fc2"])


def test_a_language_without_a_tag_is_named(source):
    """In the tokenizer and in the decoder, each with what it has."""
    with pytest.raises(ValueError, match="expected the language tag __swh__"):
        TextInput(["habari"], load_tokenizer(source), "swh")
    with pytest.raises(ValueError, match="expected a language tag for swh, it has cmn, deu, eng"):
        Decoder(source, max_new_tokens=2).tag("swh")
