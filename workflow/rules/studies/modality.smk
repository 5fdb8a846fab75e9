# In: stores and rankings. Out: ranking/modality/…, AP of every neuron for speech and for text, and
# modality/*.csv: where such neurons lie, which of them tell a language too, and how well each layer tells
# the language.


rule rank_modality:
    """Rank the decoder's neurons by how well they tell speech from text, for a pair of tasks at one step."""
    message:
        "modality: ranking neurons, {wildcards.task} and its twin in text at step {wildcards.tt}"
    input:
        stores_speech=lambda wildcards: [
            decoder_store(wildcards.task, lang, wildcards.tt) for lang in LANGUAGES
        ],
        stores_text=lambda wildcards: [
            decoder_store(TEXT_TWIN[wildcards.task], lang, wildcards.tt) for lang in LANGUAGES
        ],
        left_out=LEFT_OUT,
    output:
        **{
            modality: written_last(RUN.modality_ranking("{task}", "{tt}", modality))
            for modality in ("speech", "text")
        },
    log:
        RUN.log("modality/rank/{task}/step-{tt}"),
    benchmark:
        RUN.benchmark("modality/rank/{task}/step-{tt}")
    wildcard_constraints:
        task="|".join(TEXT_TWIN),
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code_digest("studies.modality.ranking", script="studies/rank_modality"),
        languages=LANGUAGES,
        include_step_invariant=CONFIG.ranking.include_step_invariant,
        twin=lambda wildcards: TEXT_TWIN[wildcards.task],
    script:
        "../../scripts/studies/rank_modality.py"


rule modality_tables:
    """How many neurons tell the modality, where they lie, and which are among a language's (figure 12)."""
    message:
        "modality: where the neurons lie"
    input:
        modality=[modality_ranking(task, step) for task in TASKS for step in STEPS],
        language=[decoder_ranking(task, step) for task in TASKS for step in STEPS],
    output:
        **{name: RUN.study_table("modality", name) for name in MODALITY_TABLES},
    log:
        RUN.log("modality/tables"),
    benchmark:
        RUN.benchmark("modality/tables")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        selection=SELECTION,
        code=code_digest("studies.modality.tables", script="studies/modality_tables"),
        k=CONFIG.modality.k,
        conditions=[(task, step) for task in TASKS for step in STEPS],
    script:
        "../../scripts/studies/modality_tables.py"


rule probe_encoder:
    """How well each layer of an encoder tells the language."""
    message:
        "modality: probing the {wildcards.encoder}"
    input:
        stores=lambda wildcards: [
            encoder_store(wildcards.encoder.removesuffix("_encoder"), lang) for lang in LANGUAGES
        ],
        ranking=encoder_ranking("{encoder}"),
        left_out=LEFT_OUT,
    output:
        RUN.encoder_probes("{encoder}"),
    log:
        RUN.log("modality/probes/{encoder}"),
    benchmark:
        RUN.benchmark("modality/probes/{encoder}")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        **told_apart(
            folds=CONFIG.modality.folds,
            regularisation=CONFIG.modality.regularisation,
            seed=CONFIG.seed,
        ),
        code=made_with(
            code_digest("studies.modality.probes", script="studies/probe"),
            "analysis",
            "scikit-learn",
            "scipy",
        ),
        languages=LANGUAGES,
    script:
        "../../scripts/studies/probe.py"


use rule probe_encoder as probe_decoder with:
    message:
        "modality: probing the decoder, {wildcards.task} at step {wildcards.tt}"
    input:
        stores=lambda wildcards: [
            decoder_store(wildcards.task, lang, wildcards.tt) for lang in LANGUAGES
        ],
        ranking=decoder_ranking("{task}", "{tt}"),
        left_out=LEFT_OUT,
    output:
        RUN.decoder_probes("{task}", "{tt}"),
    log:
        RUN.log("modality/probes/{task}/step-{tt}"),
    benchmark:
        RUN.benchmark("modality/probes/{task}/step-{tt}")


rule gather_probes:
    """One CSV of all probes (figure 13)."""
    message:
        "modality: gathering the probes"
    input:
        [
            *(RUN.encoder_probes(f"{modality}_encoder") for modality in ("speech", "text")),
            *(RUN.decoder_probes(task, step) for task in TASKS for step in STEPS),
        ],
    output:
        RUN.study_table("modality", "probes"),
    log:
        RUN.log("modality/gather"),
    benchmark:
        RUN.benchmark("modality/gather")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        code=code_digest("files.gathering", script="gather"),
        parts=settings_of_parts(rules.probe_encoder),
    script:
        "../../scripts/gather.py"


STUDIES["modality"] = [RUN.study_table("modality", name) for name in (*MODALITY_TABLES, "probes")]
FIGURES |= {
    12: Drawing(
        "studies.modality.figures:figure12",
        {"location_csv": RUN.study_table("modality", "location")},
    ),
    13: Drawing(
        "studies.modality.figures:figure13", {"probes_csv": RUN.study_table("modality", "probes")}
    ),
}
