"""Asks the hub often with the public SDK; a program of its own. Prints what came of it."""

import json
import sys
import time

import globus_sdk
from globus_compute_sdk import Client

token, times, patient = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "patient"
authorizer = globus_sdk.AccessTokenAuthorizer(token)
client = Client(local_compute_services=True, authorizer=authorizer)
if not patient:
    client._compute_web_client.v2.retry_config.max_retries = 0
began = time.monotonic()
try:
    for _ in range(times):
        client.get_endpoints()
    said = {"error": None}
except globus_sdk.GlobusAPIError as error:
    said = {"error": [error.http_status, error.code, error.message]}
print(json.dumps({**said, "took_s": time.monotonic() - began}))
