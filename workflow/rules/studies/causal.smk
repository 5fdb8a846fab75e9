# In: rankings, encoder states, audio and sentences. Out: causal/texts/<module>/<language>/<task>.parquet,
# what is written with neurons fixed at medians that tell neither language nor modality apart, and
# causal/*.csv: what that does to the output. The decoder's modality neurons are those of study modality.

CAUSAL_STEP = CONFIG.causal.step or max(STEPS)
CAUSAL_TASKS = {
    "speech_encoder": SPEECH_TASKS,
    "text_encoder": list(TEXT_TWIN.values()),
    "decoder": list(TASKS),
}
CAUSAL_TEXTS = [
    (module, lang, task)
    for module, tasks in CAUSAL_TASKS.items()
    for task in tasks
    for lang in LANGUAGES
]
CAUSAL_TIES = RUN.study_table("causal", "ties")


rule causal_medians:
    """What the neurons of an encoder are fixed at: their medians over the utterances of all languages."""
    message:
        "causal: medians of the {wildcards.encoder}"
    input:
        stores=lambda wildcards: [
            encoder_store(wildcards.encoder.removesuffix("_encoder"), lang) for lang in LANGUAGES
        ],
        left_out=LEFT_OUT,
    output:
        written_last(RUN.causal_medians("{encoder}")),
    log:
        RUN.log("causal/medians/{encoder}"),
    benchmark:
        RUN.benchmark("causal/medians/{encoder}")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code_digest("studies.causal.medians", script="studies/causal_medians"),
        languages=LANGUAGES,
    script:
        "../../scripts/studies/causal_medians.py"


rule causal_decoder:
    """Generate with neurons of the decoder fixed, and with the controls.

    Outputs are kept in the folder .parts beside the tables: after a change, or when a job was stopped,
    only those that are not there are generated.
    """
    message:
        "causal: decoder, {wildcards.task} of {wildcards.lang}"
    input:
        MODEL_FETCHED,
        ranking=lambda wildcards: decoder_ranking(wildcards.task, CAUSAL_STEP),
        own_modality=lambda wildcards: modality_ranking(wildcards.task, CAUSAL_STEP),
        other_modality=lambda wildcards: modality_ranking(twin(wildcards.task), CAUSAL_STEP),
        encoder=task_encoder_store,
    output:
        RUN.causal_texts("decoder", "{lang}", "{task}"),
    log:
        RUN.log("causal/decoder/{lang}/{task}"),
    benchmark:
        RUN.benchmark("causal/decoder/{lang}/{task}")
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
            step=CAUSAL_STEP,
            ks=CONFIG.causal.ks,
            n_utterances=CONFIG.causal.n_utterances,
            n_random=CONFIG.causal.n_random,
            seed=CONFIG.seed,
            max_new_tokens=CONFIG.decoding.max_new_tokens,
        ),
        code=made_with(
            code_digest("studies.causal.decoder", script="studies/causal_decoder"),
            "torch",
            "torch",
            "transformers",
        ),
        model=MODEL,
        # asr and tr keep the source language: another output language leaves them alone.
        output_language=lambda wildcards: (
            CONFIG.output_language if wildcards.task in REPRESENTATION_TASKS else ""
        ),
    script:
        "../../scripts/studies/causal_decoder.py"


rule causal_speech_encoder:
    """Encode speech with neurons fixed, and decode the states for both tasks."""
    message:
        "causal: speech encoder, {wildcards.lang}"
    input:
        MODEL_FETCHED,
        ranking=encoder_ranking("speech_encoder"),
        medians=written_last(RUN.causal_medians("speech_encoder")),
        corpus=RUN.corpus("{lang}"),
        speech=RUN.speech("{lang}"),
    output:
        **{
            task: RUN.causal_texts("speech_encoder", "{lang}", task)
            for task in CAUSAL_TASKS["speech_encoder"]
        },
    log:
        RUN.log("causal/speech_encoder/{lang}"),
    benchmark:
        RUN.benchmark("causal/speech_encoder/{lang}")
    conda:
        ENVS / "torch.yaml"
    threads: 1
    resources:
        mem_mb=16000,
        runtime=240,
        gpu=GPUS,
    params:
        **told_apart(
            selection=SELECTION,
            ks=CONFIG.causal.ks,
            n_utterances=CONFIG.causal.n_utterances,
            n_random=CONFIG.causal.n_random,
            seed=CONFIG.seed,
            max_new_tokens=CONFIG.decoding.max_new_tokens,
            fixed_seconds=CONFIG.encoding.fixed_seconds,
        ),
        code=made_with(
            code_digest("studies.causal.encoder", script="studies/causal_encoder"),
            "torch",
            "torch",
            "torchaudio",
            "transformers",
        ),
        model=MODEL,
        modality="speech",
        output_language=CONFIG.output_language,
    script:
        "../../scripts/studies/causal_encoder.py"


use rule causal_speech_encoder as causal_text_encoder with:
    message:
        "causal: text encoder, {wildcards.lang}"
    input:
        MODEL_FETCHED,
        ranking=encoder_ranking("text_encoder"),
        medians=written_last(RUN.causal_medians("text_encoder")),
        corpus=RUN.corpus("{lang}"),
    output:
        **{
            task: RUN.causal_texts("text_encoder", "{lang}", task)
            for task in CAUSAL_TASKS["text_encoder"]
        },
    log:
        RUN.log("causal/text_encoder/{lang}"),
    benchmark:
        RUN.benchmark("causal/text_encoder/{lang}")
    params:
        **told_apart(
            selection=SELECTION,
            ks=CONFIG.causal.ks,
            n_utterances=CONFIG.causal.n_utterances,
            n_random=CONFIG.causal.n_random,
            seed=CONFIG.seed,
            max_new_tokens=CONFIG.decoding.max_new_tokens,
        ),
        code=made_with(
            code_digest("studies.causal.encoder", script="studies/causal_encoder"),
            "torch",
            "torch",
            "transformers",
        ),
        model=MODEL,
        modality="text",
        output_language=CONFIG.output_language,


rule summarize_causal:
    """Quality and language of every set of neurons, and what it has beyond random ones (figures 18, 19)."""
    message:
        "causal: effects and intervals"
    input:
        texts=[RUN.causal_texts(*key) for key in CAUSAL_TEXTS],
        unchanged=[RUN.decoding(task, lang) for task in TASKS for lang in LANGUAGES],
        corpora=[RUN.corpus(lang) for lang in LANGUAGES],
        references=fetched(REFERENCES),
        left_out=LEFT_OUT,
    output:
        **{name: RUN.study_table("causal", name) for name in CAUSAL_TABLES},
    log:
        RUN.log("causal/summarize"),
    benchmark:
        RUN.benchmark("causal/summarize")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        **told_apart(
            languages=LANGUAGES,
            splits=SPLITS,
            output_language=CONFIG.output_language,
            n_resamples=CONFIG.causal.resamples,
            seed=CONFIG.seed,
            degenerate_tokens=CONFIG.steering.degenerate_tokens,
        ),
        code=made_with(
            code_digest("studies.causal.summary", script="studies/causal_summarize"),
            "analysis",
            "sacrebleu",
        ),
        references=CONFIG.corpus.revision if FROM_HUB else files_digest(REFERENCES),
        texts=CAUSAL_TEXTS,
        unchanged=[(task, lang) for task in TASKS for lang in LANGUAGES],
    script:
        "../../scripts/studies/causal_summarize.py"


rule causal_ties:
    """How many of the neurons that are fixed a tie decided."""
    message:
        "causal: counting ties among the neurons"
    input:
        encoders=[encoder_ranking(f"{modality}_encoder") for modality in ("speech", "text")],
        by_language=[decoder_ranking(task, CAUSAL_STEP) for task in TASKS],
        by_modality=[modality_ranking(task, CAUSAL_STEP) for task in TASKS],
    output:
        CAUSAL_TIES,
    log:
        RUN.log("causal/ties"),
    benchmark:
        RUN.benchmark("causal/ties")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        **told_apart(selection=SELECTION, ks=CONFIG.causal.ks, step=CAUSAL_STEP),
        encoders=["speech_encoder", "text_encoder"],
        tasks=list(TASKS),
        code=code_digest("studies.causal.ties", script="studies/causal_ties"),
    script:
        "../../scripts/studies/causal_ties.py"


STUDIES["causal"] = [*(RUN.study_table("causal", name) for name in CAUSAL_TABLES), CAUSAL_TIES]
FIGURES |= {
    18: Drawing(
        "studies.causal.figures:figure18",
        {f"{name}_csv": RUN.study_table("causal", name) for name in ("effects", "by_language")},
    ),
    19: Drawing(
        "studies.causal.figures:figure19",
        {"by_language_csv": RUN.study_table("causal", "by_language")},
    ),
}
