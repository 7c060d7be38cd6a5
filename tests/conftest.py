"""What every test may ask for: real mail programs. In CI a test whose program is absent fails; elsewhere it is skipped.

`need("swaks")` is the program's path; `need_perl_module("IO::Socket::SSL")` is perl's path, once perl has the module;
`need_node_module("nodemailer")` is the module's folder, for `require`. `.ci/run` installs them all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

Need = Callable[[str], str]
NODE_MODULES = Path(__file__).parent / "clients" / "node_modules"
SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])  # smtp-source is not for users


@pytest.fixture(scope="session")
def need() -> Need:
    def program(name: str) -> str:
        return shutil.which(name, path=SEARCH) or absent(name)

    return program


@pytest.fixture(scope="session")
def need_perl_module(need: Need) -> Need:
    def perl(module: str) -> str:
        path = need("perl")
        tried = subprocess.run([path, f"-M{module}", "-e", "1"], capture_output=True, check=False)
        return path if tried.returncode == 0 else absent(f"perl's {module}")

    return perl


@pytest.fixture(scope="session")
def need_node_module(need: Need) -> Need:
    def folder(module: str) -> str:
        need("node")
        path = NODE_MODULES / module
        return str(path) if path.is_dir() else absent(f"node's {module}")

    return folder


def absent(what: str) -> NoReturn:
    says = f"{what} is not installed; .ci/run installs it"
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail(says, pytrace=False)
    pytest.skip(says)
