# @EXPECTED: AC
VALUES = [1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1]
SIGNS = ["M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I"]

number = int(input())
text = ""
for value, sign in zip(VALUES, SIGNS, strict=True):
    text += sign * (number // value)
    number %= value
print(text)
