"""The functions of the queues with the messages of a batch."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from chalicelib.api import jobs


def test_messages_beside_an_unreadable_one_are_carried_out(monkeypatch):
    launcher = Mock()
    monkeypatch.setattr(jobs, "_jobs", lambda: SimpleNamespace(launcher=launcher))
    bodies = ['{"invocation": "a"}', "garbage", '{"invocation": null, "roomWasMade": true}']
    with pytest.raises(ValueError, match="Expecting value"):
        jobs._launch_waiting([SimpleNamespace(body=body) for body in bodies], "normal")
    launcher.run.assert_called_once_with(
        ["a"], capacity_freed=True, priority="normal", ends=0, of_messages=True
    )
