"""The outbox: an item that cannot be begun does not hold up the others."""

from collections.abc import Sequence

from temporalio.service import RPCError, RPCStatusCode

from pytake.process.outbox import Outbox

POISON = RPCError("too many signals", RPCStatusCode.INVALID_ARGUMENT, b"")
DOWN = RPCError("no route", RPCStatusCode.UNAVAILABLE, b"")


class Numbers(Outbox[int]):
    """Ten items, read two at a time; ``errors`` maps an item to the error that beginning it raises."""

    items = "numbers"

    def __init__(self, errors: dict[int, Exception]) -> None:
        super().__init__()
        self.waiting = list(range(10))
        self.tried: list[int] = []
        self.errors = errors

    async def _begin(self, item: int) -> None:
        self.tried.append(item)
        if item in self.errors:
            raise self.errors[item]

    async def _begun(self, items: Sequence[int]) -> None:
        self.waiting = [item for item in self.waiting if item not in items]

    async def _missed(self, skip: int) -> Sequence[int]:
        return self.waiting[skip : skip + 2]


async def test_items_that_fail_to_begin_are_left_and_all_others_recorded() -> None:
    outbox = Numbers({0: POISON, 1: ValueError(), 5: POISON})
    await outbox.start([4, 5])
    assert outbox.waiting == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    await outbox.sweep()
    assert outbox.waiting == [0, 1, 5]
    assert outbox.tried.count(9) == 1


async def test_a_sweep_gives_up_while_temporal_is_down() -> None:
    outbox = Numbers(dict.fromkeys(range(10), DOWN))
    await outbox.sweep()
    assert outbox.tried == [0, 1]
