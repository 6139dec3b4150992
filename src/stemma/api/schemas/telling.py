"""Events of steps, as others' engines tell them, and what becomes of them."""

from datetime import datetime
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from stemma.api.schemas.envelope import Answer, Shown
from stemma.database.queries.hints import ToldState
from stemma.lifecycle.telling import MOST_ADDRESSES, Outcome, Result, StepEvent
from stemma.lifecycle.telling_inputs import Ahead

MOST_EVENTS: Final = 500
"""How many may come in one request."""
_LARGEST_NUMBER: Final = 10**18 - 1
_STEP_CHARACTERS: Final = 1000
_LABEL_CHARACTERS: Final = 255


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it must be of characters that can be printed")
    return text


_Text = Annotated[str, AfterValidator(_printable)]


class StepEventAsked(BaseModel):
    """That a step has come to a state."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: _Text | None = Field(
        default=None,
        max_length=_LABEL_CHARACTERS,
        description="Yours, to tell events apart in the answer. Events can be sent again with or without it.",
        examples=["7f3c"],
    )
    execution_id: int | None = Field(
        default=None, ge=0, le=_LARGEST_NUMBER, description="An execution of this service.", examples=[None]
    )
    registry_id: int | None = Field(
        default=None,
        ge=0,
        le=_LARGEST_NUMBER,
        description="Or a workflow that you execute elsewhere, or are about to.",
        examples=[7],
    )
    revision: int | None = Field(
        default=None, ge=1, le=2**31 - 1, description="Of the workflow; the newest without.", examples=[None]
    )
    run: _Text = Field(
        default="",
        max_length=_LABEL_CHARACTERS,
        description="What you call your run of the workflow, so that its steps are told from those of other runs.",
        examples=["nightly-17"],
    )
    step: _Text = Field(
        min_length=1,
        max_length=_STEP_CHARACTERS,
        description="As the document calls it: `summarise/merge`; `each[3]` for one element of a scatter.",
        examples=["align"],
    )
    state: ToldState = Field(examples=["added"])
    at: AwareDatetime | None = Field(
        default=None, description="When that was, with its time zone; now without.", examples=["2026-05-04T09:30:00Z"]
    )
    inputs: list[str | dict[str, Any]] = Field(
        default=[],
        max_length=MOST_ADDRESSES,
        description=(
            "What the step reads from elsewhere, to be fetched ahead: addresses (of a folder with / at its end), or "
            "Files and Directories as in an input object. With `registry_id` alone: an execution has its inputs."
        ),
        examples=[["s3://sequencing/run-17/reads.fastq.gz"]],
    )

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        """It is about one thing."""
        if (self.execution_id is None) == (self.registry_id is None):
            raise ValueError("give either execution_id or registry_id")
        if self.execution_id is not None and (self.revision is not None or self.run or self.inputs):
            raise ValueError("revision, run and inputs go with registry_id: an execution has its own")
        return self

    def event(self) -> StepEvent:
        """As the lifecycle takes it."""
        return StepEvent(
            step=self.step,
            state=self.state,
            execution_id=self.execution_id,
            registry_id=self.registry_id,
            revision=self.revision,
            run=self.run,
            at=self.at,
            inputs=self.inputs,
        )


class StepEventsAsked(BaseModel):
    """Events of steps. A single one may be sent as it is, without the list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    events: list[StepEventAsked] = Field(min_length=1, max_length=MOST_EVENTS)

    @model_validator(mode="before")
    @classmethod
    def _single(cls, given: Any) -> Any:
        """One event is a list of one."""
        return {"events": [given]} if isinstance(given, dict) and "step" in given else given


class LeftOutShown(Answer):
    """An input that is not fetched ahead."""

    address: str = Field(examples=["https://data.example.org/genome.fa"])
    reason: str = Field(examples=["its server does not tell how large it is"])


class AheadShown(Answer):
    """What becomes of the inputs of a step."""

    here: int = Field(description="Files that are here already.", examples=[0])
    to_come: int = Field(description="Files that are fetched.", examples=[1])
    left_out: int = Field(description="Files, or addresses, that are not.", examples=[0])
    reasons: list[LeftOutShown] = Field(description="Why; of many, the first ones.", examples=[[]])

    @staticmethod
    def of(ahead: Ahead) -> Shown:
        """What is shown of ``ahead``."""
        reasons = [{"address": one.address, "reason": one.reason} for one in ahead.reasons]
        return {"here": ahead.here, "to_come": ahead.to_come, "left_out": len(ahead.left_out), "reasons": reasons}


class StepEventShown(Answer):
    """What became of an event."""

    id: str | None = Field(examples=["7f3c"])
    execution_id: int | None = Field(examples=[None])
    registry_id: int | None = Field(examples=[7])
    run: str = Field(examples=["nightly-17"])
    step: str = Field(examples=["align"])
    state: ToldState = Field(examples=["added"])
    at: datetime | None = Field(examples=["2026-05-04T09:30:00Z"])
    result: Result = Field(description="`known`: it told nothing new.", examples=["taken"])
    reason: str | None = Field(description="Why it was refused.", examples=[None])
    ahead: AheadShown | None = Field(description="Of its inputs, where it has any.")

    @staticmethod
    def of(asked: StepEventAsked, outcome: Outcome) -> Shown:
        """What is shown of ``outcome``."""
        named = {name: getattr(asked, name) for name in ("id", "execution_id", "registry_id", "run", "step", "state")}
        ahead = None if outcome.ahead is None else AheadShown.of(outcome.ahead)
        return {**named, "at": asked.at, "result": outcome.result, "reason": outcome.reason, "ahead": ahead}


class StepEventsShown(Answer):
    """What became of events."""

    taken: int = Field(examples=[1])
    known: int = Field(description="They told nothing new.", examples=[0])
    refused: int = Field(examples=[0])
    events: list[StepEventShown] = Field(description="In the order in which they came.")

    @staticmethod
    def of(asked: StepEventsAsked, outcomes: list[Outcome]) -> Shown:
        """What is shown of ``outcomes``."""
        counts = {result.value: sum(one.result is result for one in outcomes) for result in Result}
        return {**counts, "events": [StepEventShown.of(*each) for each in zip(asked.events, outcomes, strict=True)]}
