# In: names of common.smk. Out: where the neighbouring studies keep what they make; nothing is run here.


def study_table(study, name):
    """A table of a study."""
    return RESULTS / study / f"{name}.csv"


def twin(task):
    """The task of the other modality that asks the same of the decoder."""
    return next(b if a == task else a for a, b in TEXT_TWIN.items() if task in (a, b))


def modality_ranking(task, step):
    """Commit mark of a ranking of a task's modality against that of its twin."""
    speech_task = task if task in TEXT_TWIN else twin(task)
    folder = RESULTS / "ranking" / "modality" / speech_task / f"step-{int(step):02d}"
    return folder / f"{MODALITY_OF[task]}.zarr" / "zarr.json"


def inequality_of(task, language, step):
    """What was measured of a decoder store."""
    folder = RESULTS / "inequality" / "decoder" / task / language
    return folder / f"step-{int(step):02d}.parquet"


def inequality_of_encoder(modality, language):
    """What was measured of an encoder store."""
    return RESULTS / "inequality" / "encoder" / modality / f"{language}.parquet"


def similarity_pairs(task=None, step=None):
    """Pairs of one condition: the encoders, or a task in speech and its twin in text at one step."""
    folder = RESULTS / "similarity" / "pairs"
    if task is None:
        return folder / "encoder.parquet"
    step = step if str(step).startswith("{") else f"{int(step):02d}"
    return folder / "decoder" / task / f"step-{step}.parquet"


def causal_texts(module, language, task):
    """Table of outputs with neurons of a module fixed."""
    return RESULTS / "causal" / "texts" / module / language / f"{task}.parquet"
