"""Events of steps, as others' engines tell them."""

from anyio import to_thread
from fastapi import APIRouter
from fastapi.responses import Response

from stemma.api.answers import answer
from stemma.api.dependencies import Runner
from stemma.api.error_responses import guarded
from stemma.api.schemas.envelope import Envelope
from stemma.api.schemas.telling import StepEventsAsked, StepEventsShown
from stemma.lifecycle.telling import Outcome, tell

router = APIRouter(prefix="/workflow_events", tags=["execution"])


@router.post("", response_model=Envelope[StepEventsShown], responses=guarded(404, 413))
async def tell_of_steps(caller: Runner, asked: StepEventsAsked) -> Response:
    """Tell how far steps are that another engine executes: hints for what is fetched next.

    Nothing of it is put on record. Events may come again and in any order: a step that has ended stays so. Each has its
    answer; where none of them can be taken, that is refused with the reason of each.
    """
    events = [one.event() for one in asked.events]

    def told() -> list[Outcome]:
        return tell(caller.installation, caller.principal, events)

    if any(event.inputs for event in events):  # places elsewhere are asked, which may be slow
        outcomes = await caller.service.transfers.asked(caller.principal.subject, told)
    else:
        outcomes = await to_thread.run_sync(told)
    shown = StepEventsShown.of(asked, outcomes)
    first = next((one.reason for one in outcomes if one.reason is not None), None)
    refused = "" if first is None else f", {shown['refused']} refused; the first: {first}"
    return answer(shown, f"{shown['taken']} of {len(outcomes)} events tell something new{refused}")
