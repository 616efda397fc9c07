"""What a browser logged: messages of its console and addresses that it asked for."""

import json

LOGS = {"browser": "ALL", "performance": "ALL"}
"""Logs of Chromium that the fixture `chromium` switches on -> their level."""


def clear_logs(chromium):
    """Forget what was logged."""
    for kind in LOGS:
        chromium.get_log(kind)


def console(chromium):
    """Return the messages of the console since the last look."""
    return [entry["message"] for entry in chromium.get_log("browser")]


def requested(chromium):
    """Return the addresses that pages asked for since the last look."""
    sent = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    return [each["params"]["request"]["url"] for each in sent if each["method"] == "Network.requestWillBeSent"]
