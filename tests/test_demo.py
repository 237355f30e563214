"""The demo: what it shows is what the ledger did, and its lines work as they stand."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

PATIENCE_S = 120

Running = tuple["subprocess.Popen[str]", str]


def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CATCHMENT_")}
    environment = kept | {"TMPDIR": str(folder), "XDG_DATA_HOME": str(folder / "data"), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "catchment", "demo", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def shown(running: "subprocess.Popen[str]") -> str:
    """What it prints until it serves."""
    assert running.stdout is not None
    text = ""
    while "Ctrl-C ends it." not in text:
        line = running.stdout.readline()
        assert line, running.communicate()[1]
        text += line
    return text


def ended(running: "subprocess.Popen[str]") -> tuple[int, str]:
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=PATIENCE_S)
    return running.returncode, said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def demo(folder: Path) -> Iterator[Running]:
    """One demo for all that only look at it or call it."""
    running = start(folder, "--port", "0")
    try:
        yield running, shown(running)
    finally:
        running.kill()
        running.communicate()


def section(text: str, title: str) -> list[list[str]]:
    """The rows of a plain table under its title."""
    rows = text.partition(f"\n{title}\n")[2].partition("\n\n")[0].splitlines()[1:]
    return [re.split(r" {2,}", row) for row in rows]


def line_of(text: str, heading: str) -> str:
    """The line to paste that stands under a heading."""
    found = re.search(rf"^# {heading}.*\n(.+)$", text, re.MULTILINE)
    assert found, heading
    return found[1]


def pasted(line: str) -> str:
    """What a line prints in bash, where python3 is the one that has the clients."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, "PATH": path},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_before_and_after(demo: Running) -> None:
    _, text = demo
    assert section(text, "Before") == [
        ["USDT", "2500.75000000", "12.00000001", "1000.10000000"],
        ["USDC", "1000.00000000", "50.00000000", "0.00000000"],
        ["BTC", "0.12500000", "0.50000000", "0.06000000"],
        ["ETH", "-0.40000000", "4.25000000", "0.00000000"],
        ["BNB", "3.20000000", "1.50000000", "0.10000000"],
    ]
    assert section(text, "After") == [
        ["USDT", "0.00000000", "0.00000000", "3512.85000001"],
        ["USDC", "0.00000000", "0.00000000", "1050.00000000"],
        ["BTC", "0.00000000", "0.00000000", "0.68500000"],
        ["ETH", "-0.40000000", "0.00000000", "4.25000000"],
        ["BNB", "3.20000000", "0.00000000", "1.60000000"],
    ]
    assert '\nPOST /papi/v1/auto-collection\n{"msg":"success"}\n' in text


def test_the_link_opens_the_dashboard_of_the_account_once(demo: Running) -> None:
    _, text = demo
    link = line_of(text, "Dashboard")
    browser = build_opener(HTTPCookieProcessor())
    with browser.open(link, timeout=PATIENCE_S) as page:
        assert page.status == 200
        assert 'value="3512.85000001"' in page.read().decode()
    with pytest.raises(HTTPError, match="410"):
        build_opener(HTTPCookieProcessor()).open(link, timeout=PATIENCE_S)


def test_what_moved_and_what_stayed(demo: Running) -> None:
    _, text = demo
    rows = section(text, "What moved, what stayed, and why")
    assert [row[:3] for row in rows if row[3] == "moved to Cross Margin"] == [
        ["USDT", "UM", "2500.75000000"],
        ["USDT", "CM", "12.00000001"],
        ["USDC", "UM", "1000.00000000"],
        ["USDC", "CM", "50.00000000"],
        ["BTC", "UM", "0.12500000"],
        ["BTC", "CM", "0.50000000"],
        ["ETH", "CM", "4.25000000"],
        ["BNB", "CM", "1.50000000"],
    ]
    assert [row for row in rows if row[3] != "moved to Cross Margin"] == [
        ["BNB", "UM", "3.20000000", "stayed (BNB in UM is never collected)"],
        ["ETH", "UM", "-0.40000000", "stayed (negative: a collection does not repay)"],
    ]


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("openssl")), reason="no curl or no openssl")
def test_the_curl_line(demo: Running) -> None:
    assert pasted(line_of(demo[1], "curl")) == '{"msg":"success"}'


def test_the_ccxt_line(demo: Running) -> None:
    assert "'totalWalletBalance': '3512.85000001'" in pasted(line_of(demo[1], "ccxt"))


def test_the_line_of_the_official_sdk(demo: Running) -> None:
    assert "msg='success'" in pasted(line_of(demo[1], "official SDK"))


def test_no_colours_and_no_boxes_in_a_pipe(demo: Running) -> None:
    assert "\x1b" not in demo[1]
    assert "─" not in demo[1]


def test_two_demos_have_two_keys_and_leave_nothing(tmp_path: Path) -> None:
    keys = set()
    for _ in range(2):
        running = start(tmp_path, "--port", "0")
        try:
            text = shown(running)
            assert list(tmp_path.glob("catchment-demo-*/demo.db"))
            keys |= set(re.findall(r"^(?:API key|secret) +(\w{64})$", text, re.MULTILINE))
            assert ended(running) == (0, "")
        finally:
            running.kill()
        assert list(tmp_path.iterdir()) == []
    assert len(keys) == 4


def test_a_busy_port_takes_the_next_and_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = taken.getsockname()[1]
        running = start(tmp_path, "--port", str(busy))
        try:
            text = shown(running)
            found = re.search(r"^Catchment +http://127\.0\.0\.1:(\d+)$", text, re.MULTILINE)
            assert found
            assert int(found[1]) > busy
            assert text.startswith(f"Port {busy} is busy: taking {found[1]} instead.\n")
            assert ended(running) == (0, "")
        finally:
            running.kill()


def test_a_store_that_is_kept_gets_one_more_account(tmp_path: Path) -> None:
    store = tmp_path / "kept.db"
    for name in ("demo", "demo-2"):
        running = start(tmp_path, "--port", "0", "--keep", str(store), "--json")
        try:
            assert running.stdout is not None
            text = ""
            while not text.endswith("\n}\n"):
                line = running.stdout.readline()
                assert line, running.communicate()[1]
                text += line
            document = json.loads(text)
            assert ended(running) == (0, "")
        finally:
            running.kill()
        assert document["account"]["name"] == name
        assert document["answer"] == {"msg": "success"}
        assert {row["asset"]: row["margin_free"] for row in document["after"]}["USDT"] == "3512.85000001"
        assert [row["asset"] for row in document["stayed"]] == ["BNB", "ETH"]
    assert store.exists()
