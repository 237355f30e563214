"""How Chromium is found, or installed, or missed with a reason; on machines made of a few scripts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.browser.conftest import TOOL

INSTALLS = 'case " $* " in *" install "*) : >"${0%/*}/installed";; esac'
ONCE_INSTALLED = 'test -e "${0%/*}/installed"'


def tool(folder: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """What the tool says where there are these programs and no others."""
    for name, script in programs.items():
        program = folder / name.replace("_", "-")
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return subprocess.run([TOOL], capture_output=True, text=True, check=False, env={"PATH": str(folder)})


def test_a_stub_is_passed_over(tmp_path: Path) -> None:
    found = tool(tmp_path, chromium="exit 1", google_chrome="exit 0", apt_get="exit 1", id="echo 0")
    assert found.stdout == f"{tmp_path}/google-chrome\n"


def test_root_gets_it_installed(tmp_path: Path) -> None:
    found = tool(tmp_path, chromium=ONCE_INSTALLED, apt_get=f"echo busy; {INSTALLS}", id="echo 0")
    assert (found.returncode, found.stdout) == (0, f"{tmp_path}/chromium\n")


@pytest.mark.parametrize(
    ("programs", "reason"),
    [
        ({}, "no apt-get"),
        ({"apt_get": INSTALLS, "id": "echo 1000", "chromium": ONCE_INSTALLED}, "only root"),
        ({"apt_get": "exit 100", "id": "echo 0"}, "could not install"),
        ({"apt_get": INSTALLS, "id": "echo 0", "chromium": "exit 1"}, "does not start"),
    ],
)
def test_the_last_line_says_why_there_is_none(tmp_path: Path, programs: dict[str, str], reason: str) -> None:
    missed = tool(tmp_path, **programs)
    assert (missed.returncode, missed.stdout) == (1, "")
    assert reason in missed.stderr.splitlines()[-1]
