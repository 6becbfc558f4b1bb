"""What is spoken to measure endpointing: sentences in which people pause before they go on, and some without one."""

from __future__ import annotations

PAUSED = (
    "I would like to book a table for ... four people tomorrow evening.",
    "Can you tell me ... how far it is to the station?",
    "My number is five five five ... one two three four.",
    "The code is seven two ... nine one.",
    "Please remind me to call ... my sister on Sunday.",
    "I went to the market and ... bought some apples.",
    "What I really want to know is ... whether it will rain.",
    "Play some music ... by the Beatles.",
    "I think ... we should go home now.",
    "If it is not too late ... could you call a taxi?",
    "Turn on the light in the kitchen ... and in the hall.",
    "I like it ... but not today.",
    "My name is ... Margaret Hall.",
    "We need milk ... bread ... and butter.",
    "Um ... what is the capital of Peru?",
    "The meeting is on Monday ... no, on Tuesday.",
    "Write a message to John ... I will be late.",
    "So ... tell me a story.",
    "How do you say ... good morning in French?",
    "I am looking for a hotel that is not too expensive ... near the river.",
    "It costs ... about twenty five dollars.",
    "Because of the weather ... the train is late.",
    "Could you ... speak a little slower please?",
    "He told me that ... he would come at six.",
    "Set an alarm for ... half past seven.",
    "My address is twenty one ... Baker Street.",
    "That was good ... and now the next one.",
    "The first thing is easy ... the second one is not.",
    "Add two hundred and ... fifty to that.",
    "When I was young ... we had no telephone.",
    "Is there a pharmacy ... that is open now?",
    "Well ... I am not sure about that.",
)
"""Spoken with pauses of :data:`PAUSES_MS` in turn."""
WHOLE = (
    "What time is it?",
    "Thank you very much.",
    "Tell me about the history of Paris.",
    "How are you today?",
    "Stop the music please.",
    "What is two plus three?",
    "I would like a cup of coffee.",
    "That is all for now.",
    "No, I do not think so.",
    "Who wrote Romeo and Juliet?",
    "It was in nineteen sixty nine.",
    "My number is five five five one two three four.",
)
PAUSES_MS = (300, 500, 700, 1000)
VOICES = ("en-us", "en-us+f3", "en-gb", "en-us+Annie", "en-gb-scotland", "en-us+Alex")
