"""What every test may ask for: real mail programs. In CI a test whose program is absent fails; elsewhere it is skipped.

Plain functions: `from tests.conftest import need`. `.ci/run` installs all that the tests need.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # how long a machine takes says nothing about the code
settings.load_profile("untimed")

NODE_MODULES = Path(__file__).parent / "clients" / "node_modules"
SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])  # smtp-source is not for users


def need(program: str) -> str:
    """The program's path."""
    return shutil.which(program, path=SEARCH) or absent(program)


def need_perl_module(module: str) -> str:
    """The path of perl, which has the module."""
    perl = need("perl")
    tried = subprocess.run([perl, f"-M{module}", "-e", "1"], capture_output=True, check=False)
    return perl if tried.returncode == 0 else absent(f"perl's {module}")


def need_node_module(module: str) -> str:
    """The module's folder, which node can `require`."""
    need("node")
    folder = NODE_MODULES / module
    return str(folder) if folder.is_dir() else absent(f"node's {module}")


def absent(what: str) -> NoReturn:
    says = f"{what} is not installed; .ci/run installs it"
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail(says, pytrace=False)
    pytest.skip(says)
