# In: names and revisions on the Hugging Face hub. Out: FLEURS's files and a list of each model's, under
# resources/fetched/. With local folders in the config, nothing. These rules run where Snakemake runs.

from steplens.speech.engines.xtts_files import FILES as XTTS_FILES


localrules:
    fetch,


WANTED_OF_FLEURS = [
    *(split_file(FLEURS, one, split) for one in FLEURS_LANGUAGES for split in SPLITS),
    *(archive_file(FLEURS, one, split) for one in RECORDED_LANGUAGES for split in SPLITS),
]


rule fetch:
    """Everything that this configuration needs from the network, and no job that computes."""
    input:
        # Snakemake has no way to say that braces in a folder's name are no wildcards. What is there
        # already, check_corpus has seen.
        [] if "{" in str(FLEURS) else WANTED_OF_FLEURS,
        MODEL_FETCHED,
        XTTS_FETCHED if "xtts" in CONFIG.engines_in_use else [],


# A local folder, and be it a copy of what was fetched, is no output of these rules.
if FROM_HUB:

    localrules:
        fetch_sentences,
        fetch_recordings,

    rule fetch_sentences:
        """The sentences of one language and split."""
        message:
            "fetch: sentences {wildcards.fleurs}, {wildcards.split}"
        output:
            FLEURS / "data" / "{fleurs}" / "{split}.tsv",
        log:
            RUN.log("fetch/{fleurs}-{split}"),
        conda:
            ENVS / "analysis.yaml"
        params:
            what="fetch_sentences",
            repository=CONFIG.corpus.path,
            revision=CONFIG.corpus.revision,
            options=lambda wildcards: {
                "name": f"data/{wildcards.fleurs}/{wildcards.split}.tsv",
            },
        script:
            "../scripts/fetch.py"

    rule fetch_recordings:
        """The recordings of one language and split."""
        message:
            "fetch: recordings {wildcards.fleurs}, {wildcards.split}"
        output:
            FLEURS / "data" / "{fleurs}" / "audio" / "{split}.tar.gz",
        log:
            RUN.log("fetch/{fleurs}-{split}-audio"),
        conda:
            ENVS / "analysis.yaml"
        params:
            what="fetch_recordings",
            repository=CONFIG.corpus.path,
            revision=CONFIG.corpus.revision,
            options=lambda wildcards: {
                "name": f"data/{wildcards.fleurs}/audio/{wildcards.split}.tar.gz",
            },
        script:
            "../scripts/fetch.py"


if MODEL_FETCHED:

    localrules:
        fetch_model,

    rule fetch_model:
        """The checkpoint under study, into the hub's cache."""
        message:
            "fetch: {CONFIG.model.path}"
        output:
            fetched_list(CONFIG.model.path, CONFIG.model.revision),
        log:
            RUN.log("fetch/model"),
        conda:
            ENVS / "analysis.yaml"
        params:
            what="fetch_model",
            repository=CONFIG.model.path,
            revision=CONFIG.model.revision,
            options={
                "wanted": ["*.json", "*.model", "*.safetensors"],
                "required": ["config.json", "*.safetensors"],
            },
        script:
            "../scripts/fetch.py"


if XTTS_FETCHED:

    localrules:
        fetch_xtts,

    rule fetch_xtts:
        """The checkpoint of XTTS v2, into the hub's cache; only once its licence is accepted."""
        message:
            "fetch: {CONFIG.speech.xtts.path}"
        output:
            fetched_list(CONFIG.speech.xtts.path, CONFIG.speech.xtts.revision),
        log:
            RUN.log("fetch/xtts"),
        conda:
            ENVS / "analysis.yaml"
        params:
            what="fetch_model",
            repository=CONFIG.speech.xtts.path,
            revision=CONFIG.speech.xtts.revision,
            options={"wanted": list(XTTS_FILES), "required": list(XTTS_FILES)},
        script:
            "../scripts/fetch.py"
