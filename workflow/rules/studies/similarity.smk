# In: encoder and decoder stores (their hidden states), and lengths from corpus/ and speech/. Out:
# similarity/*.csv: how alike languages and modalities are represented, layer by layer.

from steplens.languages.resource_levels import load_levels

LEVEL_OF = {lang: level for lang, level in load_levels().items() if lang in LANGUAGES}
SIMILARITY_SETTINGS = {
    "variance": CONFIG.similarity.variance,
    "sentences_per_component": CONFIG.similarity.sentences_per_component,
    "shuffles": CONFIG.similarity.shuffles,
    "seed": CONFIG.seed,
}


rule similarity_encoders:
    """Compare all languages and modalities at every encoder layer and after the length adapter."""
    message:
        "similarity: speech and text of all languages, encoder layer by layer"
    input:
        stores_speech=[encoder_store("speech", lang) for lang in LANGUAGES],
        stores_text=[encoder_store("text", lang) for lang in LANGUAGES],
        corpora=[RUN.corpus(lang) for lang in LANGUAGES],
        speech=[RUN.speech(lang) for lang in LANGUAGES],
        left_out=LEFT_OUT,
    output:
        RUN.encoder_similarity,
    log:
        RUN.log("similarity/encoder"),
    benchmark:
        RUN.benchmark("similarity/encoder")
    conda:
        ENVS / "analysis.yaml"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        **told_apart(
            settings=SIMILARITY_SETTINGS,
            length_bins=CONFIG.similarity.length_bins,
        ),
        code=code_digest("studies.similarity.measure", script="studies/similarity"),
        languages=LANGUAGES,
        condition={"module": "encoder"},
    script:
        "../../scripts/studies/similarity.py"


rule similarity_decoder:
    """Compare all languages and modalities at every decoder layer, for a pair of tasks at one step."""
    message:
        "similarity: {wildcards.task} and its twin in text, decoder at step {wildcards.tt}"
    input:
        stores_speech=lambda wildcards: [
            decoder_store(wildcards.task, lang, wildcards.tt) for lang in LANGUAGES
        ],
        stores_text=lambda wildcards: [
            decoder_store(TEXT_TWIN[wildcards.task], lang, wildcards.tt) for lang in LANGUAGES
        ],
        left_out=LEFT_OUT,
    output:
        RUN.decoder_similarity("{task}", "{tt}"),
    log:
        RUN.log("similarity/decoder/{task}/step-{tt}"),
    benchmark:
        RUN.benchmark("similarity/decoder/{task}/step-{tt}")
    wildcard_constraints:
        task="|".join(TEXT_TWIN),
    conda:
        ENVS / "analysis.yaml"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        **told_apart(settings=SIMILARITY_SETTINGS),
        code=code_digest("studies.similarity.measure", script="studies/similarity"),
        languages=LANGUAGES,
        condition=lambda wildcards: {
            "module": "decoder",
            "tasks": (wildcards.task, TEXT_TWIN[wildcards.task]),
        },
    script:
        "../../scripts/studies/similarity.py"


rule similarity_tables:
    """Gaps by layer, by length and by resource level, and the tree of languages (figures 16 and 17)."""
    message:
        "similarity: gaps, and the tree of languages"
    input:
        parts=[
            RUN.encoder_similarity,
            *(RUN.decoder_similarity(task, step) for task in TEXT_TWIN for step in STEPS),
        ],
    output:
        **{name: RUN.study_table("similarity", name) for name in SIMILARITY_TABLES},
    log:
        RUN.log("similarity/tables"),
    benchmark:
        RUN.benchmark("similarity/tables")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        **told_apart(
            n_resamples=CONFIG.similarity.resamples,
            seed=CONFIG.seed,
            level_of=LEVEL_OF,
        ),
        parts=[
            ("encoder", "", None),
            *(
                ("decoder", f"{task}_{TEXT_TWIN[task]}", step)
                for task in TEXT_TWIN
                for step in STEPS
            ),
        ],
        code=code_digest("studies.similarity.tables", script="studies/similarity_tables"),
    script:
        "../../scripts/studies/similarity_tables.py"


STUDIES["similarity"] = [
    RUN.study_table("similarity", name) for name in SIMILARITY_TABLES if name != "pairs"
]
FIGURES |= {
    16: Drawing(
        "studies.similarity.figures:figure16", {"gaps_csv": RUN.study_table("similarity", "gaps")}
    ),
    17: Drawing(
        "studies.similarity.figures:figure17",
        {"languages_csv": RUN.study_table("similarity", "languages")},
    ),
}
