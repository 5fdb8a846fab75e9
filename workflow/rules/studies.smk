# In: names of common.smk. Out: names that several studies share; nothing is run here.


def twin(task):
    """The task of the other modality that asks the same of the decoder."""
    return next(b if a == task else a for a, b in TEXT_TWIN.items() if task in (a, b))


def modality_ranking(task, step):
    """Commit mark of a ranking of a task's modality against that of its twin."""
    speech_task = task if task in TEXT_TWIN else twin(task)
    return written_last(RUN.modality_ranking(speech_task, step, MODALITY_OF[task]))
