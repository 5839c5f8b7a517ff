"""Restaurant booking: tables, menus, changes, parties."""

# ruff: noqa: E501 - a template reads best on one line

from typing import Final

from examples.grammar import Grammar, Intent

GRAMMAR: Final = Grammar(
    slots={
        "place": (
            "the Olive Garden House",
            "Casa Bella",
            "the Old Mill",
            "Sakura",
            "the Lobster Pot",
            "Chez Martin",
            "Spice Palace",
            "the Corner Grill",
            "Bamboo",
            "La Perla",
        ),
        "size": ("two", "three", "four", "five", "six", "eight", "ten"),
        "hour": (
            "noon",
            "one",
            "six",
            "half past six",
            "seven",
            "half past seven",
            "eight",
            "nine",
        ),
        "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
        "dish": (
            "pizza",
            "sushi",
            "lamb curry",
            "grilled fish",
            "noodle soup",
            "roast duck",
            "pasta",
            "steak",
        ),
        "diet": ("vegan", "vegetarian", "gluten free", "halal", "kosher", "nut free"),
        "seat": ("window", "garden", "terrace", "balcony", "quiet", "corner"),
        "guest": ("Anna", "Mr Brown", "Lucy", "the Kims", "David", "Ms Rossi", "Omar", "Helen"),
        "party": ("birthday", "wedding dinner", "office party", "anniversary", "family lunch"),
        "drink": ("red wine", "white wine", "green tea", "fresh juice", "craft beer"),
    },
    intents=(
        Intent(
            asks=(
                "[please |can you |]book a table for {size} [at|in] {place} [on|for] {day}[ at {hour}|]",
                "[I want|I would like|we need] a table for {size} [at {place} |]on {day} at {hour}",
                "[is there|do you have] a table for {size} at {place} [this|on] {day} at {hour}?",
            ),
            answers=(
                "Your table for {size} at {place} is booked for {day}. We look forward to seeing you!",
                "Done! {place} expects {size} guests on {day} at {hour}.",
                "I found a table for {size} on {day}. Under which name shall I book it?",
            ),
        ),
        Intent(
            asks=(
                "can I have a {seat} table [at|in] {place} [on {day}|for {size}]?",
                "we would [like|love|prefer] a {seat} table [for {size}|on {day}][ please|]",
                "does {place} have {seat} tables[ for {size}| on {day}|]?",
            ),
            answers=(
                "Yes, a {seat} table is free. I have noted it for you.",
                "All {seat} tables are taken, but I have put you on the waiting list.",
                "{place} will keep a {seat} table for you. Please come on time!",
            ),
        ),
        Intent(
            asks=(
                "[please |]cancel [my|our] table [at {place} |]on {day}[ at {hour}|]",
                "we cannot come [to {place} |]on {day}, [please cancel|can you cancel the table]",
                "cancel the booking for {guest} [on {day}|at {place}]",
            ),
            answers=(
                "Your table on {day} is cancelled. We hope to see you another time!",
                "I have cancelled the booking. There is nothing to pay.",
                "Done! The table is free again and {place} has been told.",
            ),
        ),
        Intent(
            asks=(
                "[can you|please] move [my|our] booking from {day} to {day2}[ at {hour}|]",
                "we want to come on {day2} instead of {day}[, at {place}|]",
                "change the table of {guest} from {day} to {day2}",
            ),
            answers=(
                "Your booking has moved from {day} to {day2}. The time stays the same.",
                "{day2} is fine! I have changed the table for you.",
                "Sorry, {day2} is full. Shall I keep the table on {day}?",
            ),
        ),
        Intent(
            asks=(
                "we will be {size} [instead of|and not] {size2}[ at {place}| on {day}|]",
                "[can we|may we] bring {size} more [people|guests] on {day}[ to {place}|]?",
                "please change [our|the] booking to {size} guests[ for {guest}| on {day}|]",
            ),
            answers=(
                "No problem! Your table now has {size} seats.",
                "I have changed the booking to {size} guests. See you soon!",
                "For {size} guests we need a bigger table. It is free at {hour}, is that fine?",
            ),
        ),
        Intent(
            asks=(
                "does {place} [have|serve|offer] {diet} [food|dishes|options][ on {day}|]?",
                "is the {dish} at {place} {diet}?",
                "[one of us is|I am|{guest} is] {diet}, [what can we eat|is that a problem] at {place}?",
            ),
            answers=(
                "Yes! The menu at {place} marks every {diet} dish with a green leaf.",
                "The kitchen is happy to make {diet} dishes. I have added a note.",
                "{place} has a full {diet} menu. The {dish} is very popular!",
            ),
        ),
        Intent(
            asks=(
                "where can I [eat|get|find] [good|the best] {dish} [on {day}|at {hour}|tonight]?",
                "[I feel like|we want|{guest} wants] {dish} [on {day}|tonight], [any ideas|what do you suggest]?",
                "which [restaurant|place] has {dish} and {drink}?",
            ),
            answers=(
                "Try {place}! Their {dish} is famous and there are free tables.",
                "For {dish} I suggest {place}. Shall I book a table?",
                "{place} makes lovely {dish}. It goes well with {drink}!",
            ),
        ),
        Intent(
            asks=(
                "we plan a {party} for {size} [at {place}|on {day}]",
                "can {place} host a {party}[ on {day}| for {size}|]?",
                "I need a room for a {party} [on {day}|with {size} guests]",
            ),
            answers=(
                "How lovely! {place} has a room for your {party}. The chef will call you.",
                "For a {party} we offer a set menu with {dish} and {drink}.",
                "Your {party} is noted. Would you like a cake as well?",
            ),
        ),
        Intent(
            asks=(
                "[when|at what time] does {place} [open|close] on {day}?",
                "is {place} open on {day}[ at {hour}|]?",
                "how late [can we eat|is the kitchen open] at {place} [on {day}|this {day}]?",
            ),
            answers=(
                "On {day} {place} is open from noon until late.",
                "{place} opens at {hour} on {day}. The kitchen closes one hour before the end.",
                "Sorry, {place} is closed on {day}. Shall I look for another place?",
            ),
        ),
        Intent(
            asks=(
                "[we are|{guest} is] running late [for our table |]at {place}[, about {hour}| on {day}|]",
                "can {place} [keep|hold] [the|our] table until {hour}[ on {day}|]?",
                "we will [come|arrive] at {hour} and not at {hour2}[, sorry| at {place}|]",
            ),
            answers=(
                "No worries! The table is yours until {hour}.",
                "I have told {place} that you will be late. Safe journey!",
                "The table can be kept for twenty minutes. Please hurry!",
            ),
        ),
        Intent(
            asks=(
                "what [is|do you have] on the menu [at|of] {place} [on {day}|for {size}]?",
                "how much is [the|a] {dish} at {place}[ on {day}|]?",
                "does {place} serve {drink} [with|and] {dish}?",
            ),
            answers=(
                "{place} serves {dish}, soup and salad. The menu changes every week!",
                "The {dish} comes with bread and {drink}. Enjoy your meal!",
                "Yes, and the {dish} is today's special at {place}.",
            ),
        ),
    ),
)
