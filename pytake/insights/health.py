"""The health score of a number, 0 to 100, with its deductions."""

from pydantic import BaseModel

from pytake.whatsapp.number_health import NumberHealth


class Deduction(BaseModel):
    """Points deducted from the score, with the field and value that they are for."""

    key: str
    value: str
    points: int


def score(health: NumberHealth) -> tuple[int, list[Deduction]]:
    """The health score, 0 to 100, and the deductions from 100."""
    lost = [
        Deduction(key=key, value=value, points=points)
        for key, value, points in (
            ("quality", health.quality_rating, _quality_points(health.quality_rating)),
            ("status", health.status, _status_points(health.status)),
            ("sending", health.can_send_message, _sending_points(health.can_send_message)),
            ("name", health.name_status or "", _name_points(health.name_status)),
        )
        if points
    ]
    return max(0, 100 - sum(item.points for item in lost)), lost


def _quality_points(rating: str) -> int:
    return {"GREEN": 0, "YELLOW": 25, "RED": 60}.get(rating, 5)


def _status_points(status: str) -> int:
    return {"CONNECTED": 0, "UNKNOWN": 0, "FLAGGED": 30, "RATE_LIMITED": 30}.get(status, 100)


def _sending_points(availability: str) -> int:
    return {"LIMITED": 25, "BLOCKED": 100}.get(availability, 0)


def _name_points(name_status: str | None) -> int:
    if name_status in (None, "APPROVED", "AVAILABLE_WITHOUT_REVIEW"):
        return 0
    return 10 if name_status == "DECLINED" else 5
