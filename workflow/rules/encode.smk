# In: corpus/ and speech/. Out: encoder/<modality>/<language>.zarr, every encoder neuron pooled over
# the utterance (D2), and the final states that decoding starts from.


rule encode_speech:
    """One pass of a language's speech through the speech encoder."""
    message:
        "encode: speech of {wildcards.lang} through the speech encoder"
    input:
        MODEL_FETCHED,
        corpus=RUN.corpus("{lang}"),
        speech=RUN.speech("{lang}"),
    output:
        encoder_store("speech", "{lang}"),
    log:
        RUN.log("encode/speech/{lang}"),
    benchmark:
        RUN.benchmark("encode/speech/{lang}")
    conda:
        ENVS / "torch.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
        gpu=GPUS,
    params:
        code=made_with(
            code_digest("recording.encode", script="encode"),
            "torch",
            "torch",
            "torchaudio",
            "transformers",
        ),
        model=MODEL,
        modality="speech",
        dtype=CONFIG.store.dtype,
        fixed_seconds=CONFIG.encoding.fixed_seconds,
    script:
        "../scripts/encode.py"


rule encode_text:
    """One pass of a language's sentences through the text encoder."""
    message:
        "encode: text of {wildcards.lang} through the text encoder"
    input:
        MODEL_FETCHED,
        corpus=RUN.corpus("{lang}"),
    output:
        encoder_store("text", "{lang}"),
    log:
        RUN.log("encode/text/{lang}"),
    benchmark:
        RUN.benchmark("encode/text/{lang}")
    conda:
        ENVS / "torch.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
        gpu=GPUS,
    params:
        code=made_with(
            code_digest("recording.encode", script="encode"), "torch", "torch", "transformers"
        ),
        model=MODEL,
        modality="text",
        dtype=CONFIG.store.dtype,
    script:
        "../scripts/encode.py"
