# In: encoder states and decoded tokens. Out: decoder/<task>/<language>/step-<tt>.zarr, every decoder
# neuron at one decoding step (D3).


rule capture:
    """One teacher-forced pass over the decoded prefixes up to one step."""
    message:
        "capture: {wildcards.task} of {wildcards.lang} at step {wildcards.tt}"
    input:
        MODEL_FETCHED,
        encoder=task_encoder_store,
        decoding=RUN.decoding("{task}", "{lang}"),
    output:
        decoder_store("{task}", "{lang}", "{tt}"),
    log:
        RUN.log("capture/{task}/{lang}/step-{tt}"),
    benchmark:
        RUN.benchmark("capture/{task}/{lang}/step-{tt}")
    conda:
        ENVS / "torch.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
        gpu=GPUS,
    params:
        code=made_with(
            code_digest("recording.capture", script="capture"), "torch", "torch", "transformers"
        ),
        model=MODEL,
        output_language=lambda wildcards: (
            CONFIG.output_language if wildcards.task in REPRESENTATION_TASKS else ""
        ),
        dtype=CONFIG.store.dtype,
    script:
        "../scripts/capture.py"
