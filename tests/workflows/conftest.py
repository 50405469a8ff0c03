"""Temporal's time-skipping test server, on which hours pass in seconds."""

from collections.abc import AsyncIterator

import pytest
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from pytake.temporal import attributes
from pytake.temporal import client as temporal
from pytake.temporal.embedded import binary


@pytest.fixture(scope="module")
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=binary("temporal-test-server"),
        data_converter=pydantic_data_converter,
    )
    async with environment:
        names = [key.name for key in attributes.SEARCH_ATTRIBUTES]
        await temporal.add_search_attributes(environment.client, names)
        yield environment
