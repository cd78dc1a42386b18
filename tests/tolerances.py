"""Every tolerance of the tests, each with its reason, in one place."""

#: Hidden states and logits against transformers in float32, relative to the largest magnitude:
#: the contract's bound. Both sides round some 10 layers of sums of a thousand products.
PARITY = 2e-5

#: Losses, relative: a mean over logits that are within PARITY each.
LOSS = 5e-5

#: float32 ops against their float64 definition, relative to the largest magnitude: a few dozen
#: roundings of 6e-8 each, none amplified.
OP = 1e-5

#: A weight of expected attention where the cosine is 1 or -1: acos has an infinite slope there, so
#: a cosine that rounds by 1e-7 moves the angle by sqrt(2e-7), and its share of pi by 1.5e-4.
POLE = 3e-4

#: A float16 output of float32 sums, relative to the largest magnitude: one rounding to 11 bits,
#: 2 ** -11, and what float32 adds.
HALF = 5e-4

#: One rounding to the 11 bits of float16, relative to the number itself.
HALF_ROUNDING = 2**-11

#: Logits of a small model with float16 weights and activations, relative to the largest magnitude:
#: some ten roundings of 2 ** -11 in a row, which add up like a random walk.
HALF_MODEL = 5e-3

#: Scores of pipelines against transformers', relative: probabilities of float32 logits.
SCORE = 2e-3

#: A product of 8-bit integers against the exact one, relative to the largest magnitude: two
#: roundings of 1/254 of a row's largest value each, over sums of many.
INT8 = 2e-2

#: Roundings of a sum's numbers to the 8 bits of bfloat16, relative to the sum of magnitudes: each
#: is 2 ** -8 at most, and half of it or less as a rule.
BFLOAT16_ROUNDING = 2**-8 / 2

#: Two products of bfloat16 in a row, relative to the largest magnitude: sums that differ by a
#: rounding of float32 may be rounded to either neighbour, which are 2 ** -8 apart.
BFLOAT16 = 2**-8

#: Logits of the bundled model in bfloat16, relative to the largest magnitude: a BFLOAT16_ROUNDING
#: of each side of a product, over three layers of four that partly add up.
BFLOAT16_MODEL = 1e-2

#: Logits of the bundled model in int8, relative to the largest magnitude: INT8 of a product, over
#: three layers of four that partly add up.
INT8_MODEL = 4e-2
