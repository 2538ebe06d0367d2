"""Marks what learners hand in: graders, cases, checkers, verdicts, scores, results."""
