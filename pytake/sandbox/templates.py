"""The account's templates: those that it has at first, and as the Graph API lists them."""

import hashlib
from typing import Any, Final


def node_id(name: str) -> str:
    """A stable numeric id for a name, like those of Meta's nodes."""
    return str(10**14 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:5]))


def template(name: str, category: str, **given: Any) -> dict[str, Any]:
    """A template of the account, with usual values for what is not ``given``."""
    usual = {
        "language": "pt_BR",
        "status": "APPROVED",
        "parameter_format": "POSITIONAL",
        "components": [{"type": "BODY", "text": name}],
        "quality_score": None,
    }
    return {"name": name, "category": category, **usual, **given}


AT_FIRST: Final = (
    template(
        "pytake_saudacao", "MARKETING", components=[{"type": "BODY", "text": "Olá! Tudo bem?"}]
    ),
    template(
        "pytake_pedido",
        "UTILITY",
        components=[{"type": "BODY", "text": "Seu pedido está a caminho."}],
    ),
    template(
        "pytake_codigo",
        "AUTHENTICATION",
        components=[
            {
                "type": "BODY",
                "text": "*{{1}}* é seu código de verificação.",
                "example": {"body_text": [["123456"]]},
            },
            {
                "type": "BUTTONS",
                "buttons": [
                    {
                        "type": "URL",
                        "text": "Copiar código",
                        "url": "https://www.whatsapp.com/otp/code/?otp_type=COPY_CODE&code=otp{{1}}",
                        "example": [
                            "https://www.whatsapp.com/otp/code/?otp_type=COPY_CODE&code=otp123456"
                        ],
                    }
                ],
            },
        ],
    ),
)
"""The account's templates at first; any other name is accepted too, but not listed."""


def template_node(kept: dict[str, Any]) -> dict[str, Any]:
    """The fields of a template."""
    quality = kept["quality_score"] or {"score": "UNKNOWN"}
    return {
        **kept,
        "quality_score": quality,
        "rejected_reason": "NONE",
        "id": node_id(kept["name"]),
    }
