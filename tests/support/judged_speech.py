"""Made-up takes and what is judged of them."""

import pandas as pd
from conftest import write_table

from steplens.speech.quality import judge_speech


def write_run(folder, spoken, language="deu", engine="xtts", attempts=0, available=None):
    """Corpus, speech and asr of one language; the three paths by what they are."""
    utterances = list(spoken)
    problem, unusable, text, recognised = (list(one) for one in zip(*spoken.values(), strict=True))
    n = len(utterances)
    frames = {
        "corpora": pd.DataFrame({"utterance": utterances, "text": text}),
        "spoken": pd.DataFrame(
            {
                "utterance": utterances, "engine": engine, "voice": "A", "attempt": attempts,
                "available": pd.array([available] * n, dtype="Int64"), "seed": 2**62, "origin": "1 part",
                "problem": problem, "unusable": unusable, "seconds": 2.0,
                "seconds_per_character": 0.1, "silent_share": 0.1, "clipped_share": 0.0, "peak": 0.5,
            }
        ),
        # Of another order than the corpus: rows go by the sentence id.
        "recognised": pd.DataFrame({"utterance": utterances, "text": recognised})[::-1],
    }  # fmt: skip
    paths = {name: {language: folder / language / f"{name}.parquet"} for name in frames}
    for name, frame in frames.items():
        told = {"task": "asr"} if name == "recognised" else {}
        write_table(frame, paths[name][language], language=language, **told)
    return paths


def judged(folder, *runs, max_cer=0.5, leave_out_flagged=True):
    merged = {
        name: {code: path for run in runs for code, path in run[name].items()} for name in runs[0]
    }
    output = folder / "speech_quality.csv"
    judge_speech(**merged, max_cer=max_cer, leave_out_flagged=leave_out_flagged, output=output)
    return output
