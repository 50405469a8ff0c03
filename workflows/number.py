"""NumberWorkflow: brings a throttled number's rate back to full speed."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.numbers import NumberActivities
    from pytake.numbers.contracts import CHANGED_SIGNAL, NumberInput
    from workflows.policies import STEER_TIMEOUT, UNLIMITED_RETRY


@workflow.defn
class NumberWorkflow:
    """Applies the number's weight after every change, and steps back up while it is throttled."""

    @workflow.init
    def __init__(self, request: NumberInput) -> None:
        self._changed = False

    @workflow.signal(name=CHANGED_SIGNAL)
    def changed(self) -> None:
        """The number's row changed."""
        self._changed = True

    @workflow.run
    async def run(self, request: NumberInput) -> str:
        """Runs until the weight is applied and no step is due; returns a note on the number's state."""
        while True:
            self._changed = False
            step = await workflow.execute_activity_method(
                NumberActivities.steer_number,
                request,
                start_to_close_timeout=STEER_TIMEOUT,
                retry_policy=UNLIMITED_RETRY,
            )
            if step.wait_seconds <= 0 and not self._changed:
                return step.note
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(request)
            if not self._changed:
                try:
                    await workflow.wait_condition(lambda: self._changed, timeout=step.wait_seconds)
                except TimeoutError:
                    continue


WORKFLOWS = (NumberWorkflow,)
