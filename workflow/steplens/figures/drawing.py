"""Stage ``figures``: the figures of a run out of its CSVs, each as ``<stem>.svg`` and ``<stem>.png``."""

from pathlib import Path

from steplens.figures import (
    learning_curve,
    location,
    overlap,
    reliability,
    sensitivity,
    spearman,
    speech,
    steering,
)
from steplens.figures.style import save
from steplens.files.atomic import read_csv
from steplens.languages.table import load_languages


def _names() -> dict[str, str]:
    return {code: language.name for code, language in load_languages().items()}


def figure2(location_csv: Path, stem: Path) -> None:
    """Where the top-k neurons lie in the encoders."""
    save(location.draw_encoders(read_csv(location_csv), _names()), stem)


def figure3(location_csv: Path, stem: Path) -> None:
    """Where the top-k neurons lie in the decoder, step by step."""
    save(location.draw_decoder(read_csv(location_csv), _names()), stem)


def figure4(overlap_csv: Path, summary_csv: Path, stem: Path) -> None:
    """Overlap matrices by step."""
    save(overlap.draw(read_csv(overlap_csv), read_csv(summary_csv), _names()), stem)


def figure5(spearman_csv: Path, summary_csv: Path, stem: Path) -> None:
    """Spearman maps by step."""
    save(spearman.draw(read_csv(spearman_csv), read_csv(summary_csv), _names()), stem)


def figure6(sensitivity_csv: Path, stem: Path) -> None:
    """Diagonal ratio over k."""
    save(sensitivity.draw(read_csv(sensitivity_csv)), stem)


def figure7(rates_csv: Path, stem: Path) -> None:
    """Control rates by step, direction and control."""
    languages = load_languages()
    rates = read_csv(rates_csv)
    scripts = {code: language.script for code, language in languages.items()}
    rates["direction"] = rates["source"].map(scripts) + " to " + rates["target"].map(scripts)
    save(steering.draw(rates, list(languages)), stem)


def figure8(quality_csv: Path, stem: Path) -> None:
    """Character error rate and collapse under steering."""
    save(steering.draw_quality(read_csv(quality_csv)), stem)


def figure9(speech_csv: Path, stem: Path) -> None:
    """How well each language was spoken, utterance by utterance."""
    save(speech.draw_quality(read_csv(speech_csv), _names()), stem)


def figure10(sources_csv: Path, stem: Path) -> None:
    """What two sources of speech, and text, share."""
    save(speech.draw_sources(read_csv(sources_csv)), stem)


def figure11(stability_csv: Path, null_csv: Path, summary_csv: Path, stem: Path) -> None:
    """Split-half stability, and the diagonal ratio beside that of shuffled labels."""
    tables = [read_csv(path) for path in (stability_csv, null_csv, summary_csv)]
    save(reliability.draw(*tables), stem)


def figure20(curve_csv: Path, stem: Path) -> None:
    """Ratio, stability and corrected overlap over the number of sentences."""
    save(learning_curve.draw(read_csv(curve_csv)), stem)
