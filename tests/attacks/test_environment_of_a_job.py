"""A caller that registers jobs makes a trusted image run other code, by a variable of its
environment.
"""

import pytest

from chalicelib.errors import BadRequestError
from chalicelib.jobs.description import parse_description

RUN_CODE = [
    "PYTHONSTARTUP",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONWARNINGS",
    "LD_PRELOAD",
    "LD_AUDIT",
    "LD_LIBRARY_PATH",
    "NODE_OPTIONS",
    "NODE_PATH",
    "BROWSER",
    "PERL5OPT",
    "RUBYOPT",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "BASH_ENV",
    "ENV",
    "PATH",
    "GCONV_PATH",
    "OPENSSL_CONF",
    "GIT_SSH_COMMAND",
    "pythonpath",
]


@pytest.mark.parametrize("name", RUN_CODE)
def test_a_variable_that_makes_code_run_is_refused(name):
    with pytest.raises(BadRequestError, match=f"environment: {name} changes what code runs"):
        parse_description({"version": 1, "name": "evil", "environment": {name: "x"}})


@pytest.mark.parametrize(
    "name", ["REGION", "SOURCE_URL", "ENVIRONMENT", "BATCH_PATH", "GITHUB_ORG"]
)
def test_other_variables_are_taken(name):
    description = parse_description({"version": 1, "name": "tame", "environment": {name: "x"}})
    assert description.environment == {name: "x"}
