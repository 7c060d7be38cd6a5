"""A server that the tests of a file share, over a data folder with four sessions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.kept import LOGIN_ALONE, NO_LOGIN, PROBE, Held, keep
from tests.web.serving import Serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("web") / "data"
    start = Held("", "").started
    keep(
        folder,
        [
            Held("aa00000001", NO_LOGIN, "192.168.1.20:40001", start),
            Held("aa00000002", LOGIN_ALONE, "192.168.1.21:40002", start + 60),
            Held("bb00000003", PROBE, "192.168.1.20:40003", start + 120),
            Held("cc00000004", NO_LOGIN, "[fd00::5]:40004", start + 180, mode="direct-send"),
        ],
    )
    with Serving(folder) as serving:
        yield serving
