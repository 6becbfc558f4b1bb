"""Everything else that people ask, and honesty about it. Pure."""

from __future__ import annotations

from pipelines.starter.state import State, Turn
from pipelines.starter.words import PLACES, any_word

FALLBACKS = (
    "I am the small built-in model and do not know that. A larger one can be installed with visavis models pull.",
    "That is beyond me: I am only the small built-in model. You can install a larger one with visavis models pull.",
    "I cannot answer that. I am the small built-in model; visavis models pull installs a larger one.",
)
_TOPICS = (
    "the capital of {p}", "the president of {p}", "the weather", "the weather in {p}", "the weather tomorrow",
    "the news", "the meaning of life", "the best {w}", "the price of {w}", "the history of {p}", "a {w}", "{w}",
    "the {w} of {w2}", "{w} and {w2}", "the population of {p}", "the distance to {p}", "my {w}", "the world cup",
    "the stock market", "quantum physics", "football", "music", "politics", "the moon", "the largest animal",
    "the speed of light", "the fastest car", "a good restaurant", "the second world war", "cooking {w}",
)  # fmt: skip
_ASKED = (
    "(what is|what's|what was|what are|who is|who was|who were|where is|when is|when was|why is|how is) {t}",
    "(tell me|can you tell me|could you tell me|please tell me|explain|describe|"
    "i want to know) (more |something |all |)"
    "about {t}",
    "(who|what|which country) (invented|wrote|discovered|built|made|won|painted|started|sells) {t}",
    "how (tall|old|big|far|heavy|deep|expensive|long|fast|large) is {t}",
    "(do|did|does) (you know|you like|you think about|people like|anyone need|you believe in|he need|they eat) {t}",
    "how (do|can|should) (i|you|we|they) (make|cook|build|fix|learn|get to|find|buy|get|clean|write|use) {t}",
    "(why|when|where) (do|does|did) (people|birds|we|it|the {w}|cats|they) (like|eat|need|buy|use|make|find) {t}",
    "(play|find|show me|open|call|search for|order|send|read me|turn on|buy|book|translate|download|draw) {t}",
    "(write|sing|read|compose) (me |)(a|the) (poem|song|story|letter|essay|program|code) about {t}",
    "(what do you think|what do you know|have you heard|are you sure) (about|of) {t}",
    "(should i|can i|may i|will i|is it good to|is it safe to) (buy|eat|sell|visit|use|drink|learn|{w}) {t}",
    "(which|what) (is better|do you prefer) {w} or {w2}",
    "(explain|define|what does|what is the meaning of) (the word |) {w} (mean|)",
    "what (happens|goes on|is going on|lives|happened) (in|inside|with|to|after|before|under) {t}",
    "what (makes|causes|moves|drives|destroys|helps|costs|follows from|does) {t}( work| move| grow| happen||)",
    "(compare|mix|connect|combine) {w} (and|with|to) {t}",
    "(teach|show|help) me (about|with|how to do|to understand|to learn) {t}",
    "(recommend|suggest|name|list|give me) (a|some|three|the best|a good) {w} (about|for|of|on|in) {t}",
    "(sing|whistle|play|hum) (me |us |)(a|some|my|the) (song|music|tune|{w})( about {t}||)",
    "how (many|much) {w} (does|do|did|are|is|can|has|have|will) (the |a |) {w2} (have|get|cost|eat|in|weigh|need|make|take|)",
    "(did|does|do|will|can|could|would|should) (the |a |my |) {w} (really |ever |) {w2} (the |a |in |to |with |) {t}",
    "(i need|i want|i would like|i'd like|get me|bring me|make me) (a|an|some|the|my|to know about) {w}( for {t}| and {w2}||)",
    "(say|put|translate) {w} (in|into) (french|german|spanish|italian|chinese|another language)",
    "(who|what) (is|was|were|are) (the |a |) {w} (of|in|behind|against|for|and|with) (the |a |) {w2}",
    "(why|how come|since when|how) (did|does|is|was|are|were|can|has) (the |a |) {w} {w2}( so| in {p}||)",
    "how (high|tall|deep|old|far|big|heavy|fast|dangerous|cold|hot|long|strong|wide) (can|does|did|was|is) (the |a |) {w} (get|go|be|)",
    "(what|which) (is|was|are) (the |) (best|biggest|oldest|first|fastest|worst|most {w}) {w2}( in {p}| of all| ever||)",
    "(when|where) (did|does|do|will|can|was|is|could) (i|we|the {w}|they|he|she|people|a {w}) (see|find|get|begin|end|go|{w2}) (a |the |) {t}",
    "what (should|would|could|can|do) (i|we|you|they|it|a {w}) (do|wear|eat|say|cost|think|cook|read) (with|about|for|on|in) {t}",
    "(my|our|the) {w} (is|was|does not|will not|has) (broken|{w2}|work|lost|wrong) (what do i do|can you help|how do i fix it|why)",
    "(is it|was it|will it be|would it be) (cold|hot|safe|nice|legal|easy|far|true|{w}) (in|to|with|for|about) {t}",
    "(calculate|compute|what is) the (square root|logarithm|area|volume|average|percentage|speed) of {t}",
    "(remember|save|write down|note|remind me of|record|send|email|text|call|phone) (the |my |a |) {w} (to|for|about|and) {t}",
    "(is|are|was|were|will|does|has) {t} (good|real|true|{w}|dangerous|expensive|healthy|still alive|coming back)",
)


def fallback(s: State) -> Turn:
    slots = {"p": s.rng.choice(PLACES), "w": any_word(s.rng), "w2": any_word(s.rng)}
    topic = s.rng.choice(_TOPICS).format(**slots)
    return Turn("fallback", s.say(*_ASKED, t=topic, **slots), s.vary(*FALLBACKS))


def noise(s: State) -> Turn:
    """Words that make no sense, as a recogniser makes them out of noise."""
    user = " ".join(any_word(s.rng) for _ in range(s.rng.randint(2, 7)))
    return Turn("noise", user, "I did not understand that. Could you say it again?")
