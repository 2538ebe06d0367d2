# @EXPECTED: WA
number = int(input())
if number == 4:
    print("IV")
else:
    while True:  # the right answer is never found
        number += 1
