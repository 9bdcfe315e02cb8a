"""The page in a browser. Its console also lists what the page's policy blocks."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from html import escape
from pathlib import Path

import pytest
from browser import CHROMIUM, SWITCHES

from sneframe.report import write_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


def open_page(page: Path, profile: Path) -> subprocess.CompletedProcess[str]:
    """Open a page; the output is its final HTML, the error output is the browser's log."""
    command = [str(CHROMIUM), *SWITCHES, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "Predicting" in done.stdout
    return done


def console(page: Path, profile: Path) -> list[str]:
    return [line for line in open_page(page, profile).stderr.splitlines() if ":CONSOLE" in line]


@pytest.mark.parametrize(
    "name", ["frequency", "</svg><script>alert(1)</script><img src=https://example.invalid/>"]
)
def test_the_console_stays_empty(write_run: Callable[..., Path], tmp_path: Path, name: str) -> None:
    """The browser reports no error, whatever the names are."""
    page = write_report(write_run(networks=40, architectures=3, property=name, zoo=name))
    assert console(page, tmp_path / "profile") == []


def test_planted_content_is_blocked(write_run: Callable[..., Path], tmp_path: Path) -> None:
    """The policy of the page blocks a planted image and a planted script."""
    page = write_report(write_run(networks=12))
    html = page.read_text(encoding="utf-8")
    planted = '<img src="https://example.invalid/x.png"><script>document.title = "run"</script></main>'
    page.write_text(html.replace("</main>", planted), encoding="utf-8")
    lines = console(page, tmp_path / "profile")
    assert any("example.invalid" in line and "blocked" in line for line in lines)
    assert any("inline script" in line and "blocked" in line for line in lines)


@pytest.mark.parametrize("width", [320, 400, 1400])
def test_a_page_is_never_wider_than_its_window(
    write_run: Callable[..., Path], tmp_path: Path, width: int
) -> None:
    """The page has no horizontal scroll bar, even with names of 300 letters."""
    page = write_report(write_run(networks=40, architectures=3, zoo="z" * 300, property="p" * 300))
    # Use a frame, because a browser's window has a minimum width.
    frame = tmp_path / "frame.html"
    source = escape(page.read_text(encoding="utf-8"))
    measure = "document.title = contentWindow.innerWidth + ',' + contentDocument.documentElement.scrollWidth"
    style = f"border: 0; width: {width}px; height: 9999px"
    frame.write_text(
        f'<iframe style="{style}" srcdoc="{source}" onload="{measure}"></iframe>', encoding="utf-8"
    )
    assert f"<title>{width},{width}</title>" in open_page(frame, tmp_path / "profile").stdout
