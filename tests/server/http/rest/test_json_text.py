"""JSON that is written in pieces."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.routing.items import Data
from pipelines.runtime.worker import Worker
from server.http.pipelines import answers
from server.http.pipelines.store import KeptRun
from server.http.rest import json_text
from server.http.rest.json_text import in_base64, is_short, pieces, written

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=6)
    ),
    max_leaves=40,
)
LARGE = {
    "vectors": [[0.123456789 * n for n in range(384)]] * 100,
    "tokens": [{"id": n, "text": "word", "start": n, "end": n + 4} for n in range(20_000)],
    "numbers": list(range(100_000)),
    "map": {str(n): n for n in range(50_000)},
    "text": "wörd 😀" * 200_000,
    "file": bytes(range(256)) * 8000,
}


@given(VALUES)
def test_pieces_make_what_the_writer_makes(value: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_MOST_AT_ONCE", 3)
        patch.setattr(json_text, "_SHORT", 2)
        patch.setattr(json_text, "_SLICE", 3)
        assert written(value) == json.dumps(value, default=in_base64).encode()
        compact = json.dumps(value, default=in_base64, ensure_ascii=False, separators=(",", ":"))
        assert written(value, compact=True) == compact.encode("utf-8", "replace")


def test_no_piece_of_a_large_answer_is_large() -> None:
    assert not is_short(LARGE)
    assert not any(is_short(one) for one in LARGE.values())
    found = list(pieces(LARGE))
    assert max(map(len, found)) < 2_500_000
    assert "".join(found) == json.dumps(LARGE, default=in_base64)
    without_text = {name: value for name, value in LARGE.items() if name not in ("text", "file")}
    assert max(map(len, pieces(without_text))) < 60_000


async def test_what_a_pipeline_gave_is_written_on_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def watched(value: Any, *, compact: bool = False) -> bytes:
        threads.append(threading.get_ident())
        return written(value, compact=compact)

    monkeypatch.setattr(answers, "written", watched)
    worker = Worker("test-answers")
    try:
        whole = answers.JsonAnswer(KeptRun("run_1", "p"), ["see"], worker)
        lines = answers.LinesAnswer(["see"], worker)
        item = Data({"numbers": LARGE["numbers"]})
        assert await whole.push("see", item) == b""
        made = json.loads(await whole.finish())
        line = await lines.push("see", item)
    finally:
        worker.close()
    assert made["outputs"]["see"]["data"] == [{"numbers": LARGE["numbers"]}]
    assert json.loads(line) == {"numbers": LARGE["numbers"]}
    assert len(threads) == 3
    assert threading.get_ident() not in threads


def test_a_short_answer_is_known_by_a_look() -> None:
    assert is_short({"object": "list", "data": [{"id": "one"}] * 100})
    assert is_short(None)
    assert not is_short([[0] * 100] * 100)
