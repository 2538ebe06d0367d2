from session_handler.faults import reason_of


def test_the_innermost_reason_is_told_however_deep_it_is():
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [ValueError("the stream is gone")])])
    assert reason_of(group) == "the stream is gone"
    assert reason_of(ValueError("plain")) == "plain"


def test_an_exception_without_words_is_told_by_its_type():
    assert reason_of(ExceptionGroup("outer", [TimeoutError()])) == "TimeoutError"
