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
            OTHER.speech("{lang}"),
        log:
            RUN.log("other_speech/speech/{lang}"),
        benchmark:
            RUN.benchmark("other_speech/speech/{lang}")
        wildcard_constraints:
            lang="|".join(LANGUAGES),
        params:
            first_attempts=other_resynthesis,


if CONFIG.speech.other_engine == "xtts":

    use rule speech_xtts as other_speech_xtts with:
        output:
            OTHER.speech("{lang}"),
        log:
            RUN.log("other_speech/speech/{lang}"),
        benchmark:
            RUN.benchmark("other_speech/speech/{lang}")
        wildcard_constraints:
            lang="|".join(LANGUAGES),
        params:
            first_attempts=other_resynthesis,


if CONFIG.speech.other_engine == "recorded":

    use rule speech_recorded as other_speech_recorded with:
        output:
            OTHER.speech("{lang}"),
        log:
            RUN.log("other_speech/speech/{lang}"),
        benchmark:
            RUN.benchmark("other_speech/speech/{lang}")
        wildcard_constraints:
            lang="|".join(LANGUAGES),
        params:
            first_attempts=other_resynthesis,


use rule encode_speech as other_encode_speech with:
    input:
        MODEL_FETCHED,
        corpus=RUN.corpus("{lang}"),
        speech=OTHER.speech("{lang}"),
    output:
        encoder_store("speech", "{lang}", OTHER),
    log:
        RUN.log("other_speech/encode/{lang}"),
    benchmark:
        RUN.benchmark("other_speech/encode/{lang}")


use rule decode as other_decode with:
    input:
        MODEL_FETCHED,
        encoder=encoder_store("speech", "{lang}", OTHER),
    output:
        OTHER.decoding("{task}", "{lang}"),
    log:
        RUN.log("other_speech/decode/{task}/{lang}"),
    benchmark:
        RUN.benchmark("other_speech/decode/{task}/{lang}")
    wildcard_constraints:
        task="|".join(SPEECH_TASKS),


use rule capture as other_capture with:
    input:
        MODEL_FETCHED,
        encoder=encoder_store("speech", "{lang}", OTHER),
        decoding=OTHER.decoding("{task}", "{lang}"),
    output:
        decoder_store("{task}", "{lang}", "{tt}", OTHER),
    log:
        RUN.log("other_speech/capture/{task}/{lang}/step-{tt}"),
    benchmark:
        RUN.benchmark("other_speech/capture/{task}/{lang}/step-{tt}")
    wildcard_constraints:
        task="|".join(SPEECH_TASKS),


use rule speech_quality as other_speech_quality with:
    input:
        corpora=[RUN.corpus(lang) for lang in LANGUAGES],
        speech=[OTHER.speech(lang) for lang in LANGUAGES],
        decodings=[OTHER.decoding(IDENTIFICATION_TASK, lang) for lang in LANGUAGES],
    output:
        OTHER_LEFT_OUT,
    log:
        RUN.log("other_speech/speech_quality"),
    benchmark:
        RUN.benchmark("other_speech/speech_quality")


use rule rank_encoder as other_rank_encoder with:
    input:
        stores=[encoder_store("speech", lang, OTHER) for lang in LANGUAGES],
        left_out=OTHER_LEFT_OUT,
    output:
        encoder_ranking("{encoder}", OTHER),
    log:
        RUN.log("other_speech/rank/{encoder}"),
    benchmark:
        RUN.benchmark("other_speech/rank/{encoder}")
    wildcard_constraints:
        encoder="speech_encoder",


use rule rank_decoder as other_rank_decoder with:
    input:
        stores=lambda wildcards: [
            decoder_store(wildcards.task, lang, wildcards.tt, OTHER) for lang in LANGUAGES
        ],
        left_out=OTHER_LEFT_OUT,
    output:
        decoder_ranking("{task}", "{tt}", OTHER),
    log:
        RUN.log("other_speech/rank/decoder/{task}/step-{tt}"),
    benchmark:
        RUN.benchmark("other_speech/rank/decoder/{task}/step-{tt}")
    wildcard_constraints:
        task="|".join(SPEECH_TASKS),


use rule resynthesise as other_resynthesise with:
    input:
        OTHER_LEFT_OUT,
    log:
        RUN.log("other_speech/resynthesise"),
    params:
        folder=str(OTHER.folder("speech")),


rule compare_sources:
    """Two sources of speech, and text, at one step."""
    message:
        "compare: sources of speech, {wildcards.task} at step {wildcards.tt}"
    input:
        rankings=lambda wildcards: [
            decoder_ranking(wildcards.task, wildcards.tt),
            decoder_ranking(wildcards.task, wildcards.tt, OTHER),
            decoder_ranking(TEXT_TWIN[wildcards.task], wildcards.tt),
        ],
        stores=lambda wildcards: [
            decoder_store(task, lang, wildcards.tt, run)
            for run, task in (
                (RUN, wildcards.task),
                (OTHER, wildcards.task),
                (RUN, TEXT_TWIN[wildcards.task]),
            )
            for lang in LANGUAGES
        ],
        left_out=[LEFT_OUT, OTHER_LEFT_OUT, LEFT_OUT],
    output:
        summary=RUN.decoder_sources("summary", "{task}", "{tt}"),
        overlap=RUN.decoder_sources("overlap", "{task}", "{tt}"),
    log:
        RUN.log("compare/speech_sources/{task}/step-{tt}"),
    benchmark:
        RUN.benchmark("compare/speech_sources/{task}/step-{tt}")
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
            encoder_ranking("speech_encoder", OTHER),
        ],
        stores=[encoder_store("speech", lang, run) for run in (RUN, OTHER) for lang in LANGUAGES],
        left_out=[LEFT_OUT, OTHER_LEFT_OUT],
    output:
        summary=RUN.encoder_sources("summary", "speech_encoder"),
        overlap=RUN.encoder_sources("overlap", "speech_encoder"),
    log:
        RUN.log("compare/speech_sources/speech_encoder"),
    benchmark:
        RUN.benchmark("compare/speech_sources/speech_encoder")
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
            RUN.encoder_sources(sources_table(wildcards), "speech_encoder"),
            *(
                RUN.decoder_sources(sources_table(wildcards), task, step)
                for task in SPEECH_TASKS
                for step in STEPS
            ),
        ],
    output:
        RUN.comparison_table("speech_sources{end}"),
    log:
        RUN.log("compare/speech_sources{end}"),
    benchmark:
        RUN.benchmark("compare/speech_sources{end}")
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
        sources_csv=RUN.comparison_table("speech_sources"),
    output:
        svg=RUN.figure(10, "svg"),
        png=RUN.figure(10, "png"),
    log:
        RUN.log("figures/figure10"),
    benchmark:
        RUN.benchmark("figures/figure10")
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
