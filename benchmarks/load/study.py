"""A made-up study of many languages and steps, to see whether the workflow carries its jobs.

Sentences are random letters, spoken by eSpeak NG; the model has random weights at a tiny size. What comes
out means nothing: the number of jobs, of stores and of rows is that of a real study.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[2]
RUN = "load"
CONFIG_FILE = "config.yaml"  # in the study's folder
OUTPUT_LANGUAGE = "eng"
N_PIECES = 600  # of the tokenizer, letters of all scripts among them
# Consonants and vowels to make words of, by script; eSpeak NG reads Japanese in kana only.
LETTERS = {
    "Latin": ("bdfgklmnprst", "aeiou"),
    "Cyrillic": ("бвгдклмнпрст", "аеиоу"),
    "Greek": ("βγδκλμνπρστ", "αειο"),
    "Armenian": ("բգդկլմնպրստ", "աեիոու"),
    "Georgian": ("ბგდკლმნპრსტ", "აეიოუ"),
    "Arabic": ("بتدرسلمنكف", "اوي"),
    "Ethiopic": ("ሀለመሰረበተነከወደገ", ""),
    "Bengali": ("কখগজটতদনপবমরলস", ""),
    "Devanagari": ("कखगजटतदनपबमरलस", ""),
    "Gujarati": ("કખગજટતદનપબમરલસ", ""),
    "Hangul": ("가나다라마바사아자하고노도로모", ""),
    "CJK": ("山水人大天地日月木火土心手口", ""),
    "jpn": ("さかなたのまみりらしくもとに", ""),
}


@dataclass(frozen=True)
class Load:
    """How a study went.

    Attributes
    ----------
    jobs : dict of rule to number of jobs
    dag_seconds : float
        Of a dry run, with the start of Snakemake.
    seconds : float
        Of the run.
    peak_bytes : int
        Most memory of Snakemake's own process (VmHWM), jobs not counted.
    n_files, n_bytes : int
        Of the results.
    """

    jobs: dict[str, int]
    dag_seconds: float
    seconds: float
    peak_bytes: int
    n_files: int
    n_bytes: int


def study_languages(n: int) -> list[str]:
    """The first languages of ``resources/languages.tsv`` that can be written and spoken here."""
    from steplens.languages.table import load_languages

    table = load_languages()
    possible = [
        code
        for code, one in table.items()
        if code != OUTPUT_LANGUAGE and one.espeak and one.fleurs and one.script in LETTERS
    ]
    if not 2 <= n <= len(possible):
        raise SystemExit(f"--languages: expected 2 to {len(possible)}, got {n}")
    return possible[:n]


def write_project(
    folder: Path, n_languages: int, n_steps: int, n_utterances: int, n_steered: int
) -> None:
    """Config, corpus and model of a study in an empty folder.

    Parameters
    ----------
    folder : path
    n_languages, n_steps, n_utterances : int
    n_steered : int
        Sentences steered a language.
    """
    languages = study_languages(n_languages)
    sentences = {code: _sentences(code, n_utterances) for code in [*languages, OUTPUT_LANGUAGE]}
    _write_corpus(folder / "fleurs", sentences)
    _write_checkpoint(folder / "model", sentences)
    settings = {
        "run": RUN,
        "languages": languages,
        "output_language": OUTPUT_LANGUAGE,
        "steps": list(range(1, n_steps + 1)),
        "studies": [],  # so few sentences tell them nothing
        "model": {"path": str(folder / "model"), "device": "cpu"},
        "corpus": {"path": str(folder / "fleurs"), "n_utterances": n_utterances},
        # The model understands nothing: every utterance is flagged.
        "speech": {"checks": {"leave_out_flagged": False}},
        "decoding": {"max_new_tokens": n_steps + 2},
        # The fewest that the config allows.
        "comparison": {"k": 20, "k_sweep": [10, 20], "resamples": 20, "splits": 2, "shuffles": 2},
        "steering": {"k": 20, "n_utterances": n_steered, "n_random": 1, "resamples": 100},
    }
    text = yaml.safe_dump(settings, sort_keys=False)
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


def _sentences(code: str, n: int) -> list[str]:
    """Three words of three syllables each, of letters of the language's script."""
    from steplens.languages.table import load_languages

    consonants, vowels = LETTERS.get(code) or LETTERS[load_languages()[code].script]
    generator = np.random.default_rng(list(code.encode()))

    def syllable() -> str:
        return "".join(generator.choice(list(one)) for one in (consonants, vowels) if one)

    def sentence() -> str:
        return " ".join("".join(syllable() for _ in range(3)) for _ in range(3))

    return [sentence() for _ in range(n)]


def _write_corpus(folder: Path, sentences: dict[str, list[str]]) -> None:
    """FLEURS's published layout, without recordings."""
    from steplens.languages.table import load_languages

    table = load_languages()
    for code, texts in sentences.items():
        path = folder / "data" / table[code].fleurs / "test.tsv"
        path.parent.mkdir(parents=True)
        lines = [
            "\t".join([str(number), f"{number}.wav", text, text, "|".join(text), "32000", "FEMALE"])
            for number, text in enumerate(texts)
        ]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_checkpoint(folder: Path, sentences: dict[str, list[str]]) -> None:
    """Random weights in the published layout, with a tag for every language."""
    import torch
    from safetensors.torch import save_file
    from transformers import GenerationConfig, SeamlessM4TFeatureExtractor

    from demo_model.model import DemoModel, small_config
    from demo_model.tokenizer import SPECIAL_TOKENS, train_tokenizer

    torch.manual_seed(1)
    texts = [text for of_language in sentences.values() for text in of_language]
    tokenizer = train_tokenizer(texts, tuple(sentences), N_PIECES)
    config = small_config(len(tokenizer))
    config.encoder_layers = config.decoder_layers = config.speech_encoder_layers = 2
    config.encoder_ffn_dim = config.decoder_ffn_dim = 48
    config.speech_encoder_intermediate_size = 48
    config.hidden_size = 32
    model = DemoModel(config)
    weights = model.checkpoint()
    for name, weight in weights.items():
        if weight.ndim > 1 and "conv" not in name:
            weight *= 4  # the initial ones are so small that every sentence decodes alike
    # Never the largest among random logits: no sentence ends before the last step.
    weights["shared.weight"][: len(SPECIAL_TOKENS)] = 0
    folder.mkdir()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config.architectures = ["SeamlessM4Tv2Model"]
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    SeamlessM4TFeatureExtractor().save_pretrained(folder)
    tags = {code: tokenizer.convert_tokens_to_ids(f"__{code}__") for code in sentences}
    GenerationConfig(
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
        decoder_start_token_id=3,
        text_decoder_lang_to_code_id=tags,
    ).save_pretrained(folder)


def run_study(folder: Path, cores: int) -> Load:
    """Run a written study to its report; Snakemake's output goes to ``snakemake.log`` in its folder."""
    command = snakemake_command(folder, cores)
    start = time.perf_counter()
    planned = subprocess.run(
        [*command, "--dry-run", "--quiet", "rules"], capture_output=True, text=True, check=False
    )
    dag_seconds = time.perf_counter() - start
    if planned.returncode:
        raise SystemExit(planned.stdout[-3000:] + planned.stderr[-3000:])
    jobs = jobs_by_rule(planned.stdout + planned.stderr)
    print(f"{sum(jobs.values()):,} jobs, planned in {dag_seconds:.1f} s", flush=True)
    log = folder / "snakemake.log"
    peak = 0
    start = time.perf_counter()
    # A folder of its own for the warm process, which runs at the same time would share.
    with tempfile.TemporaryDirectory() as temporary, log.open("w", encoding="utf-8") as output:
        run = subprocess.Popen(
            [*command, "--keep-going"],
            stdout=output,
            stderr=output,
            env=os.environ | {"STEPLENS_WARM_START": "1", "TMPDIR": temporary},
        )
        while run.poll() is None:
            peak = max(peak, _peak_bytes(run.pid))
            time.sleep(0.5)
    seconds = time.perf_counter() - start
    if run.returncode:
        raise SystemExit(f"{log}: snakemake failed:\n{log.read_text(encoding='utf-8')[-3000:]}")
    sizes = [one.stat().st_size for one in (folder / "results").rglob("*") if one.is_file()]
    return Load(jobs, dag_seconds, seconds, peak, len(sizes), sum(sizes))


def snakemake_command(folder: Path, cores: int) -> list[str]:
    """Snakemake on the project's own Snakefile, in a folder of its own."""
    profile = ROOT / "profiles" / "default"
    return [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory",
        str(folder), "--profile", str(profile), "--cores", str(cores), "--configfile",
        str(folder / CONFIG_FILE),
    ]  # fmt: skip


def jobs_by_rule(output: str) -> dict[str, int]:
    """The table of jobs that a dry run prints, without its total."""
    counts = re.findall(r"^(\w+) +(\d+)$", output, flags=re.M)
    return {rule: int(n) for rule, n in counts if rule != "total"}


def _peak_bytes(pid: int) -> int:
    """The most memory that a process has had so far; 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return 1024 * int(found[1]) if found else 0


def study_table(load: Load) -> str:
    """Markdown."""
    rows = {
        "jobs": f"{sum(load.jobs.values()):,}",
        "of them capture": f"{load.jobs.get('capture', 0):,}",
        "a dry run": f"{load.dag_seconds:.1f} s",
        "the run": f"{load.seconds / 60:.1f} min",
        "peak memory of Snakemake itself": f"{load.peak_bytes / 1e9:.2f} GB",
        "results": f"{load.n_bytes / 1e6:,.0f} MB in {load.n_files:,} files",
    }
    return "\n".join(
        ["| | |", "|---|---:|", *(f"| {name} | {one} |" for name, one in rows.items())]
    )


def load_study(
    folder: Path,
    n_languages: int,
    n_steps: int,
    n_utterances: int,
    n_steered: int,
    cores: int,
) -> int:
    """Write a study, run it, print its table; the exit status."""
    write_project(folder, n_languages, n_steps, n_utterances, n_steered)
    load = run_study(folder, cores)
    print(json.dumps(load.jobs))
    print(study_table(load))
    return 0
