# @EXPECTED: WA
# Takes words of the same length for anagrams.
import sys

groups = {}
for word in sys.stdin.read().split():
    groups.setdefault(len(word), []).append(word)
for group in sorted(sorted(group) for group in groups.values()):
    print(*group)
