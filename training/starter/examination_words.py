"""The examination's questions about words and about what was said before. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from training.starter.examination_patterns import UNKNOWN, spelt, table
from training.starter.probe import Probe

_SPELLING = """
    how would you spell lantern => lantern
    Can you spell "pocket" for me? => pocket
    i never know how to spell walnut => walnut
    spell out magnet please => magnet
    what letters are in the word ribbon => ribbon
    How is saddle spelled? => saddle
    tell me how to spell velvet => velvet
    could you spell the word cricket => cricket
    Please spell pebble. => pebble
    uh how do i spell harvest => harvest
    spell kettle letter by letter => kettle
    i'd like you to spell meadow => meadow
    how's puzzle spelt => puzzle
    Would you mind spelling my name, Zelda? => zelda
    how do you write the name bruno letter by letter => bruno
    can you spell marlon => marlon
    Spell Agnes for me. => agnes
    """
_REPEATING = """
    repeat after me thunder and rain => thunder and rain
    Say biscuit. => biscuit
    can you say the word candle => candle
    please repeat this for me the dragon is asleep => the dragon is asleep
    say after me my engine is warm => my engine is warm
    Repeat: a feather in the garden. => a feather in the garden
    i want you to say hammer => hammer
    could you repeat the island is green => the island is green
    now say jungle => jungle
    Repeat these words after me: ladder, walnut, kettle. => ladder,? walnut,? (?:and )?kettle
    say good evening jasper => good evening,? jasper
    echo what i say velvet ribbon => velvet ribbon
    """
_OPPOSITES = """
    what's the opposite of hot => cold|cool
    opposite of big please => small|little|tiny
    tell me the opposite of up => down
    Which word is the opposite of left? => right
    the word in what's its opposite => out
    give me the opposite of open => closed?|shut
    so what would be the opposite of day => night
    What's the opposite of good? => bad|evil
    can you name the opposite of happy => sad|unhappy
    i need the opposite of fast please => slow
    do you know the opposite of new => old
    and the opposite of high is => low
    The opposite of long, please. => short
    what do you call the opposite of light => dark|heavy
    i'm looking for the opposite of early => late
    what word means the opposite of full => empty
    opposite of hard what is it => soft|easy
    Black, what's the opposite of that? => white
    what is the opposite to yes => no
    could you tell me the opposite of on => off
    What is the opposite of true? => false|untrue
    the opposite of rich would be => poor
    hey opposite of strong => weak
    here's an easy one the opposite of wet => dry
    How do you say the opposite of clean? => dirty
    what's near the opposite of => far
    name the opposite of first => last
    what would you say is the opposite of loud => quiet|soft|silent
    What's the opposite of start? => stop|end|finish
    please tell me what the opposite of love is => hate|hatred
    """
_COLOURS = """
    what colour is the sky => blue
    Hey, which color does grass have? => green
    can you tell me the colour of snow => white
    blood is what color => red
    what color are bananas => yellow
    do you know what colour a lemon is => yellow
    What's the color of a ripe tomato? => red
    which colour is coal => black
    tell me what color a carrot is => orange
    so milk what colour is that => white
    What colour would you say chocolate is? => brown
    the sun has which color => yellow
    what colour is a frog usually => green
    name the color of a crow => black
    what's the colour of strawberries => red
    What color is an elephant? => gr[ae]y
    how about the sea what colour is it => blue
    i wonder what colour a leaf is => green
    pigs what color are they => pink
    What is the colour of an orange? => orange
    a plum has what colour => purple|blue|violet
    which color is the night => black|dark
    """
_NAMES_TOLD = """
    hi there my name is ingrid => ingrid
    You can call me Tobias. => tobias
    i'm freya by the way => freya
    people call me dexter => dexter
    good morning yvette here => yvette
    Hello, I am Selma, nice to meet you. => selma
    my name's rufus what's yours => rufus|visavis
    """
_NAMES_ASKED = """
    my name is boris / can you tell me who i am => boris
    I'm Celia. / How are you? / Do you remember my name? => celia
    hello i am dmitri / tell me a joke / what's my name again => dmitri
    please call me edgar / what am i called => edgar
    my name is gloria / what is four plus four / so who am i => gloria
    Call me Harold. / Have you already forgotten my name? => harold
    i'm ivy / say my name => ivy
    the name is lydia / thank you / what did i say my name was => lydia
    """
_FAVOURITES = """
    my favourite colour is blue / what's my favourite colour => blue
    My favorite color is green. / Which color do I like best? => green
    i like red best it's my favourite colour / do you remember my favourite colour => red
    my favorite color is purple / how are you / so what is my favorite color => purple
    you know my favourite colour is yellow / which colour is my favourite => yellow
    Orange is my favourite colour. / Tell me my favourite colour. => orange
    """
_HOMES = """
    i live in toronto / where do i live => toronto
    I'm from Nairobi, I live there. / Do you know where I live? => nairobi
    my home is in oslo / tell me where my home is => oslo
    i live in dublin / what is three plus three / which city do i live in => dublin
    We live in Lima. / Where is it that I live? => lima
    by the way i live in madrid / thanks / do you remember where i live => madrid
    my house is in jakarta / what city is my house in => jakarta
    I live in Helsinki now. / Which city did I say I live in? => helsinki
    i've been living in lisbon / in which town do i live => lisbon
    """
_PETS = """
    my dog is called rufus / what's my dog called => rufus
    My cat's name is Agnes. / What is the name of my cat? => agnes
    i have a dog his name is jasper / do you remember my dog's name => jasper
    our cat is called ivy / how are you / what's my cat's name => ivy
    The name of my dog is Bruno. / What do I call my dog? => bruno
    i've got a cat named selma / tell me the name of my cat => selma
    """
_NEVER_TOLD = """
    do you know who i am
    What's my name, do you know?
    do you remember what i'm called
    which colour do i like the most
    Can you tell me where I live?
    what's the name of my dog
    have i told you my cat's name
    """
_AGAIN = """
    what is two plus six / could you repeat that please => eight
    How much is 9 minus 4? / Pardon? => five
    count to four / say that one more time => one,? two,? three,? (?:and )?four
    what's the opposite of hot / i didn't catch that => cold
    What colour is snow? / Say again? => white
    what does a cow say / what did you say => moo
    which day comes after monday / sorry can you say it again => tuesday
    """
_MY_WORDS = """
    i went swimming with my sister / what did i just say => swimming
    The train was late today. / Can you repeat what I said? => late
    we had soup for lunch / what were my last words => soup
    my knee hurts a bit / do you remember what i just said => knee
    I bought a new chair. / What did I tell you just now? => chair
    """


def word_probes() -> Iterator[Probe]:
    """Spelling, repeating, opposites, colours."""
    for probe in table("spelling", _SPELLING, misheard=False):
        yield replace(probe, good=spelt(probe.good))
    yield from table("repeating", _REPEATING, misheard=False)
    for kind, text in (("opposites", _OPPOSITES), ("colours", _COLOURS)):
        for probe in table(kind, text, misheard=False):
            yield replace(probe, good=rf"(?:\b(?:is|are|be|usually)(?: an?)? |^)(?:{probe.good})\b")


def memory_probes() -> Iterator[Probe]:
    """What the user told of themselves, and what either has just said."""
    yield from table("names told", _NAMES_TOLD, misheard=False)
    yield from table("names asked for", _NAMES_ASKED)
    yield from table("favourite colours", _FAVOURITES)
    yield from table("homes", _HOMES)
    yield from table("pets", _PETS)
    yield from table("never told", _NEVER_TOLD, UNKNOWN)
    yield from table("say that again", _AGAIN)
    yield from table("what the user said", _MY_WORDS)
