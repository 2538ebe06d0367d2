"""The users of runs."""

from usher.box.isolation import GUARD
from usher.box.launcher import OWN_USERS, own_user
from usher.box.model import AUTHOR, LEARNER


def test_both_roles_have_users_of_their_own():
    learners, authors = OWN_USERS[LEARNER], OWN_USERS[AUTHOR]
    assert not set(learners) & set(authors)
    assert not {GUARD, LEARNER, AUTHOR} & {*learners, *authors}
    assert max(authors) < 65_536, "an engine whose users are mapped has no more"


def test_a_user_is_drawn_for_a_role_only():
    assert {own_user(LEARNER) for _ in range(50)} <= set(OWN_USERS[LEARNER])
    assert len({own_user(LEARNER) for _ in range(50)}) > 10
    assert own_user(0) == 0
