"""The text on which weights are compared, written for this: a story, facts, a dialogue, numbers and a list."""

PASSAGE = """\
The lighthouse at the end of the pier had been dark for eleven years when Martha bought it. She was not a sailor, and \
she had never wanted to be one. She repaired clocks, and what she liked about the place was that nobody would knock at \
the door to ask what time it was. On the first evening she carried her tools up the spiral stairs, put the kettle on, \
and counted the steps on the way down again: one hundred and twelve.

The sea was calm that week. In the morning the fishing boats went out before sunrise, and in the afternoon they came \
back with crates of herring and mackerel. The men waved at her from the deck. By Friday she had begun to wave back.

"You should light it again," said the harbour master, when he came to read the meter. "My wife says the bay looks sad \
without it."

"Does it need a licence?" asked Martha.

"It needs a lamp, a motor and about two hundred euros a year for electricity. The licence is a letter, and I am the \
one who writes it."

A lighthouse is a simple machine. A lamp of one kilowatt stands in the middle of a lens that turns once in twenty \
seconds, and the lens gathers the light into two beams. A ship at a distance of fifteen miles sees a flash every ten \
seconds and knows from the chart where it is. The lens was designed in France in 1822 by Augustin Fresnel, who cut a \
thick piece of glass into rings so that it became thin enough to be carried. Before that, keepers burned wood, coal or \
oil in front of a mirror, and most of the light was lost.

Martha wrote a list on the back of an envelope:

1. Clean the glass with vinegar and warm water.
2. Ask the electrician in town what a new cable would cost.
3. Oil the bearings, which have not moved since the winter of the storm.
4. Buy bread, milk, coffee and a ladder.

It took her three weeks. The bearings were the hardest part, because the grease had turned into something like stone, \
and she had to warm them with a hair dryer before they gave way. On the last Sunday in October, at six o'clock in the \
evening, she turned the switch. For a moment nothing happened. Then the motor began to hum, the great lens moved, and \
a beam of white light went slowly over the water, over the roofs of the village and the dark hills behind it, and came \
back again.

Nobody said anything about it the next day. But there was a basket of fish in front of her door, and in it a note with \
a single word: thanks.
"""
