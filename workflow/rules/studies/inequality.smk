# In: encoder/ and decoder/ stores. Out: inequality/…: how much of an utterance's activation few neurons
# carry, measured store by store and then summarised (figures 14 and 15).


rule measure_inequality:
    """Gini coefficients and Lorenz curve of every utterance of one decoder store."""
    message:
        "inequality: {wildcards.task}, {wildcards.lang} at step {wildcards.tt}"
    input:
        decoder_store("{task}", "{lang}", "{tt}"),
    output:
        RUN.decoder_inequality("{task}", "{lang}", "{tt}"),
    log:
        RUN.log("inequality/decoder/{task}/{lang}/step-{tt}"),
    benchmark:
        RUN.benchmark("inequality/decoder/{task}/{lang}/step-{tt}")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=code_digest("studies.inequality.measure", script="studies/inequality_measure"),
        include_step_invariant=CONFIG.ranking.include_step_invariant,
        condition=lambda wildcards: {
            "module": "decoder",
            "task": wildcards.task,
            "language": wildcards.lang,
            "step": int(wildcards.tt),
        },
    script:
        "../../scripts/studies/inequality_measure.py"


use rule measure_inequality as measure_inequality_encoder with:
    message:
        "inequality: {wildcards.modality} encoder, {wildcards.lang}"
    input:
        encoder_store("{modality}", "{lang}"),
    output:
        RUN.encoder_inequality("{modality}", "{lang}"),
    log:
        RUN.log("inequality/encoder/{modality}/{lang}"),
    benchmark:
        RUN.benchmark("inequality/encoder/{modality}/{lang}")
    params:
        include_step_invariant=True,  # an encoder has none
        condition=lambda wildcards: {
            "module": f"{wildcards.modality}_encoder",
            "modality": wildcards.modality,
            "language": wildcards.lang,
        },


rule summarize_inequality:
    """Means with intervals, by script, and the paired tests of speech against text."""
    message:
        "inequality: intervals and paired tests"
    input:
        measured=[
            *(
                RUN.encoder_inequality(one, lang)
                for one in ("speech", "text")
                for lang in LANGUAGES
            ),
            *(
                RUN.decoder_inequality(task, lang, step)
                for task in TASKS
                for step in STEPS
                for lang in LANGUAGES
            ),
        ],
        left_out=LEFT_OUT,
    output:
        **{name: RUN.study_table("inequality", name) for name in INEQUALITY_TABLES},
    log:
        RUN.log("inequality/summarize"),
    benchmark:
        RUN.benchmark("inequality/summarize")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        **told_apart(n_resamples=CONFIG.inequality.resamples, seed=CONFIG.seed),
        code=code_digest("studies.inequality.summary", script="studies/inequality_summarize"),
        scripts={lang: LANGUAGE[lang].script for lang in LANGUAGES},
    script:
        "../../scripts/studies/inequality_summarize.py"


STUDIES["inequality"] = [
    RUN.study_table("inequality", name)
    for name in INEQUALITY_TABLES
    if name != "lorenz"  # for figure 15 alone
]
FIGURES[14] = Drawing(
    "studies.inequality.figures:figure14", {"gini_csv": RUN.study_table("inequality", "gini")}
)
FIGURES[15] = Drawing(
    "studies.inequality.figures:figure15",
    {
        name: RUN.study_table("inequality", name.removesuffix("_csv"))
        for name in ("lorenz_csv", "paired_csv")
    },
)
