"""The four tasks: what each hears or reads, and what it is asked to write."""

MODALITY_OF = {"s2t": "speech", "t2t": "text", "asr": "speech", "tr": "text"}
TRANSLATIONS = ("s2t", "t2t")  # into the output language; the others keep the source language
TASKS = tuple(MODALITY_OF)
REPRESENTATION_TASKS = TRANSLATIONS  # one output language: what differs is the source
STEERED_TASKS = ("asr", "tr")
IDENTIFICATION_TASK = "asr"  # whose rankings give the control neurons


def target_of(task: str, language: str, output_language: str) -> str:
    """The language that a task asks for, given the source language."""
    return output_language if task in TRANSLATIONS else language
