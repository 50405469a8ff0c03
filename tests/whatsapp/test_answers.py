"""Reading Meta's response to the POST of a message."""

import httpx
import pytest

from pytake.whatsapp.client import Accepted, AmbiguousError, read_answer


@pytest.mark.parametrize("odd", [None, 5, ["x"], {"a": 1}, "x" * 513])
def test_an_odd_detail_is_left_out(odd: object) -> None:
    """What follows a POST that succeeded must not fail."""
    answer = {"contacts": [{"wa_id": odd}], "messages": [{"id": "wamid.1", "message_status": odd}]}
    assert read_answer(httpx.Response(200, json=answer)) == Accepted("wamid.1", None)


@pytest.mark.parametrize(
    "answer", [{}, [], {"messages": []}, {"messages": [{"id": None}]}, {"messages": [{"id": ""}]}]
)
def test_no_message_id_is_an_unknown_outcome(answer: object) -> None:
    with pytest.raises(AmbiguousError):
        read_answer(httpx.Response(200, json=answer))
