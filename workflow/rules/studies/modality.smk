# In: stores and rankings. Out: ranking/modality/…, AP of every neuron for speech and for text, and
# modality/*.csv: where such neurons lie, which of them tell a language too, and how well each layer tells
# the language.

MODALITY_TABLES = ("neurons", "location", "overlap")


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
            modality: RESULTS
            / "ranking"
            / "modality"
            / "{task}"
            / "step-{tt}"
            / f"{modality}.zarr"
            / "zarr.json"
            for modality in ("speech", "text")
        },
    log:
        log_of("modality/rank/{task}/step-{tt}"),
    benchmark:
        benchmark_of("modality/rank/{task}/step-{tt}")
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
        **{name: study_table("modality", name) for name in MODALITY_TABLES},
    log:
        log_of("modality/tables"),
    benchmark:
        benchmark_of("modality/tables")
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
        RESULTS / "modality" / "probes" / "{encoder}.csv",
    log:
        log_of("modality/probes/{encoder}"),
    benchmark:
        benchmark_of("modality/probes/{encoder}")
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
        ranking=RESULTS / "ranking" / "decoder" / "{task}" / "step-{tt}.zarr" / "zarr.json",
        left_out=LEFT_OUT,
    output:
        RESULTS / "modality" / "probes" / "{task}" / "step-{tt}.csv",
    log:
        log_of("modality/probes/{task}/step-{tt}"),
    benchmark:
        benchmark_of("modality/probes/{task}/step-{tt}")


rule gather_probes:
    """One CSV of all probes (figure 13)."""
    message:
        "modality: gathering the probes"
    input:
        [
            *(
                RESULTS / "modality" / "probes" / f"{modality}_encoder.csv"
                for modality in ("speech", "text")
            ),
            *(
                RESULTS / "modality" / "probes" / task / f"step-{step:02d}.csv"
                for task in TASKS
                for step in STEPS
            ),
        ],
    output:
        study_table("modality", "probes"),
    log:
        log_of("modality/gather"),
    benchmark:
        benchmark_of("modality/gather")
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


STUDIES["modality"] = [study_table("modality", name) for name in (*MODALITY_TABLES, "probes")]
FIGURES |= {
    12: Drawing(
        "studies.modality.figures:figure12", {"location_csv": study_table("modality", "location")}
    ),
    13: Drawing(
        "studies.modality.figures:figure13", {"probes_csv": study_table("modality", "probes")}
    ),
}
