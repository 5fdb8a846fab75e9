"""Tables of utterances that are left out."""

import pandas as pd

from steplens.files.atomic import write_csv

SIZES = {"deu": 9, "fra": 7, "jpn": 11}


def write_left_out(path, left_out):
    """A row an utterance; those of ``left_out`` are left out."""
    rows = [
        {"language": language, "utterance": number, "left_out": number in left_out.get(language, [])}
        for language, size in SIZES.items() for number in range(size)
    ]  # fmt: skip
    write_csv(pd.DataFrame(rows), path)
    return path
