"""The second half of the scripted conversations, in the format of :mod:`training.starter.examination_threads`."""

MORE_THREADS = """
hello are you there
my name is celia and yours => celia|visavis
tell me a joke about anything
what is eight plus three => =11
now add two => =13
can you see how many we are => two|2 @ two people
how many people did you see before => two|2
what's my name then => celia
give me the last result once more => #13
who was mozart => MODEL

Hi. I am Dmitri. => dmitri
How are you today?
What do you see at the moment? => close @ one person, close to the camera
That's right, well done.
What is five plus nine? => =14
And minus three? => =11
Who wrote Hamlet, Shakespeare? => MODEL
What did you see before? => close
Tell me my name, please. => dmitri
And the last result was what? => #11

morning
i didn't sleep well
i'm edgar => edgar
sixteen minus eight please => =8
and times two => =16
what's the colour of grass => green
you are funny
what do you call me => edgar
do you still know the last result => #16
how do dolphins sleep do you know that => MODEL

hi visavis
please call me gloria => gloria
my favorite color is red => red
count to five => one,? two,? three,? four,? (?:and )?five
seven plus seven what's that => =14
and plus six => =20
what's my favorite color => red
what's my name => gloria
what was the sum we did => #20
got a riddle for me

Hello, my name is Harold. => harold
Tell me what you can do.
What's the opposite of early? => late
How much is ten plus nine? => =19
Okay, take away four. => =15
What do you see? => nobody|no one @ nobody in view
Did you see somebody before? => \\bno\\b|nobody|no one
What is my name? => harold
Repeat the last result, please. => #15
What is bitcoin? => MODEL

yo
my name is ivy => ivy
what sound does a sheep make => \\bbaa+|\\bbah
three times five => =15
minus five => =10
plus eight => =18
go on tell me another joke
hey what was my name => ivy
what was our last result => #18
see you later

good day to you
i'm jasper => jasper
i live in lisbon => lisbon
what is four plus seven => =11
and if you add eight => =19
tell me something about the pyramid in egypt => MODEL
so where is it that i live => lisbon
can you say my name => jasper
what result did you get last => #19
cheers

Hey, it's me, Lydia. => lydia
Are you a robot?
My cat is called Zelda. => zelda
What's twelve minus five? => =7
And what is that times three? => =21
Give me a joke.
What's the name of my cat? => zelda
And mine? What's my name? => lydia
What was the last result again? => #21
Could you write me a recipe for soup? => MODEL

hello again
remember my name is bruno => bruno
what does the camera show => one hand @ one person, one hand visible
nice
add nine and four => =13
then add seven => =20
what did you see a moment ago => one hand
what's the name i gave you => bruno
and the last result => #20
what's the capital of the galaxy => MODEL

hi how are you
i'm good too
my name is freya what's yours => freya|visavis
spell kettle for me => k[,. -]+e[,. -]+t[,. -]+t[,. -]+l[,. -]+e
what's fifteen plus three => =18
and minus nine => =9
which day comes after friday => saturday
you know my name right what is it => freya
tell me what the last result was => #9
tell me how origami started => MODEL

Good evening, my name is Marlon. => marlon
I had a great day.
Do you see anything? => facing|one person @ one person, facing the camera
What's two times seven? => =14
Plus one? => =15
Repeat after me: thunder. => thunder
What did you see when I asked? => facing|one person
My name, what was it? => marlon
Could you repeat the last result? => #15
That's all, goodbye.

hello
sorry i was away
i'm tobias remember that => tobias
okay now what's six plus nine => =15
now plus four => =19
which animal says moo
what is algebra about => MODEL
did you keep my name what is it => tobias
what's the last result => #19
thanks that's all
"""
