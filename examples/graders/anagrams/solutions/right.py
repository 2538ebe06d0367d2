# @EXPECTED: AC
import sys

groups = {}
for word in sys.stdin.read().split():
    groups.setdefault("".join(sorted(word)), []).append(word)
for group in sorted(sorted(group) for group in groups.values()):
    print(*group)
