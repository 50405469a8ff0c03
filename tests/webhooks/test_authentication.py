"""What a token endpoint answers: the token, its lifetime, and errors that quote no secret."""

import pytest

from pytake.webhooks.authentication import AuthError, parse_token

SECRET = "s3cr3t-token-of-mine"


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        ('{"access_token":"t","expires_in":3600}', 3600),
        ('{"access_token":"t","expires_in":"60"}', 60),
        ('{"access_token":"t"}', 300),
        ('{"access_token":"t","expires_in":null}', 300),
        ('{"access_token":"t","expires_in":NaN}', 300),
        ('{"access_token":"t","expires_in":Infinity}', 300),
        ('{"access_token":"t","expires_in":1e300}', 86400),
        ('{"access_token":"t","expires_in":-5}', 0),
        ('{"access_token":"t","expires_in":' + "9" * 4000 + "}", 300),
        ('{"access_token":"t","expires_in":[1]}', 300),
        ('{"access_token":"t","expires_in":{"a":1}}', 300),
        ('{"access_token":"t","expires_in":true}', 1),
    ],
)
def test_unusual_token_lifetimes(answer: str, seconds: float) -> None:
    assert parse_token(answer) == ("t", seconds)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "no",
        "[]",
        "null",
        '"t"',
        "{}",
        '{"access_token":null}',
        '{"access_token":""}',
        '{"access_token":7}',
        '{"access_token":["t"]}',
        '{"access_token":{"access_token":"t"}}',
        '{"access_token":"s3cr3t-token-of-mine\\r\\nX-Evil: 1"}',
        '{"access_token":"s3cr3t-token-of-mine "}',
        '{"access_token":"s3cr3t-token-of-mine\\u00e9"}',
        "[" * 16000,
        '{"a":' * 3000,
        '{"access_token":"t","expires_in":' + "9" * 5000 + "}",
    ],
)
def test_an_answer_without_a_token_says_so(answer: str) -> None:
    with pytest.raises(AuthError, match=r"^the token endpoint") as caught:
        parse_token(answer)
    assert SECRET not in str(caught.value)
