"""Flights: search, changes, baggage, delays."""

# ruff: noqa: E501 - a template reads best on one line

from typing import Final

from examples.grammar import Grammar, Intent

GRAMMAR: Final = Grammar(
    slots={
        "city": (
            "Boston",
            "Denver",
            "Oslo",
            "Madrid",
            "Lisbon",
            "Dallas",
            "Toronto",
            "Vienna",
            "Athens",
            "Cairo",
            "Dublin",
            "Tokyo",
        ),
        "airline": ("Polar Air", "Blue Wing", "Continental", "Skyline", "Aurora Jet"),
        "flight": ("PA 214", "BW 77", "SK 1402", "AJ 350", "PA 68", "BW 519", "SK 91", "AJ 803"),
        "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
        "daytime": ("morning", "noon", "afternoon", "evening", "night"),
        "gate": ("A4", "A12", "B7", "B22", "C3", "C18", "D9"),
        "fare": ("economy", "business", "first class"),
        "bag": ("suitcase", "backpack", "guitar", "pair of skis", "bicycle", "stroller"),
        "kilos": ("eight", "twelve", "twenty", "twenty three", "thirty"),
        "pet": ("dog", "cat", "rabbit"),
        "delay": ("forty minutes", "one hour", "two hours", "three hours"),
        "wait": ("two", "three", "four", "five"),
        "price": ("89", "120", "149", "210", "260", "340", "415", "580"),
    },
    intents=(
        Intent(
            asks=(
                "[show me|find|list] [flights|all flights] from {city} to {city2} on {day}[ {daytime}|]",
                "[I want|I need] to fly from {city} to {city2} [on {day}|{day} {daytime}]",
                "what [{airline} |]flights [leave|go from] {city} for {city2} on {day}[ {daytime}|]?",
            ),
            answers=(
                "There are {wait} flights from {city} to {city2} on {day}: {flight} and {flight2} are the fastest.",
                "{flight} leaves {city} on {day} {daytime} and flies nonstop to {city2}.",
                "From {city} to {city2} I found {flight} with {airline}, departing {day} {daytime}.",
            ),
        ),
        Intent(
            asks=(
                "what is the [cheapest|lowest] {fare} fare from {city} to {city2}[ on {day}|]?",
                "how much [is|costs] a [one way|round trip] ticket [from {city} |]to {city2} [on {day}|in {fare}]?",
                "[cheap|cheapest] flights to {city2} from {city}[ in {fare}| with {airline}|]",
            ),
            answers=(
                "The lowest {fare} fare from {city} to {city2} is {price} dollars with {airline}.",
                "A ticket to {city2} costs {price} dollars, taxes included.",
                "{airline} flies to {city2} for {price} dollars. Seats at this fare are limited.",
            ),
        ),
        Intent(
            asks=(
                "is [flight |]{flight} [to {city} |]on time[ on {day}|]?",
                "how [late|delayed] is {flight} [from|to] {city}[ on {day}|]?",
                "[what is|tell me] the status of {flight} [to {city}|on {day}]",
            ),
            answers=(
                "{flight} is delayed by {delay}. The new departure is in the {daytime}.",
                "Flight {flight} is on time and boards at gate {gate}.",
                "{flight} has landed. Baggage for {flight} is at belt {wait}.",
            ),
        ),
        Intent(
            asks=(
                "[can I|may I|how do I] [take|bring] a {bag} on [flight |]{flight}[ to {city}|]?",
                "how [heavy|big] may my {bag} be [with {airline}|on {flight}]?",
                "what does {airline} charge for a {bag}[ to {city}| in {fare}|]?",
            ),
            answers=(
                "On {airline} a {bag} of up to {kilos} kilos travels as checked baggage.",
                "A {bag} costs {price} dollars extra. Please drop it at the baggage counter.",
                "Your {bag} may weigh {kilos} kilos. Heavier baggage is charged per kilo.",
            ),
        ),
        Intent(
            asks=(
                "[please |]change my [flight|ticket] to {city} from {day} to {day2}",
                "I [want|need] to [rebook|move] {flight} [to {day2}|from {day} to {day2}]",
                "[is it possible|can I] to fly to {city} on {day2} instead of {day}",
            ),
            answers=(
                "Your ticket is rebooked to {day2}. The change fee is {price} dollars.",
                "On {day2} {flight} has free seats. Please confirm and I will rebook the ticket.",
                "Your new itinerary departs on {day2} {daytime}. An updated ticket was sent.",
            ),
        ),
        Intent(
            asks=(
                "{flight} [to {city} |]was cancelled, [what now|what are my options][?|, I must be there on {day}]",
                "my flight to {city} [on {day} |]was cancelled[ by {airline}|]",
                "I missed my connection in {city} [to {city2}|because of {flight}]",
            ),
            answers=(
                "You are rebooked on {flight2}, departing in the {daytime} from gate {gate}.",
                "{airline} offers a full refund or a seat on the next departure to {city}.",
                "Please go to the transfer desk in {city}. A hotel voucher is waiting for you.",
            ),
        ),
        Intent(
            asks=(
                "{airline} lost my {bag} [in|at] {city}[ on {day}|]",
                "my {bag} [did not arrive|is missing] [in {city}|after {flight}]",
                "where is my {bag}[?|, I flew on {flight}|] [from {city}|]",
            ),
            answers=(
                "Your {bag} was traced to {city}. It arrives with {flight2} in the {daytime}.",
                "Please file a baggage report at the counter. {airline} delivers the {bag} to your hotel.",
                "I am tracing the {bag} now. Most baggage is found within {wait} days.",
            ),
        ),
        Intent(
            asks=(
                "[which|what] gate does {flight} [leave|depart] from[ on {day}|]?",
                "where [do I check in|is check in] for {flight}[ to {city}|]?",
                "[when|how early] should I be at the airport [in {city} |]for {flight}?",
            ),
            answers=(
                "{flight} departs from gate {gate}. Boarding starts forty minutes before departure.",
                "Check in for {flight} closes one hour before departure, at terminal {wait}.",
                "Please be at gate {gate} one hour early. Security queues are long in the {daytime}.",
            ),
        ),
        Intent(
            asks=(
                "can my {pet} fly [with me |]to {city}[ with {airline}| on {day}|]?",
                "how do I [book|travel with] a {pet} on {flight}[ to {city}|]?",
                "does {airline} [take|accept|allow] a {pet} in {fare}[ to {city}|]?",
            ),
            answers=(
                "A small {pet} may travel in the cabin for {price} dollars, in a closed carrier.",
                "{airline} accepts your {pet} in the hold. Vaccination papers are required.",
                "For the {pet} please call {airline} two days before departure.",
            ),
        ),
        Intent(
            asks=(
                "[I would like|please give me] a [window|aisle] seat on {flight}[ to {city}|]",
                "[can I|how do I] upgrade to {fare} on {flight}[ on {day}|]?",
                "is there a meal [on {flight}|in {fare} to {city}][ on {day}|]?",
            ),
            answers=(
                "Seat {gate} on {flight} is yours. The boarding pass was updated.",
                "An upgrade on {flight} costs {price} dollars and is subject to availability.",
                "{flight} serves a hot meal after departure. Special meals need one day.",
            ),
        ),
        Intent(
            asks=(
                "[I want|please send] a refund for [my ticket|{flight}] to {city}[ on {day}|]",
                "is [the|my] {fare} ticket to {city} refundable[, I fly {day}|]?",
                "how do I get [the|my] {price} dollars back for {flight}?",
            ),
            answers=(
                "Your refund of {price} dollars was sent to the original form of payment.",
                "{fare} tickets are refundable until departure, less a fee of {price} dollars.",
                "The ticket to {city} is not refundable, but the airport taxes are.",
            ),
        ),
    ),
)
