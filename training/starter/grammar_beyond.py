"""Everything else that people ask, and honesty about it. Pure."""

from __future__ import annotations

from training.starter.state import State, Turn
from training.starter.words import PLACES, any_word

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
    errand = s.rng.random() < 0.3
    user = s.say(*(_ERRANDS if errand else _ASKED), t=topic, **slots)
    return Turn("fallback", user, s.vary(*FALLBACKS), bid=errand)


_ERRANDS = (
    "(book|reserve|order|find|get|buy|call) (me |us |)(a|the|some) (flight|table|taxi|hotel|pizza|ticket|doctor|train|room|coffee|{w})"
    "( for (tonight|tomorrow|two|me|my {w})| to {p}| in {p}||)",
    "(turn on|turn up|turn down|switch on|dim|lock|unlock|open|close|start|clean) the (lights|light|heating|radio|television|music|volume|"
    "door|car|oven|curtains|browser|{w})( please| now| in the {w2}||)",
    "(play|put on|sing|find) (me |)(some|a|my|the) (music|song|jazz|radio|playlist|movie|video|lullaby|{w})( please| by {w2}||)",
    "(write|draft|compose|prepare|summarize|correct|read|finish) (me |)(a|an|my|this|the) (email|letter|poem|story|essay|report|speech|"
    "article|text|song|novel|program|{w})( about {t}| for my {w2}||)",
    "(tell|read) me (a|the|another) (story|bedtime story|fairy tale|news|headlines|poem|fact|secret|{w} story)( about {t}||)",
    "(send|forward|write) (a|an|this|my) (message|email|text|letter|picture|{w}) to (my (mother|boss|friend|wife|brother|{w})|{w2})",
    "(call|phone|text|message|email|ring) (my|the) (mother|boss|friend|office|doctor|sister|father|neighbor|police|{w})( now||)",
    "(add|put) (a |some |)(milk|bread|{w}|meeting|{w2}) (to|on) my (shopping list|calendar|list|diary|schedule)( for tomorrow||)",
    "(check|read|open|show me|what's on) my (email|calendar|messages|schedule|shopping list|bank account|{w})( for today||)",
    "(translate|say|what is|how do you say) (good morning|thank you|hello|{w}|i love you|{w} {w2}) (to|into|in) (french|german|spanish|"
    "italian|japanese|chinese|russian|english|latin|polish)",
    "(recommend|suggest|pick|choose|name) (me |us |)(a|some|a good|a nice|the best) (movie|book|restaurant|menu|wine|gift|game|song|{w})"
    "( for (tonight|dinner|my {w2})||)",
    "(help me|help me out) with (my|the|this|some) (homework|math|code|taxes|letter|essay|project|fence|{w})( please||)",
    "(plan|organize|arrange|schedule) (my|a|our|the) (trip|day|week|party|meeting|holiday|wedding|{w})( to {p}| for tomorrow||)",
    "(search|look up|google|look for|find out|check) (the web for |the internet for |online for ||) {t}( online| please||)",
    "(draw|paint|show|generate|make|send) (me |)(a|the) (picture|photo|map|image|drawing|logo|video) of {t}",
    "(give me|show me|tell me) (the way|directions|the fastest way|how to get|a map) to (the |)(station|airport|{p}|{w})",
    "(give me|tell me|do you have) (a|the|some) (menu|advice|tips|instructions|prediction|ideas|news) (for|about|on) {t}",
    "(what|how) (should|shall|could|can) (i|we) (cook|eat|wear|do|watch|read|drink|buy|visit) (today|tonight|tomorrow|for dinner|in {p}|"
    "this weekend|about my {w})",
)
"""What is asked of an assistant that can do more."""


def noise(s: State) -> Turn:
    """Words that make no sense, as a recogniser makes them out of noise."""
    user = " ".join(any_word(s.rng) for _ in range(s.rng.randint(2, 7)))
    return Turn("noise", user, "I did not understand that. Could you say it again?")
