# In: all languages' stores of one condition. Out: ranking/…, AP and medians of every neuron for every
# language (D5), in one pass.


rule rank_encoder:
    """Rank the neurons of one encoder."""
    message:
        "rank: {wildcards.encoder}"
    input:
        stores=lambda wildcards: [
            encoder_store(wildcards.encoder.removesuffix("_encoder"), lang) for lang in LANGUAGES
        ],
        left_out=LEFT_OUT,
    output:
        encoder_ranking("{encoder}"),
    log:
        RUN.log("rank/{encoder}"),
    benchmark:
        RUN.benchmark("rank/{encoder}")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code_digest("ranking.rank_condition", script="rank"),
        languages=LANGUAGES,
        include_step_invariant=True,  # an encoder has none
    script:
        "../scripts/rank.py"


rule rank_decoder:
    """Rank the neurons of the decoder for one task at one step."""
    message:
        "rank: decoder, {wildcards.task} at step {wildcards.tt}"
    input:
        stores=lambda wildcards: [
            decoder_store(wildcards.task, lang, wildcards.tt) for lang in LANGUAGES
        ],
        left_out=LEFT_OUT,
    output:
        decoder_ranking("{task}", "{tt}"),
    log:
        RUN.log("rank/decoder/{task}/step-{tt}"),
    benchmark:
        RUN.benchmark("rank/decoder/{task}/step-{tt}")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code_digest("ranking.rank_condition", script="rank"),
        languages=LANGUAGES,
        include_step_invariant=CONFIG.ranking.include_step_invariant,
    script:
        "../scripts/rank.py"
