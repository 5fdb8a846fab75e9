"""The four tasks: what each hears or reads, and what it is asked to write."""

MODALITY_OF = {"s2t": "speech", "t2t": "text", "asr": "speech", "tr": "text"}
TRANSLATIONS = ("s2t", "t2t")  # into the output language; the others keep the source language
TASKS = tuple(MODALITY_OF)
MODALITIES = ("speech", "text")
# Of a task in speech, the task in text that asks the same of the decoder.
TEXT_TWIN = {"s2t": "t2t", "asr": "tr"}
REPRESENTATION_TASKS = TRANSLATIONS  # one output language: what differs is the source
STEERED_TASKS = ("asr", "tr")
IDENTIFICATION_TASK = "asr"  # whose rankings give the control neurons
ALL = "all"  # in place of a language, layer, submodule or subset of sentences: all of them as one


def target_of(task: str, language: str, output_language: str) -> str:
    """The language that a task asks for, given the source language."""
    return output_language if task in TRANSLATIONS else language
