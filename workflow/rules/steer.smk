# In: asr rankings, encoder states, unsteered output. Out: steering/texts/… (every output of every
# intervention, D8) and steering/*.csv (rates, effects, ratios, language, quality; D10 to D12).

STEERING_TIES = RUN.steering_table("ties")
STEERED = [(task, lang, step) for task in STEERED_TASKS for lang in TARGETS for step in STEPS]
UNSTEERED = [(task, lang) for task in STEERED_TASKS for lang in TARGETS]


rule steer:
    """Generate with the neurons of every target language fixed, and with the controls, at all steps.

    Outputs are kept in the folder .parts beside the tables: after a change, or when a job was stopped,
    only those that are not there are generated.
    """
    message:
        "steer: {wildcards.task} of {wildcards.lang} with the neurons of every step"
    input:
        MODEL_FETCHED,
        rankings=[decoder_ranking(IDENTIFICATION_TASK, step) for step in STEPS],
        encoder=task_encoder_store,
    output:
        [RUN.steered_texts("{task}", "{lang}", step) for step in STEPS],
    log:
        RUN.log("steer/{task}/{lang}"),
    benchmark:
        RUN.benchmark("steer/{task}/{lang}")
    wildcard_constraints:
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
            n_random=CONFIG.steering.n_random,
            seed=CONFIG.seed,
            max_new_tokens=CONFIG.decoding.max_new_tokens,
        ),
        # Of this source alone: a pair of another one redoes nothing here.
        targets=lambda wildcards: TARGETS[wildcards.lang],
        code=made_with(
            code_digest("steering.steer", script="steer"), "torch", "torch", "transformers"
        ),
        model=MODEL,
    script:
        "../scripts/steer.py"


rule summarize_steering:
    """Rates, effects, ratios, language and quality of every condition, with intervals."""
    message:
        "steer: control rates and intervals"
    input:
        steered=[RUN.steered_texts(*key) for key in STEERED],
        unsteered=[RUN.decoding(*key) for key in UNSTEERED],
        left_out=LEFT_OUT,
    output:
        [RUN.steering_table(name) for name in STEERING_SUMMARIES],
    log:
        RUN.log("steer/summarize"),
    benchmark:
        RUN.benchmark("steer/summarize")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        **told_apart(
            n_resamples=CONFIG.steering.resamples,
            seed=CONFIG.seed,
            min_source_rate=CONFIG.steering.min_source_rate,
            degenerate_tokens=CONFIG.steering.degenerate_tokens,
            rate_tokens=CONFIG.steering.rate_tokens,
        ),
        code=code_digest("steering.summary", script="summarize_steering"),
        steered=STEERED,
        unsteered=UNSTEERED,
        written=[(LANGUAGE[lang].script, LANGUAGE[lang].fasttext) for lang in LANGUAGES],
    script:
        "../scripts/summarize_steering.py"


rule count_ties:
    """How many of each language's control neurons a tie decided."""
    message:
        "steer: counting ties among the control neurons"
    input:
        [decoder_ranking(IDENTIFICATION_TASK, step) for step in STEPS],
    output:
        STEERING_TIES,
    log:
        RUN.log("steer/count_ties"),
    benchmark:
        RUN.benchmark("steer/count_ties")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        **told_apart(selection=SELECTION, k=CONFIG.steering.k, steps=STEPS),
        code=code_digest("steering.tie_counts", script="count_ties"),
    script:
        "../scripts/count_ties.py"
