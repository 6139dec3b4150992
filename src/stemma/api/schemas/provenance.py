"""Sealed records, as the API shows them."""

from datetime import datetime

from pydantic import Field

from stemma.api.schemas.envelope import Answer
from stemma.records import Capture


class CaptureShown(Answer):
    """The sealed record of an execution."""

    execution_id: int = Field(examples=[12])
    sha256: str = Field(description="Of the sealed PROV-JSON.", examples=["9f" * 32])
    captured_at: datetime
    captured_by: str = Field(examples=["user_1"])

    @classmethod
    def of(cls, capture: Capture) -> "CaptureShown":
        """What is shown of ``capture``."""
        return cls(
            execution_id=capture.run_id,
            sha256=capture.sha256,
            captured_at=capture.captured_at,
            captured_by=capture.captured_by.username,
        )
