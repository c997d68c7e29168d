"""Every command and every line of Python in README and in the pages below runs as it stands there.

Training is cut short after two steps, and the demo's scenes are not made. Every job is among them, and prints its
results and nothing else.
``tests/test_docs.py`` checks the commands of the other pages without running them.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import write_images, write_scores
from PIL import Image

from glintiqa_jax.cli.main import JOBS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
# In this order, as each may use what those before it made.
HOWTO = ["own_data", "databases", "evaluate", "paper", "experiment", "weights", "distort", "saqt", "devices"]
PAGES = [
    ROOT / "docs" / "tutorials" / "first_steps.md",
    ROOT / "README.md",
    *(ROOT / "docs" / "howto" / f"{page}.md" for page in HOWTO),
    ROOT / "docs" / "scoring.md",
    ROOT / "docs" / "explanation" / "paper_in_the_code.md",
]


# What makes hours of a command seconds, and leaves it otherwise as it is.
_SHORT = [
    "--variant=glintiqa_tiny",
    "--model_crop_size=32",
    "--steps=2",
    "--warmup_steps=1",
    "--eval_every=2",
    "--eval_grid=1",
    "--resamples=20",
    "--baselines=",
]
SHORTER = {
    "train": ["--max_steps=2", "--eval_grid=1", "--resamples=20"],
    "run_rounds": [*_SHORT, "--rounds=1"],
    "cross_dataset": _SHORT,
    "ablations": [*_SHORT, "--tables=selection"],
}
WITHOUT_SCENES = ["--dataset=demo_photographs"]
SHORTER_PYTHON = (
    "steps=500",
    "steps=2, warmup_steps=1, batch_size=8, init=(), frozen=(), model=giq.VARIANTS['glintiqa_tiny']",
)


GLINTIQA = ["-c", "from glintiqa_jax.cli.main import main; main()"]
SHIPPED = ROOT / "glintiqa_jax" / "pretrained"

METRICS = r" *{name}:  SROCC \S+  PLCC \S+  KROCC .*  \(\d+ images\)"
REPORT = ["", "report: +.*/report.html"]
CARD = [
    r"[\d,]+ images of [\d,]+ contents",
    "scores .*",
    "resolution .*",
    "(published split: .*)?",
    "near-duplicate pairs across contents: .*",
    "left out: 0",
    "",
    "card: .*card.md",
    "(open: .*)?",
    "train: .*",
]
# All that a job prints, line by line; and what may be said on stderr, where it is no terminal: no bar, and no warning
# of a library.
RESULTS = {
    "prepare_dataset": CARD,
    "train": [METRICS.format(name="(validation|test)"), *REPORT, "score an image:  glintiqa score .*"],
    "score": ["3 rows: scores.csv"],
    "map": [r"\S+ .*, MOS \d to \d, higher is better; worst .*: map.png"],
    "compare": ["percent +score  behind the best .*", r" *-?\d.*(png|jpg)"],
    "info": [r"[a-z ]{10}  .*"],
    "evaluate": [METRICS.format(name="(demo_photographs|csv) (test|all)")],
    "convert_weights": ["score an image:  glintiqa score .*", "wrote .*"],
    "export": [r"onnx of <Model .*>: scratch\.onnx"],
    "compare_predictions": [r" *(grid|again):  SROCC .*\(500 .*images\)", *REPORT],
    "show_distortions": [],
    "gallery": [r"gallery:  gallery/index\.html  \(3 photographs\)"],
    "build_saqt": CARD,
    "run_rounds": [METRICS.format(name="round 1"), ".*: median SROCC .*", *REPORT],
    "cross_dataset": [METRICS.format(name="(koniq10k|csv) on (koniq10k|csv)"), *REPORT],
    "ablations": ["selection, SROCC:", "  .*selected on .*", *REPORT],
}
SAID = (
    r"warning: .*|\d+ of \d+ images show what the model was trained on: left out"
    r"|.*score_range is not given: taking .*"
    r"|E\d+ .*cpu_aot_loader.*"  # XLA, of networks that other tests compiled, on some processors
)


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands() -> list[list[str]]:
    """Each of all pages once, without what started this test."""
    text = "\n".join(block for page in PAGES for block in blocks("bash", page.read_text(encoding="utf-8")))
    parts = [part.strip() for line in text.replace("\\\n", " ").splitlines() for part in line.split("&&")]
    found = [shlex.split(part, comments=True) for part in dict.fromkeys(parts)]
    return [command for command in found if command and command[0] not in ("pip", "pytest")]


def test_it_has_the_two_commands():
    train, test = blocks("bash")[1:3]
    assert train.startswith("pip install -e . && python experiments/train.py --flagfile=")
    assert test == "pip install -e '.[test]' && pytest\n"


def test_it_is_short():
    assert len(README.split()) <= 700


def write_koniq10k(folder: Path) -> None:
    names = write_images(folder / "1024x768", 12, size=(230, 240), seed=1)
    parts = ["training"] * 8 + ["validation"] * 2 + ["test"] * 2
    rows = [
        {"image_name": name, "MOS": 8 * number, "SD": 0.5, "set": part}
        for number, (name, part) in enumerate(zip(names, parts, strict=True))
    ]
    write_scores(folder / "koniq10k_distributions_sets.csv", rows)


@pytest.mark.slow
@pytest.mark.compiled_for_users  # the model that ships has more to compute than to compile
@pytest.mark.skipif(
    not SHIPPED.is_dir(), reason="no model ships in this checkout: glintiqa_jax/pretrained is not there"
)
def test_every_command_runs(tmp_path, monkeypatch):
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    write_koniq10k(tmp_path / "KONIQ")
    names = write_images(tmp_path / "DIR", 25, size=(230, 240))
    write_scores(tmp_path / "FILE.csv", [{"image": name, "mos": 4 * i} for i, name in enumerate(names)])
    write_images(tmp_path / "PHOTOGRAPHS", 10, size=(100, 110))
    write_images(tmp_path / "folder", 2, size=(140, 160))
    for photo in ("photo.jpg", "other.jpg"):
        Image.open(tmp_path / "DIR" / names[0]).save(tmp_path / photo)
    # no records of this machine are found or left
    environment = os.environ | {"HOME": str(tmp_path / "home")}
    ran = set()
    for program, *arguments in commands():
        job = Path(arguments[0]).stem
        if "--help" not in arguments:
            arguments += SHORTER.get(job, []) + WITHOUT_SCENES * ("/scratch.flags" in " ".join(arguments))
        if program == "glintiqa":
            arguments = [*GLINTIQA, *arguments]
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        assert re.fullmatch(rf"(({SAID})\n)*", done.stderr), f"{arguments}\n{done.stderr}"
        if not {"--help", "--print_sharding"} & set(arguments):
            for line in done.stdout.splitlines():
                assert any(re.fullmatch(pattern, line) for pattern in RESULTS[job]), (arguments, line)
        ran.add(job)
    assert ran == set(JOBS) == set(RESULTS)
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 4

    monkeypatch.chdir(tmp_path)
    for page in PAGES:
        names: dict[str, object] = {}  # a page is read from above to below, and alone
        for block in blocks("python", page.read_text(encoding="utf-8")):
            exec(block.replace(*SHORTER_PYTHON), names)
