# In: encoder/<modality>/<language>.zarr, and corpus/ where text is read. Out: decoding/<task>/<language>.parquet, greedy output.


rule decode:
    """Greedy generation of one task from the stored states of one language."""
    message:
        "decode: {wildcards.task} of {wildcards.lang}"
    input:
        MODEL_FETCHED,
        encoder=task_encoder_store,
        corpus=read_by_task,
    output:
        RUN.decoding("{task}", "{lang}"),
    log:
        RUN.log("decode/{task}/{lang}"),
    benchmark:
        RUN.benchmark("decode/{task}/{lang}")
    conda:
        ENVS / "torch.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
        gpu=GPUS,
    params:
        code=made_with(
            code_digest("generation.decode", script="decode"), "torch", "torch", "transformers"
        ),
        model=MODEL,
        # asr and tr keep the source language: another output language leaves them alone.
        output_language=lambda wildcards: (
            CONFIG.output_language if wildcards.task in REPRESENTATION_TASKS else ""
        ),
        max_new_tokens=CONFIG.decoding.max_new_tokens,
    script:
        "../scripts/decode.py"
