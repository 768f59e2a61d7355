"""The scenario's steps in which something fails, and what a user of either SDK reads of it."""

from __future__ import annotations

import uuid

from adaptors import WAIT_S, step


@step
def remote_errors_bring_their_traceback(sdk):
    with sdk.executor() as executor:
        error = sdk.as_failed(executor.submit(sdk.there.divide).exception(WAIT_S))
    assert "ZeroDivisionError: division by zero" in str(error)
    assert "in divide" in str(error)
    assert "Traceback" in str(error)


@step
def a_failed_task_is_told_by_the_client(sdk):
    task = sdk.run(sdk.client.register_function(sdk.there.divide))
    error = sdk.failure_of(task, WAIT_S)
    assert "ZeroDivisionError" in str(sdk.as_failed(error))


@step
def an_open_task_is_pending(sdk):
    task = sdk.run(sdk.client.register_function(sdk.there.doze), 2)
    said = ""
    try:
        sdk.client.get_result(task)
    except sdk.TaskPending as error:
        said = str(error)
    assert "ending" in said or "not ended" in said
    document = sdk.client.get_batch_result([task])[task]
    assert document["pending"] is True
    assert sdk.wait_for(task, WAIT_S) == "awake"


@step
def results_above_the_limit_are_named(sdk):
    with sdk.executor() as executor:
        error = executor.submit(sdk.there.big, 11 * 1024 * 1024).exception(WAIT_S)
        assert isinstance(error, sdk.TaskExecutionFailed)
        assert "MaxResultSizeExceeded" in str(error)
        # The limit itself still fits (base64 makes a third more of it).
        assert (
            len(executor.submit(sdk.there.big, 7 * 1024 * 1024).result(WAIT_S)) == 7 * 1024 * 1024
        )


@step
def results_that_may_not_be_read_are_told(sdk):
    careful = sdk.serializer(allowed=["AllCodeStrategies", "JSONData"])
    with sdk.executor(serializer=careful) as executor:
        error = executor.submit(sdk.there.double, 1).exception(WAIT_S)
    assert isinstance(sdk.root_of(error), sdk.DeserializationError), repr(error)


@step
def payloads_that_cannot_be_read_are_told(sdk):
    function = sdk.client.register_source_code("def broken(:\n", "broken")
    with sdk.executor() as executor:
        error = executor.submit_to_registered_function(function).exception(WAIT_S)
    assert isinstance(error, sdk.TaskExecutionFailed)
    assert "eserializ" in str(error) or "read" in str(error)


@step
def no_or_bad_token_is_401(sdk):
    refused = sdk.refused(lambda: sdk.stranger("no-such-token").endpoints("owner"))
    assert (refused.status, refused.code) == (401, "UNAUTHENTICATED")


@step
def what_is_not_there_is_404(sdk):
    elsewhere = str(uuid.uuid4())
    function = sdk.client.register_function(sdk.there.nothing)
    asked = {
        "ENDPOINT_NOT_FOUND": [
            lambda: sdk.run(function, endpoint=elsewhere),
            lambda: sdk.endpoint_status(elsewhere),
            lambda: sdk.endpoint_metadata(elsewhere),
            lambda: sdk.delete_endpoint(elsewhere),
            lambda: sdk.stop_endpoint(elsewhere),
        ],
        "FUNCTION_NOT_FOUND": [
            lambda: sdk.run(elsewhere),
            lambda: sdk.client.get_function(elsewhere),
            lambda: sdk.client.delete_function(elsewhere),
        ],
        "TASK_NOT_FOUND": [lambda: sdk.client.get_task(elsewhere)],
        "TASKGROUP_NOT_FOUND": [lambda: sdk.rest("GET", f"/v2/taskgroup/{elsewhere}")],
    }
    for code, calls in asked.items():
        for call in calls:
            refused = sdk.refused(call)
            assert (refused.status, refused.code) == (404, code)
            assert elsewhere in refused.text
    with sdk.executor(endpoint_id=elsewhere) as executor:
        error = executor.submit_to_registered_function(function).exception(WAIT_S)
        assert sdk.as_refused(error).code == "ENDPOINT_NOT_FOUND"


@step
def payloads_above_the_limit_are_413(sdk):
    function = sdk.client.register_function(sdk.there.nothing)
    refused = sdk.refused(lambda: sdk.run(function, "x" * (11 * 1024 * 1024)))
    assert (refused.status, refused.code) == (413, "TASK_PAYLOAD_TOO_LARGE")
    assert str(10 * 1024 * 1024) in refused.text


@step
def options_that_the_schema_refuses_are_422(sdk):
    with sdk.executor(user_endpoint_config={"MAX_WORKERS": "many"}) as executor:
        refused = sdk.as_refused(executor.submit(sdk.there.nothing).exception(WAIT_S))
    assert (refused.status, refused.code) == (422, "SEMANTICALLY_INVALID")
    assert refused.text.startswith("Request payload failed validation: ")
    assert "MAX_WORKERS" in refused.text


@step
def who_maps_to_nobody_is_422(sdk):
    other = sdk.stranger()
    with other.executor() as executor:
        refused = sdk.as_refused(executor.submit(sdk.there.nothing).exception(WAIT_S))
    assert (refused.status, refused.code) == (422, "SEMANTICALLY_INVALID")
    assert refused.text.startswith("Request payload failed validation: ")
    assert "Identity failed to map to a local user name" in refused.text
