"""General questions as people speak them, for an adapter to be reminded of what its model knew before. Pure.

Written for training; none asks what a question of ``tests/benchmarks/data/general_questions.txt`` asks (a test compares).
"""

from __future__ import annotations

_THINGS = (
    "a hammer", "a lighthouse", "a kettle", "a compass", "a telescope", "a wallet", "a ladder", "an umbrella", "a zipper",
    "a calendar", "a museum", "a library", "a bakery", "a harbor", "a castle", "a desert", "an island", "a volcano",
    "a glacier", "a rainbow", "a hurricane", "a tide", "a canyon", "a waterfall", "a meadow", "a swamp", "a reptile",
    "a mammal", "an insect", "a fossil", "a mineral", "a magnet", "a battery", "a lens", "a pulley", "an engine",
    "a satellite", "a comet", "an asteroid", "a telegraph", "a typewriter", "a violin", "a trumpet", "a drum", "an opera",
    "a poem", "a novel", "a fable", "a proverb", "a synonym", "a verb", "an adjective", "a triangle", "a fraction",
    "a percentage", "an average", "a budget", "a loan", "a tax", "a contract", "a passport", "a recipe", "a vitamin",
    "a protein", "a muscle", "a skeleton", "a vaccine", "a fever", "an allergy", "a habit", "a hobby", "a dream",
    "a website", "a password", "a keyboard", "an algorithm", "a robot", "a backup", "a battery charger", "a thermometer",
    "a greenhouse", "a compost heap", "a seed", "a root", "a mushroom", "a cactus", "an orchard", "a beehive", "a nest",
)  # fmt: skip
_MATTERS = (
    "sleep", "exercise", "reading", "water", "friendship", "recycling", "honesty", "breakfast", "music", "trust", "teamwork",
    "patience", "curiosity", "laughter", "education", "privacy", "sunlight", "bees", "trees", "oxygen", "soil", "gravity",
    "salt", "iron", "calcium", "planning", "listening", "practice", "history", "art", "kindness", "washing your hands",
)  # fmt: skip
_ANIMALS = (
    "penguins", "owls", "rabbits", "horses", "elephants", "foxes", "squirrels", "dolphins", "sharks", "turtles", "frogs",
    "snakes", "butterflies", "ants", "goats", "deer", "wolves", "kangaroos", "koalas", "giraffes", "hippos", "parrots",
    "ducks", "hedgehogs", "beavers", "camels", "seals", "crabs", "lizards", "monkeys",
)  # fmt: skip
_MAKE = (
    "pancakes", "an omelette", "tea", "coffee", "rice", "pasta", "a salad", "tomato soup", "lemonade", "a sandwich",
    "mashed potatoes", "popcorn", "a smoothie", "hot chocolate", "scrambled eggs", "a paper plane", "toast", "an apple pie",
    "vegetable stew", "porridge",
)  # fmt: skip
_DO = (
    "fall asleep faster", "remember names", "learn a language", "save money", "stay calm", "study better", "lose weight",
    "make new friends", "clean a window", "water a plant", "tie a tie", "stop hiccups", "train a puppy", "ride a bike",
    "swim", "play chess", "start running", "eat healthier", "write a letter", "prepare for an interview", "speak in public",
    "get rid of a headache", "cool down a room", "keep flowers fresh", "whiten clothes", "remove a coffee stain",
    "fix a flat tire", "pack a suitcase", "cook faster", "concentrate", "wake up early", "stop worrying", "read faster",
    "charge my phone less often", "grow tomatoes", "apologize to a friend", "cheer up a friend", "handle stress",
)  # fmt: skip
_LANDS = (
    "Norway", "Sweden", "Finland", "Denmark", "Poland", "Hungary", "Romania", "Bulgaria", "Ireland", "Scotland", "Iceland",
    "Belgium", "the Netherlands", "Switzerland", "Croatia", "Serbia", "Ukraine", "Israel", "Iran", "Iraq", "Saudi Arabia",
    "India", "Pakistan", "Thailand", "Vietnam", "South Korea", "Indonesia", "the Philippines", "Nepal", "Kenya", "Nigeria",
    "Ghana", "Morocco", "Ethiopia", "Mexico", "Cuba", "Peru", "Chile", "Argentina", "Colombia", "Venezuela", "Jamaica",
    "New Zealand", "Cambodia", "Mongolia", "Lebanon", "Algeria", "Tunisia", "Uruguay", "Ecuador",
)  # fmt: skip
_PEOPLE = (
    "Marie Curie", "Isaac Newton", "Charles Darwin", "Galileo", "Mozart", "Beethoven", "Vincent van Gogh", "Pablo Picasso",
    "Abraham Lincoln", "Nelson Mandela", "Mahatma Gandhi", "Cleopatra", "Julius Caesar", "Napoleon", "Alexander the Great",
    "Socrates", "Plato", "Aristotle", "Homer", "Charles Dickens", "Jane Austen", "Mark Twain", "Leo Tolstoy", "Amelia Earhart",
    "Rosa Parks", "Martin Luther King", "Winston Churchill", "Queen Victoria", "Marco Polo", "Nikola Tesla", "Louis Pasteur",
    "Ada Lovelace", "Alan Turing", "Stephen Hawking", "Johann Sebastian Bach", "Michelangelo", "Rembrandt", "Claude Monet",
)  # fmt: skip
_WORKERS = (
    "a plumber", "a carpenter", "a nurse", "a lawyer", "a farmer", "an architect", "a journalist", "a librarian",
    "a mechanic", "a geologist", "an astronaut", "a judge", "a tailor", "a pharmacist", "an electrician", "a translator",
    "a gardener", "a conductor", "a firefighter", "an accountant",
)  # fmt: skip
_WHY = (
    "do leaves change color in autumn", "do we yawn", "do cats purr", "do birds migrate", "do we dream", "is the ocean salty",
    "do stars twinkle", "do onions make us cry", "does bread rise", "do we blink", "do dogs wag their tails",
    "does metal rust", "do boats float", "is snow white", "do we get hungry", "does hair turn gray", "do we shiver",
    "do planes stay in the air", "does thunder follow lightning", "do bees make honey", "are there seasons", "do we sweat",
    "does the moon change its shape", "do fish have gills", "does popcorn pop", "do we sneeze", "do balloons float",
    "is it cold on mountains", "do plants need light", "do people laugh",
)  # fmt: skip
_OPEN = (
    "tell me something interesting", "tell me a fun fact about space", "tell me a fun fact about animals",
    "what should i cook tonight", "recommend me a good book", "suggest a game for a rainy day", "what is a good gift for my mother",
    "give me a tip for better sleep", "what can i do this weekend", "should i take an umbrella when it rains",
    "how do i know if an egg is fresh", "what is a healthy snack", "which sport is good for beginners",
    "what is the best way to learn the guitar", "give me an idea for a short story", "what makes a good friend",
    "what makes a good leader", "what is the meaning of life", "what is love", "what is happiness", "what is time",
    "is coffee good for me", "is it healthy to run every day", "how much water should i drink", "can fish sleep",
    "can plants hear", "do penguins fly", "can cats swim", "are tomatoes fruits", "are whales fish", "are spiders insects",
    "is glass made of sand", "is the sun a star", "is gold heavier than iron", "is a mile longer than a kilometer",
    "which is faster a car or a bicycle", "which is bigger a mouse or a cow", "which is heavier a stone or a feather",
    "which is sweeter honey or lemon", "what is the difference between a lake and a river",
    "what is the difference between weather and climate", "what is the difference between a fruit and a vegetable",
    "what is the difference between a moth and a butterfly", "what do you use a spoon for", "what do you use scissors for",
    "what do you wear on your head", "what do you use to cut bread",
    "what do you use to open a bottle", "where do you keep milk", "where do you buy stamps", "where do you borrow books",
    "what do plants need to grow", "what do you need to make bread", "what is paper made from",
    "what is wine made from", "what is a window made of", "what is a tire made of", "what are shoes made of",
    "what comes first lightning or thunder",
    "how many wheels does a car have",
    "how many months have thirty one days", "how many hours should i sleep", "how many players are in a football team",
    "how many bones are in the human body",
    "how many cents are in a dollar",
    "how many seconds are in an hour",
    "what language is spoken in brazil", "what language is spoken in austria",
    "what language is spoken in egypt", "what money is used in japan", "what money is used in india",
    "what money is used in the united kingdom",
    "which continent is india in", "which ocean is between america and europe", "which sea is south of italy",
    "which river flows through vienna", "which river flows through rome", "what is the highest mountain in africa",
    "what is the largest desert in the world", "what is the largest island in the world", "what is the deepest ocean",
    "what is the smallest country in the world", "what is the coldest continent", "what is the hottest planet",
    "what is the second planet from the sun", "what is the longest bone in the body", "what organ helps us breathe",
    "what organ digests food", "what do the kidneys do", "what do the lungs do", "what does the brain do",
    "what carries blood back to the heart", "what is ice made of",
    "what is table salt made of",
    "which metal do magnets attract", "what is a baby sheep called",
    "what is a baby frog called", "what is a female lion called",
    "what is the slowest animal", "which bird cannot fly",
    "which animal hops and has a pouch", "which animal builds dams",
)  # fmt: skip
_TEMPLATES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("what is {}", _THINGS), ("what is {} used for", _THINGS), ("why is {} important", _MATTERS),
    ("tell me something about {}", (*_ANIMALS, *_LANDS)), ("what do {} eat", _ANIMALS), ("where do {} live", _ANIMALS),
    ("how do i make {}", _MAKE), ("what do i need for {}", _MAKE), ("how can i {}", _DO), ("give me a tip to {}", _DO),
    ("what is the capital of {}", _LANDS), ("where is {}", _LANDS), ("what is {} known for", (*_LANDS, *_PEOPLE)),
    ("who was {}", _PEOPLE), ("what does {} do", _WORKERS), ("why {}", _WHY), ("{}", _OPEN),
)  # fmt: skip


def questions() -> list[str]:
    """All of them, bare words."""
    return [template.format(words) for template, all_ in _TEMPLATES for words in all_]
