"""Recipients: every way of writing a phone number, and one key per contact."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytake.contacts.identities import InvalidRecipientError, contact_key, normalise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5561994013828", "5561994013828"),
        ("+5561994013828", "5561994013828"),
        ("+55 (61) 99401-3828", "5561994013828"),
        ("(61) 99401-3828", "5561994013828"),
        ("556194013828", "556194013828"),
        ("+1 650-555-1234", "16505551234"),
        ("+351912345678", "351912345678"),
        ("BR.1a2B3c", "BR.1a2B3c"),
        (" +55 61 99401.3828 ", "5561994013828"),
    ],
)
def test_spellings(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "12",
        "+",
        "5561994013828x",
        "+999999999999999999",
        "br.abc",
        "٥٥٦١٩٩٤٠١٣٨٢٨x",
        "5561994013828\n;",
    ],
)
def test_texts_that_are_not_numbers_are_refused(text: str) -> None:
    with pytest.raises(InvalidRecipientError):
        normalise(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("5561994013828", "556194013828", True),
        ("5511912345678", "551112345678", False),
        ("556133334444", "5561933334444", False),
        ("16505551234", "165095551234", False),
    ],
)
def test_brazilian_mobiles_are_one_contact_in_both_spellings(
    one: str, other: str, same: bool
) -> None:
    assert (contact_key(one) == contact_key(other)) is same


@given(st.text(max_size=40))
def test_no_text_crashes(text: str) -> None:
    try:
        normalised = normalise(text)
    except InvalidRecipientError:
        return
    assert contact_key(contact_key(normalised)) == contact_key(normalised)
