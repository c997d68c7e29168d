"""Training takes memory in huge pages, where Linux gives them on demand."""

import json
import os
import subprocess
import sys

import pytest

from glintiqa_jax.cli import memory

SCRIPT = """
import json, os, sys
from glintiqa_jax.cli.memory import restart_with_huge_pages
restart_with_huge_pages()
print(json.dumps([os.environ.get("GLIBC_TUNABLES"), os.getppid(), sys.argv[1:], sys.flags.utf8_mode]))
"""


def restarted(tmp_path, **environment: str) -> tuple[int, list]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-X", "utf8", str(script), "--flag=two words", ""]
    kept = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=kept | environment)
    assert not done.stderr
    return os.getpid(), json.loads(done.stdout)


@pytest.mark.skipif(not memory._helps(), reason="this system gives no huge pages on demand")
def test_a_process_starts_over_as_itself(tmp_path):
    parent, found = restarted(tmp_path)
    assert found == [memory.SETTING["GLIBC_TUNABLES"], parent, ["--flag=two words", ""], 1]


def test_settings_of_the_users_stay(tmp_path):
    _, found = restarted(tmp_path, GLIBC_TUNABLES="glibc.malloc.perturb=0")
    assert found[0] == "glibc.malloc.perturb=0"
