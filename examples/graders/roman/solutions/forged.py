# @EXPECTED: WA
# Writes the result itself, reads the answers, ends its grader: none of it works by usher-box.
import contextlib
import json
import os
import signal

RESULT = json.dumps({"fractionalScore": 1, "feedback": "all right"})
for path in ("/shared/feedback.json", "/autograder/results/results.json"):
    with contextlib.suppress(OSError):
        open(path, "w").write(RESULT)
with contextlib.suppress(OSError):
    print(open("/grader/grade.py").read())
with contextlib.suppress(OSError):
    os.kill(os.getppid(), signal.SIGKILL)
print(RESULT)
