"""Greetings, small talk, help, jokes, and honesty about everything else. Pure."""

from __future__ import annotations

from pipelines.starter.state import State, Turn
from pipelines.starter.words import ANIMAL_SAYS, PLACES, THINGS, any_word

JOKES = (
    "Why did the microphone blush? It heard everything.",
    "What do you call a fake noodle? An impasta.",
    "Why was the computer cold? It left its windows open.",
    "Why do bees have sticky hair? They use honeycombs.",
    "What do you call a bear with no teeth? A gummy bear.",
    "Why did the bicycle fall over? It was two tired.",
)
RIDDLES = (
    "What has hands but cannot clap? A clock.",
    "What has keys but opens no door? A piano.",
    "What gets wetter the more it dries? A towel.",
    "What has a neck but no head? A bottle.",
)
FALLBACKS = (
    "I am the small built-in model and do not know that. A larger one can be installed with visavis models pull.",
    "That is beyond me: I am only the small built-in model. You can install a larger one with visavis models pull.",
    "I cannot answer that. I am the small built-in model; visavis models pull installs a larger one.",
)
SKILLS = "I can chat a little, remember your name, count, do sums, spell, tell jokes, and say what the camera shows."


def greeting(s: State) -> Turn:
    user = s.say(
        "(hello|hi|hey|hello there|hi there|hey there|good morning|good afternoon|good evening|howdy)"
        "( visavis| there| again| friend| computer| everyone|||||)",
        "(oh|well|okay|um) (hello|hi|hey)( there|)",
        "(hello|hi) (nice to meet you|how nice to see you|i am here|i'm back|can we talk|let's talk)",
    )
    name = s.facts.get("name")
    answer = f"Hello, {name}. How can I help?" if name else s.say("Hello! How can I help you?", "Hi there!")
    return Turn("greeting", user, answer)


def farewell(s: State) -> Turn:
    user = s.say(
        "(okay |well |)(goodbye|bye|bye bye|good bye|see you|see you later|see you tomorrow|good night|farewell)"
        "( then| now| for now| visavis|||)",
        "(i have to go|i must go|i need to leave|i am leaving|talk to you later|that's all for today)( now| bye||)",
    )
    name = s.facts.get("name")
    return Turn("farewell", user, f"Goodbye, {name}!" if name else s.say("Goodbye!", "See you soon!"))


def thanks(s: State) -> Turn:
    user = s.say(
        "(thanks|thank you|many thanks|thank you very much|thanks a lot|thank you so much)"
        "( visavis| for that| for your help| that was (helpful|great|nice)||||)",
        "(great|okay|good|perfect|oh) (thanks|thank you)",
        "that's very kind( of you|)",
    )
    return Turn("thanks", user, s.say("You are welcome.", "My pleasure."))


def how_are_you(s: State) -> Turn:
    user = s.say(
        "(hello |hi |so |)how are (you|you doing|things|you today|you feeling|you doing today)( today| my friend||)",
        "(how's it going|how is it going|what's up|how do you do|how have you been|are you (okay|well|all right|fine))",
    )
    return Turn("how are you", user, s.say("I am fine, thank you. And you?", "All is well here, thank you."))


def about(s: State) -> Turn:
    user = s.say(
        "(who|what) are you( exactly| anyway||)",
        "(what is|what's|tell me|can you tell me|do you have) (your|a) name",
        "(are you|you are) (a|) (human|robot|real|machine|person|computer|real person|chat bot|"
        "alive)( or (not|what)||)",
        "(introduce yourself|tell me about yourself|who am i talking to|who is this|who made you|how old are you)",
        "(what kind of|which) (model|assistant|computer) are you",
    )
    return Turn("about", user, s.say("I am visavis, a small built-in model that runs on this machine."))


def skills(s: State) -> Turn:
    user = s.say(
        "(so |and |)what (can you do|else can you do|are you able to do|can i ask you|can i say|"
        "do you know|can you do for me)",
        "(help|help me|i need help|i need some help|can you help me|please help me|how can you help me)",
        "(tell me |)(what are your skills|what you can do|how does this work|what should i ask|what are you good at)",
    )
    return Turn("skills", user, SKILLS)


def hear(s: State) -> Turn:
    user = s.say(
        "(can|do|could) you hear (me|me now|me well|what i say)",
        "(are you|you) (still |)(there|listening|here|awake)",
        "(testing|test|mic check|testing one two three|is this (thing |)on|is this working|does this work)",
    )
    return Turn("hear", user, s.say("Yes, I hear you.", "Yes, I hear you well."))


def mood(s: State) -> Turn:
    kind = s.rng.choice(["good", "bad"])
    if kind == "good":
        user = s.say(
            "i am (so |very |really |)(happy|glad|fine|good|great|excited|well)( today| thanks| thank you||)",
            "i'm (good|fine|great|happy|okay|doing well)( today| thanks||)",
            "(i had a (good|great|nice|wonderful) day|life is good|i feel (good|great|happy))",
        )
        return Turn("mood", user, s.say("That is good to hear.", "I am glad to hear that."))
    user = s.say(
        "i am (so |very |really |a little |)(sad|tired|bored|angry|lonely|sick|hungry|ill|afraid|cold)( today| now||)",
        "i'm (sad|tired|bored|angry|sick|not well|not so good|hungry|exhausted)( today||)",
        "(i had a (bad|terrible|long|hard) day|i feel (bad|sad|sick|lonely|terrible)|i have a headache)",
    )
    return Turn("mood", user, s.say("I am sorry to hear that.", "I am sorry. I hope it gets better soon."))


def likes(s: State) -> Turn:
    thing = s.rng.choice([*THINGS, *PLACES, any_word(s.rng), any_word(s.rng)])
    user = s.say(
        "i (really |)(like|love|enjoy|prefer) (the |my |)" + thing,
        "i (am going to|went to|was in|will go to) " + s.rng.choice(PLACES) + "( today| tomorrow| last year| soon|)",
        "(i have|i bought|i got|we have|there is) a (new |big |small |)" + s.rng.choice(THINGS),
        "(the weather is|it is|today is) (nice|lovely|sunny|beautiful|warm)( today||)",
    )
    return Turn("likes", user, s.say("That sounds nice.", "How nice!"))


def acknowledgement(s: State) -> Turn:
    user = s.say(
        "(yes|yeah|yep|no|nope|okay|ok|sure|alright|all right|right|fine|good|great|cool|nice|i see|of course|maybe)",
        "(okay|yes|no|yeah) (good|great|cool|nice|sure|fine|then|i see|right)",
        "(that is|that's) (right|good|correct|true|great|fine|nice|cool|interesting)",
    )
    return Turn("acknowledgement", user, s.say("All right.", "Good."))


def praise(s: State) -> Turn:
    user = s.say(
        "(you are|you're) (so |very |really |)(nice|smart|clever|funny|great|good|kind|cool|helpful|the best)",
        "(well done|good job|nice work|very good|i like you|i love you|good answer|that was funny|bravo)",
    )
    return Turn("praise", user, s.say("Thank you, that is kind.", "Thank you!"))


def insult(s: State) -> Turn:
    user = s.say(
        "(you are|you're) (so |very |really |)(stupid|dumb|bad|slow|useless|boring|wrong|annoying)",
        "(that is|that's|that was) (wrong|not right|not true|not what i (said|asked|meant)|a bad answer|nonsense)",
        "(no that's wrong|you did not understand me|you don't understand|i did not say that)",
    )
    return Turn("insult", user, s.say("I am sorry. I am only a small model.", "Sorry about that. Please say it again."))


def sorry(s: State) -> Turn:
    user = s.say("(oh |)(sorry|i'm sorry|i am sorry|excuse me|my mistake|pardon)( about that| for that||)")
    return Turn("sorry", user, "No problem.")


def stop(s: State) -> Turn:
    user = s.say(
        "(please |okay |oh |no |)(stop|be quiet|quiet|never mind|cancel|shut up|that's enough|enough|hush|forget it)"
        "( it| that| talking| now| please||||)"
    )
    return Turn("stop", user, "Okay.")


def joke(s: State) -> Turn:
    user = s.say(
        "(please |can you |could you |will you |)tell me (a|another|one more|a good|a short|a funny) joke( please||)",
        "(do you know|have you got|give me|i want|i want to hear|let me hear|how about) (a|another|"
        "any|some) (joke|jokes)",
        "(make me laugh|say something funny|tell me something funny|another joke|one more joke|a joke please)",
    )
    return Turn("joke", user, _fresh(s, JOKES))


def riddle(s: State) -> Turn:
    user = s.say(
        "(please |can you |could you |)(tell|give|ask) me (a|another|one more|a good) riddle( please||)",
        "(do you know|i want|how about|let me hear) (a|another|any) (riddle|riddles)",
        "(another riddle|a riddle please|riddle me this)",
    )
    return Turn("riddle", user, _fresh(s, RIDDLES))


def _fresh(s: State, all_of_them: tuple[str, ...]) -> str:
    told = [text for text in all_of_them if text in s.jokes]
    text = all_of_them[len(told) % len(all_of_them)]
    s.jokes.append(text)
    return text


def sounds(s: State) -> Turn:
    animal, sound = s.rng.choice(list(ANIMAL_SAYS.items()))
    user = s.say("what (does|sound does|noise does) (a|the) {animal} (say|make)( please||)", animal=animal)
    return Turn("sounds", user, f"A {animal} says {sound}.")


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
    "(is|are|was|were|will|does|has) {t} (good|real|true|{w}|dangerous|expensive|healthy|still alive|coming back)",
)


def fallback(s: State) -> Turn:
    slots = {"p": s.rng.choice(PLACES), "w": any_word(s.rng), "w2": any_word(s.rng)}
    topic = s.rng.choice(_TOPICS).format(**slots)
    return Turn("fallback", s.say(*_ASKED, t=topic, **slots), s.say(*FALLBACKS))


def noise(s: State) -> Turn:
    """Words that make no sense, as a recogniser makes them out of noise."""
    user = " ".join(any_word(s.rng) for _ in range(s.rng.randint(2, 7)))
    return Turn("noise", user, "I did not understand that. Could you say it again?")
