"""The model card of the demo's checkpoint, with the scores that it was exported with."""

import json
from pathlib import Path

_TEXT = """---
license: mit
language: [en, de, es, fr, zh, ja]
library_name: transformers
pipeline_tag: automatic-speech-recognition
---

# seamless-m4t-v2-demo

A SeamlessM4T v2 at a toy size, for the demo and the tests of steplens: hidden size 160, three layers in each stack, {parameters:,}
parameters. It was trained from nothing on a toy corpus of 92,160 possible sentences (a time, a subject, a verb, an object, a place)
in English, German, Spanish, French, Mandarin Chinese and Japanese (in kana), spoken by eSpeak NG and written, on all 36 directions
from speech and from text. It knows nothing beyond that grammar and is of no use as a translator.

It is loaded exactly as `facebook/seamless-m4t-v2-large` is (`SeamlessM4Tv2ForSpeechToText.from_pretrained`, `…ForTextToText`,
`SeamlessM4TTokenizer`, `SeamlessM4TFeatureExtractor`); it has no vocoder and no text-to-unit model. Its speech adapter shortens by 4
instead of 8. Weights are stored in float16.

In {wrong_tag:.0%} of the training pairs the language tag given to the decoder was a wrong one, so that the output language is carried
by the prefix and the source too, and not by the tag alone. While it was trained, a CTC head on the speech encoder helped it to find
the words in the audio; the head is not part of the checkpoint.

Share of {n} sentences that it never saw and writes down without a single error (greedy):

| | {header} |
|---|{rule}|
{rows}

`make demo-model` in steplens makes it again, seeded; the recipe is in `tools/demo_model`, and these settings were used:

```json
{recipe}
```
"""


def write_card(folder: Path) -> None:
    """Write ``README.md`` from ``training.json`` and the weights beside it."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as weights:
        shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
    n_parameters = 0
    for shape in shapes:
        size = 1
        for length in shape:
            size *= length
        n_parameters += size
    training = json.loads((folder / "training.json").read_text())
    scores = training["exact_match_unseen"]
    languages = list(scores["asr"])
    rows = [
        f"| {task} | " + " | ".join(f"{scores[task][one]:.1%}" for one in languages) + " |"
        for task in scores
    ]
    (folder / "README.md").write_text(
        _TEXT.format(
            parameters=n_parameters,
            wrong_tag=training["recipe"]["wrong_tag_share"],
            n=training["n_unseen"],
            header=" | ".join(languages),
            rule="|".join(["---"] * len(languages)),
            rows="\n".join(rows),
            recipe=json.dumps(training["recipe"], indent=2),
        ),
        encoding="utf-8",
    )
