# @EXPECTED: WA
number = int(input())
text = ""
for value, sign in [(1000, "M"), (500, "D"), (100, "C"), (50, "L"), (10, "X"), (5, "V"), (1, "I")]:
    text += sign * (number // value)
    number %= value
print(text)
