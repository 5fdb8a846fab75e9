# In: asr rankings, steered outputs, rankings of s2t and t2t. Out: tie_sensitivity/*.csv, how far control rates,
# effect ratios and the diagonal ratio move when ties of AP are broken in another way. Target:
# tie_sensitivity; nothing else of the run needs it.


rule steer_ties:
    """Generate under every way to break ties; what rule steer wrote, and what two ways share, is not done again."""
    message:
        "ties: {wildcards.task} of {wildcards.lang} under every way to break ties"
    input:
        MODEL_FETCHED,
        rankings=[decoder_ranking(IDENTIFICATION_TASK, step) for step in STEPS],
        steered=[RUN.steered_texts("{task}", "{lang}", step) for step in STEPS],
        encoder=task_encoder_store,
    output:
        RUN.tie_texts("{task}", "{lang}"),
    log:
        RUN.log("tie_sensitivity/{task}/{lang}"),
    benchmark:
        RUN.benchmark("tie_sensitivity/{task}/{lang}")
    wildcard_constraints:
        task="|".join(STEERED_TASKS),
        lang="|".join(TARGETS),
    conda:
        ENVS / "torch.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=240,
        gpu=GPUS,
    params:
        **told_apart(
            selection=SELECTION,
            steps=STEPS,
            k=CONFIG.steering.k,
            n_utterances=CONFIG.steering.n_utterances,
            max_new_tokens=CONFIG.decoding.max_new_tokens,
        ),
        targets=lambda wildcards: TARGETS[wildcards.lang],
        code=made_with(
            code_digest("steering.steer_ties", script="steer_ties"),
            "torch",
            "torch",
            "transformers",
        ),
        model=MODEL,
    script:
        "../scripts/steer_ties.py"


rule tie_sensitivity:
    """The range of rates and ratios over every way to break ties."""
    message:
        "ties: how far results move when ties are broken in another way: {output[0]}"
    input:
        texts=[RUN.tie_texts(*key) for key in UNSTEERED],
        speech=[decoder_ranking("s2t", step) for step in STEPS],
        text=[decoder_ranking("t2t", step) for step in STEPS],
        left_out=LEFT_OUT,
    output:
        [RUN.tie_table(name) for name in TIE_TABLES],
    log:
        RUN.log("tie_sensitivity/summarize"),
    benchmark:
        RUN.benchmark("tie_sensitivity/summarize")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        **told_apart(
            selection=SELECTION,
            steps=STEPS,
            k=CONFIG.comparison.k,
            min_source_rate=CONFIG.steering.min_source_rate,
            rate_tokens=CONFIG.steering.rate_tokens,
        ),
        texts=UNSTEERED,
        code=code_digest("steering.tie_sensitivity", script="tie_sensitivity"),
    script:
        "../scripts/tie_sensitivity.py"
