"""The player of device scripts: it says what is right, what is answered wrongly, and what was not found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.play import leaks, main

MACROS = "%GREET\nS: 220\nC: EHLO mfp01.contoso.com\nS: 250\n"
SENDS = "M: GREET\nC: MAIL FROM:<scanner@contoso.com>\nsim| S: 451 5.7.3\ncap| S: 250\nC: QUIT\nS: 221\n"
SCRIPTS = {
    "good": f"@id good\n@endpoint submission\n@expect no-tls no-auth\n{SENDS}",
    "level": "@endpoint any\n@expect probe-session-no-data\n@level info\nM: GREET\nC: QUIT\nS: 221\n",
    "login": "@endpoint mx\n@account otto@contoso.com Another-1\n@expect auth-not-advertised\nM: GREET\n"
    "sim| C: AUTH LOGIN\nsim| S: 504\ncap| C: AUTH PLAIN AG90dG9AY29udG9zby5jb20AQW5vdGhlci0x\ncap| S: 235\nX: fin\n",
}


def folder(tmp_path: Path, **scripts: str) -> str:
    for name, text in ({"macros": MACROS} | scripts).items():
        (tmp_path / f"{name}.txt").write_text(text)
    return str(tmp_path)


@pytest.mark.parametrize("how", [[], ["--imitate"]], ids=["capture", "imitation"])
def test_scripts_that_hold(how: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([folder(tmp_path, **SCRIPTS), *how]) == 0
    assert "3 scripts, 0 wrong, 0 leaks" in capsys.readouterr().out


def test_what_is_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reply = "@endpoint any\n@expect\nM: GREET\nC: NOOP\nS: 550\n"
    finding = "@endpoint any\n@expect bare-lf\nM: GREET\nC: QUIT\nS: 221\n"
    unwanted = f"@endpoint submission\n@expect\n@expect-none error warn\n{SENDS}"
    assert main([folder(tmp_path, reply=reply, finding=finding, unwanted=unwanted)]) == 1
    told = capsys.readouterr().out
    assert "WRONG finding: bare-lf was not found" in told
    assert "WRONG reply: Mismatch: 'S: 550': got '250 2.0.0 OK'" in told
    assert "WRONG unwanted: no-tls was found; no-auth was found" in told


def test_a_leak_is_found(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"...QW5vdGhlci0x...")
    assert leaks(tmp_path, ["Another-1"]) == [str(tmp_path / "log")]
    assert leaks(tmp_path, ["Another-2!"]) == []
