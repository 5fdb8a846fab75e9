# In: the corpus, spoken a second time by speech.other_engine. Out: other_speech/…, the speech half of the
# run once more, and comparison/speech_sources.csv: what the two voices and text share. Target:
# compare_speech; nothing else of the run needs it.


localrules:
    compare_speech,
    other_resynthesise,


rule compare_speech:
    """Synthetic against natural speech: every condition, and the figure."""
    input:
        compared_speech,


if CONFIG.speech.other_engine == "espeak":

    use rule speech_espeak as other_speech_espeak with:
        output:
            OTHER / "speech" / "{lang}.parquet",
        log:
            log_of("other_speech/speech/{lang}"),
        benchmark:
            benchmark_of("other_speech/speech/{lang}")
        wildcard_constraints:
            lang="|".join(LANGUAGES),
        params:
            first_attempts=other_resynthesis,


if CONFIG.speech.other_engine == "xtts":

    use rule speech_xtts as other_speech_xtts with:
        output:
            OTHER / "speech" / "{lang}.parquet",
        log:
            log_of("other_speech/speech/{lang}"),
        benchmark:
            benchmark_of("other_speech/speech/{lang}")
        wildcard_constraints:
            lang="|".join(LANGUAGES),
        params:
            first_attempts=other_resynthesis,


if CONFIG.speech.other_engine == "recorded":

    use rule speech_recorded as other_speech_recorded with:
        output:
            OTHER / "speech" / "{lang}.parquet",
        log:
            log_of("other_speech/speech/{lang}"),
        benchmark:
            benchmark_of("other_speech/speech/{lang}")
        wildcard_constraints:
            lang="|".join(LANGUAGES),
        params:
            first_attempts=other_resynthesis,


use rule encode_speech as other_encode_speech with:
    input:
        MODEL_FETCHED,
        corpus=corpus("{lang}"),
        speech=OTHER / "speech" / "{lang}.parquet",
    output:
        OTHER / "encoder" / "speech" / "{lang}.zarr" / "zarr.json",
    log:
        log_of("other_speech/encode/{lang}"),
    benchmark:
        benchmark_of("other_speech/encode/{lang}")


use rule decode as other_decode with:
    input:
        MODEL_FETCHED,
        encoder=OTHER / "encoder" / "speech" / "{lang}.zarr" / "zarr.json",
    output:
        OTHER / "decoding" / "{task}" / "{lang}.parquet",
    log:
        log_of("other_speech/decode/{task}/{lang}"),
    benchmark:
        benchmark_of("other_speech/decode/{task}/{lang}")
    wildcard_constraints:
        task="|".join(SPEECH_TASKS),


use rule capture as other_capture with:
    input:
        MODEL_FETCHED,
        encoder=OTHER / "encoder" / "speech" / "{lang}.zarr" / "zarr.json",
        decoding=OTHER / "decoding" / "{task}" / "{lang}.parquet",
    output:
        OTHER / "decoder" / "{task}" / "{lang}" / "step-{tt}.zarr" / "zarr.json",
    log:
        log_of("other_speech/capture/{task}/{lang}/step-{tt}"),
    benchmark:
        benchmark_of("other_speech/capture/{task}/{lang}/step-{tt}")
    wildcard_constraints:
        task="|".join(SPEECH_TASKS),


use rule speech_quality as other_speech_quality with:
    input:
        corpora=[corpus(lang) for lang in LANGUAGES],
        speech=[OTHER / "speech" / f"{lang}.parquet" for lang in LANGUAGES],
        decodings=[
            OTHER / "decoding" / IDENTIFICATION_TASK / f"{lang}.parquet" for lang in LANGUAGES
        ],
    output:
        OTHER_LEFT_OUT,
    log:
        log_of("other_speech/speech_quality"),
    benchmark:
        benchmark_of("other_speech/speech_quality")


use rule rank_encoder as other_rank_encoder with:
    input:
        stores=[OTHER / "encoder" / "speech" / f"{lang}.zarr" / "zarr.json" for lang in LANGUAGES],
        left_out=OTHER_LEFT_OUT,
    output:
        OTHER / "ranking" / "{encoder}.zarr" / "zarr.json",
    log:
        log_of("other_speech/rank/{encoder}"),
    benchmark:
        benchmark_of("other_speech/rank/{encoder}")
    wildcard_constraints:
        encoder="speech_encoder",


use rule rank_decoder as other_rank_decoder with:
    input:
        stores=lambda wildcards: [
            OTHER / decoder_store(wildcards.task, lang, wildcards.tt).relative_to(RESULTS)
            for lang in LANGUAGES
        ],
        left_out=OTHER_LEFT_OUT,
    output:
        OTHER / "ranking" / "decoder" / "{task}" / "step-{tt}.zarr" / "zarr.json",
    log:
        log_of("other_speech/rank/decoder/{task}/step-{tt}"),
    benchmark:
        benchmark_of("other_speech/rank/decoder/{task}/step-{tt}")
    wildcard_constraints:
        task="|".join(SPEECH_TASKS),


use rule resynthesise as other_resynthesise with:
    input:
        OTHER_LEFT_OUT,
    log:
        log_of("other_speech/resynthesise"),
    params:
        folder=str(OTHER / "speech"),


rule compare_sources:
    """Two sources of speech, and text, at one step."""
    message:
        "compare: sources of speech, {wildcards.task} at step {wildcards.tt}"
    input:
        rankings=lambda wildcards: [
            decoder_ranking(wildcards.task, wildcards.tt),
            OTHER / decoder_ranking(wildcards.task, wildcards.tt).relative_to(RESULTS),
            decoder_ranking(TEXT_TWIN[wildcards.task], wildcards.tt),
        ],
        stores=lambda wildcards: [
            folder / decoder_store(task, lang, wildcards.tt).relative_to(RESULTS)
            for folder, task in (
                (RESULTS, wildcards.task),
                (OTHER, wildcards.task),
                (RESULTS, TEXT_TWIN[wildcards.task]),
            )
            for lang in LANGUAGES
        ],
        left_out=[LEFT_OUT, OTHER_LEFT_OUT, LEFT_OUT],
    output:
        summary=sources_table("summary", "{task}", "{tt}"),
        overlap=sources_table("overlap", "{task}", "{tt}"),
    log:
        log_of("compare/speech_sources/{task}/step-{tt}"),
    benchmark:
        benchmark_of("compare/speech_sources/{task}/step-{tt}")
    wildcard_constraints:
        task="|".join(SPEECH_TASKS),
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        **told_apart(
            selection=SELECTION,
            k=CONFIG.comparison.k,
            n_resamples=CONFIG.comparison.resamples,
            seed=CONFIG.seed,
        ),
        code=code_digest("comparison.speech_sources", script="compare_sources"),
        languages=LANGUAGES,
        sources=[CONFIG.speech.engine, str(CONFIG.speech.other_engine), "text"],
        module="decoder",
        task=lambda wildcards: wildcards.task,
        step=lambda wildcards: int(wildcards.tt),
        include_step_invariant=CONFIG.ranking.include_step_invariant,
    script:
        "../scripts/compare_sources.py"


use rule compare_sources as compare_sources_encoder with:
    message:
        "compare: sources of speech in the speech encoder"
    input:
        rankings=[
            encoder_ranking("speech_encoder"),
            OTHER / encoder_ranking("speech_encoder").relative_to(RESULTS),
        ],
        stores=[
            folder / encoder_store("speech", lang).relative_to(RESULTS)
            for folder in (RESULTS, OTHER)
            for lang in LANGUAGES
        ],
        left_out=[LEFT_OUT, OTHER_LEFT_OUT],
    output:
        summary=sources_table("summary", "speech_encoder", "00"),
        overlap=sources_table("overlap", "speech_encoder", "00"),
    log:
        log_of("compare/speech_sources/speech_encoder"),
    benchmark:
        benchmark_of("compare/speech_sources/speech_encoder")
    params:
        sources=[CONFIG.speech.engine, str(CONFIG.speech.other_engine)],
        module="speech_encoder",
        task="",
        step=0,
        include_step_invariant=True,


rule gather_sources:
    """One CSV over all conditions."""
    message:
        "compare: gathering sources of speech"
    input:
        lambda wildcards: [
            sources_table("overlap" if wildcards.end else "summary", task, f"{step:02d}")
            for task, step in [
                ("speech_encoder", 0),
                *((task, step) for task in SPEECH_TASKS for step in STEPS),
            ]
        ],
    output:
        RESULTS / "comparison" / "speech_sources{end}.csv",
    log:
        log_of("compare/speech_sources{end}"),
    benchmark:
        benchmark_of("compare/speech_sources{end}")
    wildcard_constraints:
        end="|_overlap",
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        code=code_digest("files.gathering", script="gather"),
        parts=settings_of_parts(rules.compare_sources),
    script:
        "../scripts/gather.py"


rule figure_sources:
    """What the two sources of speech share with each other and with text."""
    message:
        "figures: drawing figure 10"
    input:
        sources_csv=RESULTS / "comparison" / "speech_sources.csv",
    output:
        svg=RESULTS / "figures" / "figure10.svg",
        png=RESULTS / "figures" / "figure10.png",
    log:
        log_of("figures/figure10"),
    benchmark:
        benchmark_of("figures/figure10")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_digest("figures.drawing", script="figure"),
        stage="figures.drawing:figure10",
    script:
        "../scripts/figure.py"
