"""Everyday English: small talk, facts, little stories. The base model's mother tongue."""

# ruff: noqa: E501 - a template reads best on one line

from typing import Final

from examples.grammar import Grammar, Intent

GRAMMAR: Final = Grammar(
    slots={
        "animal": ("cat", "horse", "owl", "whale", "fox", "bear", "frog", "sheep", "crow", "bee"),
        "food": ("bread", "honey", "soup", "rice", "cheese", "apples", "beans", "cake"),
        "weather": ("sunny", "rainy", "windy", "cloudy", "snowy", "foggy"),
        "season": ("spring", "summer", "autumn", "winter"),
        "name": ("Tom", "Mia", "Ravi", "Lena", "Ben", "Sara", "Noah", "Ines", "Max", "Julia"),
        "town": (
            "the village",
            "the old town",
            "the harbour",
            "the forest",
            "the island",
            "the valley",
        ),
        "hobby": ("painting", "running", "chess", "gardening", "reading", "swimming", "singing"),
        "tool": ("hammer", "rope", "ladder", "needle", "spade", "brush"),
        "feeling": ("happy", "tired", "sad", "proud", "nervous", "bored"),
        "colour": ("red", "green", "white", "black", "golden", "grey"),
        "subject": ("history", "music", "physics", "spelling", "geometry", "biology"),
        "plant": ("oak", "rose", "fern", "tulip", "pine", "moss"),
        "age": ("six", "nine", "twelve", "fifteen", "thirty", "seventy"),
    },
    intents=(
        Intent(
            asks=(
                "tell me [a story|something] about a {animal} [and|with] a {colour} {tool}",
                "[write|make up] a [short |little |]story about {name} and a {animal}",
                "what happened to the {animal} [in|from|of] {town}[ in {season}|]?",
            ),
            answers=(
                "Once there was a {colour} {animal} who lived in {town}. Every {season} it went looking for {food}.",
                "One {season} the {animal} met {name} near {town}, and they shared some {food}.",
                "The {animal} left {town} on a {weather} morning and was never {feeling} again.",
            ),
        ),
        Intent(
            asks=(
                "what does a {animal} [eat|like] in {season}?",
                "[where|how] does a {animal} [live|sleep] when it is {weather}?",
                "is it true that a {animal} can [smell|find|see] {food}[ in {season}|]?",
            ),
            answers=(
                "In {season} a {animal} finds what it needs close to its home.",
                "When it is {weather}, a {animal} looks for shelter under a {plant}.",
                "People say that a {animal} remembers places, but nobody is sure about {food}.",
            ),
        ),
        Intent(
            asks=(
                "[I am|I feel] {feeling} [today|because it is {weather}][, what can I do|]",
                "{name} is {feeling} [again|about {subject}], what should I say?",
                "why do people feel {feeling} in {season}[ when it is {weather}|]?",
            ),
            answers=(
                "It is fine to feel {feeling} now and then. Some {hobby} may help.",
                "Tell them that {feeling} days pass, and share some {food}.",
                "Many people are {feeling} in {season}. A walk through {town} does wonders.",
            ),
        ),
        Intent(
            asks=(
                "[what is|which is] the best way to learn {hobby} [at {age}|in {season}]?",
                "is {name} too [old|young] for {hobby} at {age}?",
                "how did {name} get [into|so good at] {hobby}[ and {subject}|]?",
            ),
            answers=(
                "Start {hobby} with a friend and practise a little every day.",
                "Nobody is too old for {hobby}. {name} began at {age}.",
                "A teacher showed how {hobby} and {subject} belong together.",
            ),
        ),
        Intent(
            asks=(
                "[how do I|can you help me to] cook {food} with {food2}[ for {name}|]?",
                "does {food} [keep|stay] fresh in {season}[ when it is {weather}|]?",
                "what goes well with {food} [and {food2}|in {season}]?",
            ),
            answers=(
                "Warm the {food} slowly, add {food2}, and stir with a wooden spoon.",
                "Keep {food} in a cool dark place and eat it while it is fresh.",
                "In {season} {food} tastes best with a little salt and {food2}.",
            ),
        ),
        Intent(
            asks=(
                "[explain|teach me] {subject} [to a child of {age}|like {name} would]",
                "why is {subject} [hard|useful|important] for {name}[ at {age}|]?",
                "which [book|lesson] on {subject} [is good for|suits] {name}?",
            ),
            answers=(
                "{subject} begins with looking closely and asking why.",
                "At {age} the best way into {subject} is a good question.",
                "{name} should begin with a short book on {subject}, read slowly.",
            ),
        ),
        Intent(
            asks=(
                "[how do I|when should I] plant a {plant} in {town}[ in {season}|]?",
                "my {plant} [turns {colour}|looks {colour}] in {season}[, why|]",
                "does a {plant} [like|need] {weather} [days|weather][ in {season}|]?",
            ),
            answers=(
                "A {plant} likes deep soil. Dig with a {tool} on a {weather} day.",
                "Give the {plant} water in {season} and let it rest afterwards.",
                "If the {plant} turns {colour}, it needs more light.",
            ),
        ),
        Intent(
            asks=(
                "what is a {tool} [used for|good for] in {town}[ in {season}|]?",
                "{name} [lost|found|broke] a {tool} in {town}[, what now|]",
                "describe [the|a] {colour} {tool} [of {name}|in {town}]",
            ),
            answers=(
                "A {tool} is an old and simple thing. With care it lasts for years.",
                "Ask in {town}. Somebody there always has a {tool} to lend.",
                "The {colour} {tool} belonged to {name}, who was {age} at the time.",
            ),
        ),
        Intent(
            asks=(
                "how is [the weather in|a {weather} day in] {town} [in {season}|]?",
                "[shall|should] {name} and I visit {town} [in {season}|when it is {weather}]?",
                "what do people do in {town} on {weather} days[ in {season}|]?",
            ),
            answers=(
                "In {season} {town} is mostly {weather}, with {colour} skies at dusk.",
                "Yes, {town} is lovely when it is {weather}. Take some {food} along.",
                "On {weather} days people in {town} talk, do some {hobby}, and eat {food}.",
            ),
        ),
    ),
)
