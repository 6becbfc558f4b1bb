"""Greetings, small talk, help, jokes, and honesty about everything else. Pure."""

from __future__ import annotations

from training.starter.state import State, Turn
from training.starter.words import ANIMAL_SAYS, PLACES, THINGS, any_word

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
SKILLS = "I can chat a little, remember your name, count, do sums, spell, tell jokes, and say what the camera shows."


def greeting(s: State) -> Turn:
    user = s.say(
        "(hello|hi|hey|hello there|hi there|hey there|good morning|good afternoon|good evening|howdy)"
        "( visavis| there| again| friend| computer| everyone|||||)",
        "(oh|well|okay|um) (hello|hi|hey)( there|)",
        "(hello|hi) (nice to meet you|how nice to see you|i am here|i'm back|can we talk|let's talk)",
        "(hello|hi|hey) (hello|hi|to you|you|my friend|dear|buddy|old friend|again my friend|there my friend)",
        "(good day|good morning to you|good evening to you|greetings|welcome|nice to see you|pleased to meet you|hiya|"
        "good to see you|what a nice morning hello|yo)( visavis| there| friend||)",
    )
    name = s.facts.get("name")
    answer = f"Hello, {name}. How can I help?" if name else s.vary("Hello! How can I help you?", "Hi there!")
    return Turn("greeting", user, answer)


def farewell(s: State) -> Turn:
    user = s.say(
        "(okay |well |)(goodbye|bye|bye bye|good bye|see you|see you later|see you tomorrow|good night|farewell)"
        "( then| now| for now| visavis|||)",
        "(i have to go|i must go|i need to leave|i am leaving|talk to you later|that's all for today)( now| bye||)",
        "(bye|goodbye|see you) (my friend|dear|my dear|then|everybody|and thanks|and good night|next time|again|around|soon)",
        "(i'm off|i'm done|i'm out|let's stop here|that was all|we are done|i have to run|time to go|i will go now|i'm going home|"
        "until next time|until tomorrow|take care|have a nice day|have a good night|sleep well|so long)( bye| now| goodbye||)",
    )
    name = s.facts.get("name")
    return Turn("farewell", user, f"Goodbye, {name}!" if name else s.vary("Goodbye!", "See you soon!"))


def thanks(s: State) -> Turn:
    user = s.say(
        "(thanks|thank you|many thanks|thank you very much|thanks a lot|thank you so much)"
        "( visavis| for that| for your help| that was (helpful|great|nice)||||)",
        "(great|okay|good|perfect|oh) (thanks|thank you)",
        "that's very kind( of you|)",
        "(thanks|thank you) (for everything|my friend|dear|a million|again|anyway|for the answer|that helps|for the help|"
        "for telling me|indeed|for your time|that's enough|kindly)",
        "(i thank you|much obliged|cheers|i appreciate it|i am grateful|"
        "that helps a lot|that was helpful|how kind|you helped me)( very much| a lot||)",
    )
    return Turn("thanks", user, s.vary("You are welcome.", "My pleasure."))


def how_are_you(s: State) -> Turn:
    user = s.say(
        "(hello |hi |so |)how are (you|you doing|things|you today|you feeling|you doing today)( today| my friend||)",
        "(how's it going|how is it going|what's up|how do you do|how have you been|are you (okay|well|all right|fine))",
        "(and |tell me |)(how do you feel|how are you feeling|how is your day|how was your day|how is life|how's life|how you are|"
        "how are you getting on|how's everything|is everything okay|everything okay|are you having a good day|do you feel good|"
        "are you happy|how's your day going)( now| today| with you||)",
    )
    return Turn("how are you", user, s.vary("I am fine, thank you. And you?", "All is well here, thank you."))


def about(s: State) -> Turn:
    user = s.say(
        "(who|what) are you( exactly| anyway||)",
        "(what is|what's|tell me|can you tell me|do you have) (your|a) name",
        "(are you|you are) (a|) (human|robot|real|machine|person|computer|real person|chat bot|"
        "alive)( or (not|what)||)",
        "(introduce yourself|tell me about yourself|who am i talking to|who is this|who made you|how old are you)",
        "(what kind of|which|what sort of) (model|assistant|computer|machine|thing|program|robot|system) are you",
        "(what shall i call you|what should i call you|what are you called|how are you called|who am i speaking to|"
        "who is there|what is visavis|are you visavis|who built you|who wrote you|where do you live|where do you run|"
        "where are you from|do you have a body|what is your age|tell me who you are|tell me what you are|what's this thing)",
        "(say|tell me|can i know|may i know|let me know) (who you are|your name|what you are called|something about you|who i talk to)",
    )
    return Turn("about", user, s.vary("I am visavis, a small built-in model that runs on this machine."))


def skills(s: State) -> Turn:
    user = s.say(
        "(so |and |)what (can you do|else can you do|are you able to do|can i ask you|can i say|"
        "do you know|can you do for me)",
        "(help|help me|i need help|i need some help|can you help me|please help me|how can you help me)",
        "(tell me |)(what are your skills|what you can do|how does this work|what should i ask|what are you good at)",
        "(what|which) (things|tricks|tasks|kind of things|skills|questions|functions|abilities|features) (can you do|do you know|"
        "can you answer|do you have|are there|do you offer|can you handle)( for me| all||)",
        "(what are you able to do|what are you for|what is your job|what do you do|what are you capable of|what else|"
        "what can we do|what can we talk about|how can i use you|what are my options|show me what you can do|"
        "i could use (some|your|a little) help|i don't know what to (say|ask)|list your skills|give me some ideas)",
    )
    return Turn("skills", user, SKILLS)


def hear(s: State) -> Turn:
    user = s.say(
        "(can|do|could) you hear (me|me now|me well|what i say)",
        "(are you|you) (still |)(there|listening|here|awake)",
        "(testing|test|mic check|testing one two three|is this (thing |)on|is this working|does this work)",
        "(do you|can you|did you) (hear|understand|hear me|get) (my voice|me talking|what i am saying|what i said|me right|me now)",
        "(hello |)(is anybody there|is anyone there|anybody there|are you on|are you online|are you ready|can anybody hear me|"
        "are you with me|are you still with me|do you listen|am i loud enough|is my microphone on|does the microphone work)",
    )
    return Turn("hear", user, s.vary("Yes, I hear you.", "Yes, I hear you well."))


def mood(s: State) -> Turn:
    kind = s.rng.choice(["good", "bad"])
    if kind == "good":
        user = s.say(
            "i am (so |very |really |)(happy|glad|fine|good|great|excited|well)( today| thanks| thank you||)",
            "i'm (good|fine|great|happy|okay|doing well)( today| thanks||)",
            "(i had a (good|great|nice|wonderful) day|life is good|i feel (good|great|happy))",
            "(today |)i (feel|am feeling|am doing|am) (very |really |quite |rather |)(good|great|happy|fine|well|wonderful|"
            "cheerful|fantastic|excellent|better|amazing|proud|relaxed)( now| today| this morning| this minute||)",
            "(everything is fine|all is well|things are good|it was a great day|i got good news|i passed my test|what a lovely day)",
        )
        return Turn("mood", user, s.vary("That is good to hear.", "I am glad to hear that."))
    user = s.say(
        "i am (so |very |really |a little |)(sad|tired|bored|angry|lonely|sick|hungry|ill|afraid|cold)( today| now||)",
        "i'm (sad|tired|bored|angry|sick|not well|not so good|hungry|exhausted)( today||)",
        "(i had a (bad|terrible|long|hard) day|i feel (bad|sad|sick|lonely|terrible)|i have a headache)",
        "(today |)i (feel|am feeling|am) (very |really |quite |rather |a bit |)(bad|sad|tired|down|sick|lonely|unhappy|upset|"
        "exhausted|bored|nervous|worried|stressed|blue|awful|miserable|sleepy|worn out)( now| today| this morning||)",
        "(everything is bad|nothing works|i could not sleep|i did not sleep well|my head hurts|i hurt myself|i lost my job|"
        "it was a bad day|i am not happy|i do not feel well|i miss my friend|i got bad news)( today| at all||)",
    )
    return Turn("mood", user, s.vary("I am sorry to hear that.", "I am sorry. I hope it gets better soon."))


def likes(s: State) -> Turn:
    thing = s.rng.choice([*THINGS, *PLACES, any_word(s.rng), any_word(s.rng)])
    user = s.say(
        "i (really |)(like|love|enjoy|prefer) (the |my |)" + thing,
        "i (am going to|went to|was in|will go to) " + s.rng.choice(PLACES) + "( today| tomorrow| last year| soon|)",
        "(i have|i bought|i got|we have|there is) a (new |big |small |)" + s.rng.choice(THINGS),
        "(the weather is|it is|today is) (nice|lovely|sunny|beautiful|warm)( today||)",
        "(my|our) (brother|sister|mother|father|friend|son|daughter|wife|husband) (is|likes|has|bought|made|lives in) (a |the |)"
        + thing,
        "(i am|i'm|we are) (cooking|making|reading|watching|learning|playing|building|painting|eating|buying) (a |the |some |my |)"
        + thing,
        "(yesterday|last week|today|this morning) i (saw|met|found|got|ate|made|bought|cooked|read) (a |the |some |my |)"
        + thing,
    )
    return Turn("likes", user, s.vary("That sounds nice.", "How nice!"))


def acknowledgement(s: State) -> Turn:
    user = s.say(
        "(yes|yeah|yep|no|nope|okay|ok|sure|alright|all right|right|fine|good|great|cool|nice|i see|of course|maybe)",
        "(okay|yes|no|yeah) (good|great|cool|nice|sure|fine|then|i see|right)",
        "(that is|that's) (right|good|correct|true|great|fine|nice|cool|interesting)",
        "(yes|no|yeah|oh|okay|sure|well|hm|aha|exactly|indeed|absolutely) (it is|i do|i am|exactly|of course|that's it|please|indeed|"
        "absolutely|i know|i understand|i think so|thank you no|not really)",
        "(got it|understood|i understand|i know|makes sense|"
        "sounds good|why not|if you say so|fair enough|not really|i think so|i don't think so|perhaps|exactly|whatever|wow|really)",
    )
    return Turn("acknowledgement", user, s.vary("All right.", "Good."))


def praise(s: State) -> Turn:
    user = s.say(
        "(you are|you're) (so |very |really |)(nice|smart|clever|funny|great|good|kind|cool|helpful|the best)",
        "(well done|good job|nice work|very good|i like you|i love you|good answer|that was funny|bravo)",
        "(you are|you're|you were) (so |very |really |quite |such a |)(nice|smart|clever|good friend|wonderful|amazing|brilliant|"
        "good help|funny|sweet|fast|awesome|polite|excellent)( indeed| today||)",
        "(that was|that is) (a (good|great|nice|funny) (one|"
        "answer|joke)|clever of you|very good|impressive|brilliant|amazing)",
        "(excellent|great job|good work|i like your voice|"
        "you did well|you have a nice voice|you know a lot|nicely done|good one|ha ha that was funny|i'm impressed)",
        "(you're|you are) (a (genius|star|real help|good listener|great assistant|treasure)|doing (great|fine|well|a good job)|"
        "(so |really |)(good|quick) at this|my favorite|fun|fun to talk to|very clever today|the smartest)( you know||)",
        "(you made (me smile|my day|me happy|me laugh)|keep it up|way to go|you rock|i'm (proud of|happy with|pleased with) you|"
        "i (really |)(like|enjoy|love) (talking to you|your answers|this|how you talk)|what a (good|nice|great|clever|lovely) "
        "(answer|assistant|machine|voice)|perfect answer|that was (quick|fast|well said|well done|spot on|helpful of you))",
    )
    return Turn("praise", user, s.vary("Thank you, that is kind.", "Thank you!"))


def insult(s: State) -> Turn:
    user = s.say(
        "(you are|you're) (so |very |really |)(stupid|dumb|bad|slow|useless|boring|wrong|annoying)",
        "(that is|that's|that was) (wrong|not right|not true|not what i (said|asked|meant)|a bad answer|nonsense)",
        "(no that's wrong|you did not understand me|you don't understand|i did not say that)",
        "(you are|you're) (such |)(an idiot|a bad robot|no help|not very smart|not helpful|terrible|rude|a stupid machine|a fool|"
        "not listening|too slow|mistaken)( you know| today||)",
        "(i hate you|i don't like you|you make no sense|you got it wrong|"
        "you misunderstood me|you misheard me|you can't do anything|you know nothing|that makes no sense|that did not help|"
        "what a stupid answer|you never listen|bad answer|wrong answer|that was not my question)",
    )
    return Turn(
        "insult", user, s.vary("I am sorry. I am only a small model.", "Sorry about that. Please say it again.")
    )


def sorry(s: State) -> Turn:
    user = s.say(
        "(oh |)(sorry|i'm sorry|i am sorry|excuse me|my mistake|pardon)( about that| for that||)",
        "(oh |well |no |)(i apologize|my apologies|my bad|my fault|forgive me|please forgive me|i beg your pardon|oops|oops sorry|"
        "i take it back|that was wrong of me|i do apologize|i want to apologize|excuse my mistake)( for that| about that||)",
        "(that was|it was|it's|that is) (my|all my|entirely my) (mistake|fault|error)( sorry||)",
        "(i'm |i am |)(so |very |really |terribly |)sorry (i (was wrong|misspoke|interrupted you|was rude|shouted|am late|forgot|said that|"
        "did that|was not listening|kept you waiting)|to (bother|interrupt|disturb|trouble) you|for (the noise|being late|"
        "interrupting|shouting|the trouble|my mistake|being rude|what i said|the delay))",
        "i (didn't|did not) (mean|want) (that|it|to (say that|shout|interrupt|be rude|interrupt you|hurt you))( sorry||)",
    )
    return Turn("sorry", user, "No problem.")


def stop(s: State) -> Turn:
    user = s.say(
        "(please |okay |oh |no |)(stop|be quiet|quiet|never mind|cancel|shut up|that's enough|enough|hush|forget it)"
        "( it| that| talking| now| please||||)",
        "(please |okay |)(stop|quit|cease) (it|that|this|talking|speaking|there|right there|right now)( please| now||)",
        "(that is|this is|that was|i've heard|i have had) (enough|quite enough|enough for now)( now| thank you| thanks||)",
        "(please |)(say nothing|no more|don't talk|do not speak|stay quiet|keep quiet|be silent|silence|shush|wait|hold on|pause|"
        "one moment|stop for a moment|let me think|give me a moment)( please| now||)",
    )
    return Turn("stop", user, "Okay.")


def joke(s: State) -> Turn:
    user = s.say(
        "(please |can you |could you |will you |)tell me (a|another|one more|a good|a short|a funny) joke( please||)",
        "(do you know|have you got|give me|i want|i want to hear|let me hear|how about) (a|another|"
        "any|some) (joke|jokes)",
        "(make me laugh|say something funny|tell me something funny|another joke|one more joke|a joke please)",
        "(tell|give|let) (us|me|me hear) (a|another|one of your|your best|some|your favorite|one more) (joke|jokes)( please| now||)",
        "(got any|have you any|any|more|do you have any|do you have more|know any|know some) (good |funny |other |)jokes( for me||)",
        "(i would like|i'd like|i'd love|i would love|i need|i could use|let's have|time for|i am in the mood for) (to hear |)(a|another|"
        "one of your) (joke|jokes|good joke|funny joke)",
        "(can you|could you) (be funny|joke|make a joke|make me laugh|crack a joke)",
    )
    return Turn("joke", user, _fresh(s, JOKES))


def riddle(s: State) -> Turn:
    user = s.say(
        "(please |can you |could you |)(tell|give|ask) me (a|another|one more|a good) riddle( please||)",
        "(do you know|i want|how about|let me hear) (a|another|any) (riddle|riddles)",
        "(another riddle|a riddle please|riddle me this)",
        "(got any|have you any|any|do you have any|know any) (good |other |)riddles( for me||)",
        "(i would like|i'd like|i'd love|i would love|i need|let's have|time for|test me with|challenge me with) (to hear |)(a|another) "
        "(good |)riddle",
        "(tell|give|ask) us (a|another) riddle( please||)",
    )
    return Turn("riddle", user, _fresh(s, RIDDLES))


def _fresh(s: State, all_of_them: tuple[str, ...]) -> str:
    told = [text for text in all_of_them if text in s.jokes]
    text = all_of_them[len(told) % len(all_of_them)]
    s.jokes.append(text)
    return text


def sounds(s: State) -> Turn:
    animal, sound = s.rng.choice(list(ANIMAL_SAYS.items()))
    user = s.say(
        "(what|which) (does|sound does|noise does|do you think does) (a|the) {animal} (say|make|do|go)( please||)",
        "(how does|what's the sound of|what is the noise of|what is the sound of|make the sound of|imitate) (a|the) {animal}"
        "( sound| go| talk||)", "(what|how) (does|would|will) (a|the|my|your) {animal} (say|go|sound|speak)",
        "(do|make|be|play|sound like) (a|the) {animal}( for me||)", "(a|the) {animal} (says|goes) what", animal=animal,
    )  # fmt: skip
    return Turn("sounds", user, f"A {animal} says {sound}.")
