"""Marks learners' files: graders, cases, checkers, verdicts, scores, results."""
